"""Databases for one run of an application's own tests, made and dropped with it; never the real ones.

`Databases` turns every cluster of the registry to a keyspace or database of the run's own. What must be done for that
stands with each kind of database; what it is called, in `names`. May import what `undaunted.testing` may.
"""

from undaunted.testing.databases.names import NoTestDatabase, Renamed, renamed
from undaunted.testing.databases.run import Databases

__all__ = ["Databases", "NoTestDatabase", "Renamed", "renamed"]
