"""Pure decisions: whether an operation may be run again, where, and until when.

May import the standard library and `undaunted.errors` only. Nothing here does I/O, sleeps, reads a
clock of its own accord or knows a driver; time and chance are arguments.
"""
