"""Real local clusters out of Python packages, to be killed, frozen, stopped and demoted at will.

May import `undaunted.errors` and `undaunted.core` only, and drivers lazily; no ORM, no other part of undaunted: the lab
must not depend on what it puts to the test.
"""

from __future__ import annotations

from undaunted.lab.cassandra import CassandraLab
from undaunted.lab.errors import LabError
from undaunted.lab.mongodb import MongoLab
from undaunted.lab.node import LabNode, State
from undaunted.lab.postgres import PostgresLab

__all__ = ["CassandraLab", "LabError", "LabNode", "MongoLab", "PostgresLab", "State"]
