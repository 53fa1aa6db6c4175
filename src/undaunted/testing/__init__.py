"""What tests of an application need: time that obeys, faults on demand, and a history to check.

May import everything but `undaunted.cli`; nothing imports it.
"""
