"""One module a backend: its nodes, its faults, its customers and what its database is asked at the end."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backends.stage import Stage

__all__ = ["BACKENDS", "stage_of"]

BACKENDS = ("mongodb", "cassandra", "postgresql")


def stage_of(backend: str) -> Stage:
    """The stage of a backend; the drivers of the others are not imported."""
    stage: Stage = import_module(f"backends.{backend}").STAGE
    return stage
