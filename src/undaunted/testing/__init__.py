"""What tests of an application need: time that obeys, faults on demand, and a history to check.

May import everything but `undaunted.cli`; only the parts for frameworks import it, for the databases of their tests.
"""
