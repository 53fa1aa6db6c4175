"""One call, two statements, of which the second has failed: the error says which was applied.

Nulled columns, and keys that are gone from a map, are deleted by a statement of their own. Each is judged and run again
by itself; no server undoes the first when the second fails.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from cassandra.cqlengine import columns
from cassandra.cqlengine.statements import UpdateStatement

from undaunted.errors import UndauntedError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["keep", "tell"]


def tell(error: Exception, applied: Sequence[Any], failed: Any, *, remedy: str) -> None:
    """Have the error of a statement say which ones of the same call had been applied before it, and what to do."""
    names = tuple(_described(statement) for statement in applied)
    error.applied = names  # type: ignore[attr-defined]  # every error has room for it
    said = (
        f"The call needed more than one statement. Applied before this one: {', '.join(names)}; this error is that of "
        f"its {_described(failed)}. {remedy}"
    )
    if isinstance(error, UndauntedError):
        error.args = (f"{error.args[0]}\n{said}", *error.args[1:])
    elif sys.version_info >= (3, 11):
        error.add_note(said)


def keep(instance: Any, applied: Sequence[Any]) -> None:
    """Note on the instance what has been applied: saved again, it must not append to its lists a second time."""
    fields = {
        clause.field
        for statement in applied
        if isinstance(statement, UpdateStatement)
        for clause in statement.assignments
    }
    for value in instance._values.values():  # noqa: SLF001  # cqlengine has no public name for what has changed
        # What is gone from a map is known from its former value; and to put the rest again does no harm.
        if value.column.db_field_name in fields and not isinstance(value.column, columns.Map):
            value.reset_previous_value()


def _described(statement: Any) -> str:
    """What it does and to which columns; nothing of their values."""
    kind = type(statement).__name__.removesuffix("Statement").upper()
    clauses = getattr(statement, "assignments", None) or getattr(statement, "fields", None) or ()
    names = dict.fromkeys(str(clause.field) for clause in clauses)
    return f"{kind} of {', '.join(names)}" if names else kind
