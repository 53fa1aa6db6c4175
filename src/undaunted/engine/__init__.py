"""Acting on decisions: the first attempt bare, tenacity only behind a failure.

May import `undaunted.core`, `undaunted.events`, `undaunted.errors` and tenacity (lazily). Knows no driver and no
ORM: what is particular to a database comes in a `Guard`.
"""
