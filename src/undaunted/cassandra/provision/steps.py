"""The steps of a plan: frozen values that say what they do, and in which statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from undaunted.cassandra.provision.state import EVERYWHERE

if TYPE_CHECKING:
    from undaunted.cassandra.provision.state import Keyspace

__all__ = ["Alter", "Create", "Step", "differences"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Make a keyspace that is not there."""

    kind: ClassVar[str] = "create-keyspace"
    to: Keyspace

    @property
    def cql(self) -> str:
        """The statement. One that meets a keyspace made meanwhile fails, so that it can be looked at."""
        return f"CREATE KEYSPACE {_definition(self.to)}"

    def __str__(self) -> str:
        return f"create the keyspace {self.to.name}: {self.to.said()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alter:
    """Change a keyspace that is there."""

    kind: ClassVar[str] = "alter-keyspace"
    was: Keyspace
    to: Keyspace

    @property
    def cql(self) -> str:
        """The statement."""
        return f"ALTER KEYSPACE {_definition(self.to)}"

    def __str__(self) -> str:
        return f"alter the keyspace {self.to.name}: {', '.join(differences(self.was, self.to))}"


Step: TypeAlias = Create | Alter


def differences(was: Keyspace, to: Keyspace) -> list[str]:
    """What differs between two states of a keyspace, in words."""
    found: list[str] = []
    if was.strategy != to.strategy:
        return [f"{was.said()} -> {to.said()}"]
    for name in sorted({*was.factors, *to.factors}):
        before, after = was.factors.get(name), to.factors.get(name)
        if before != after:
            found.append(f"{name or 'factor'} {_said(before)} -> {_said(after)}")
    if was.durable_writes != to.durable_writes:
        found.append(f"durable_writes {_word(was.durable_writes)} -> {_word(to.durable_writes)}")
    return found


def _definition(keyspace: Keyspace) -> str:
    options = {"class": keyspace.strategy}
    options |= {
        "replication_factor" if name == EVERYWHERE else name: str(factor) for name, factor in keyspace.factors.items()
    }
    literal = ", ".join(f"{_string(name)}: {_string(value)}" for name, value in options.items())
    quoted = keyspace.name.replace('"', '""')
    return f'"{quoted}" WITH replication = {{{literal}}} AND durable_writes = {str(keyspace.durable_writes).lower()}'


def _string(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _said(factor: int | None) -> str:
    return "none" if factor is None else str(factor)


def _word(value: bool) -> str:  # noqa: FBT001  # the value itself
    return "true" if value else "false"
