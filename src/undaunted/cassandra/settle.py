"""What became of a lightweight transaction whose answer was lost: a SERIAL read of its row, where the row decides it.

A SERIAL read first finishes what has been agreed on, so what it shows is what holds. What it cannot show is a statement
that still waits in the socket of a frozen node, and would be executed later. So:

| the row shows | and the answer was | it |
|---|---|---|
| all that we gave, a UUID among it | whatever | was applied |
| nothing, for an INSERT ... IF NOT EXISTS | given by the coordinator, so nothing waits any more | was not applied |
| anything else | whatever | is not known: somebody else may have written since, or the same |

A stock that two buyers take from 5 to 4 looks the same to both, and so does a name that two users claim; only a value
that nobody else writes tells one's own write. A UUID is taken for such a one: give the row one of the claimer's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from cassandra import ConsistencyLevel
from cassandra.cqlengine.statements import AssignmentClause, InsertStatement, UpdateStatement
from cassandra.query import SimpleStatement

from undaunted.cassandra.faults import fault_of, is_answer
from undaunted.cassandra.operations import shape_of
from undaunted.cassandra.request import Request
from undaunted.core.backoff import full_jitter_s
from undaunted.core.fault import Fault
from undaunted.engine.guard import NOT_APPLIED, UNDECIDED

if TYPE_CHECKING:
    from undaunted.core.attempt import Failure
    from undaunted.engine.call import Call

__all__ = ["Applied", "settle"]

_MOST_READS = 5


class Applied:
    """The answer of a lightweight transaction that was found to have been applied, as cqlengine reads it."""

    was_applied = True
    current_rows: tuple[Any, ...] = ({"[applied]": True},)
    column_names: tuple[str, ...] = ("[applied]",)
    has_more_pages = False
    paging_state = None

    def one(self) -> dict[str, bool]:
        """The one row of such an answer."""
        return {"[applied]": True}

    def all(self) -> list[dict[str, bool]]:
        """The rows of such an answer."""
        return [self.one()]

    def __iter__(self) -> Any:
        return iter(self.all())

    def __bool__(self) -> bool:
        return True


def settle(call: Call, failure: Failure) -> Any:  # noqa: ARG001  # the engine's signature
    """Find out what happened to a lightweight transaction: its answer, `NOT_APPLIED` or `UNDECIDED`."""
    request: Request = call.subject
    statement = request.statement
    if statement is None:
        return UNDECIDED  # text of which nothing is known
    wanted = _wanted(request.model, statement)
    if wanted is None:
        return UNDECIDED
    keys, values = wanted
    rows = _read(call, request, request.model, keys)
    if rows is None:
        return UNDECIDED
    is_insert = isinstance(statement, InsertStatement)
    if not rows:
        has_ended = is_answer(call.attempts[-1].error)
        return NOT_APPLIED if is_insert and has_ended else UNDECIDED
    is_ours = all(name in rows[0] and _same(rows[0][name], value) for name, value in values.items())
    told_apart_by = [*values.values(), *keys.values()] if is_insert else values.values()
    is_told_apart = any(isinstance(_plain(value), UUID) for value in told_apart_by)
    return Applied() if is_ours and is_told_apart else UNDECIDED


def _wanted(model: Any, statement: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The row's whole key, and the values that the statement gives its columns; None where that cannot be told."""
    if model is None or not isinstance(statement, (InsertStatement, UpdateStatement)):
        return None
    plain = [clause for clause in statement.assignments if type(clause) is AssignmentClause]
    given: dict[str, Any] = {clause.field: clause.value for clause in plain}
    if len(given) != len(statement.assignments):
        return None  # it adds to a collection: what the row shows is not what was written
    keys: dict[str, Any] = {clause.field: clause.value for clause in statement.where_clauses}
    names = [column.db_field_name for column in model._primary_keys.values()]  # noqa: SLF001
    for name in names:
        if name in given:
            keys[name] = given.pop(name)
    if set(keys) != set(names):
        return None  # static columns, or a partition as a whole
    return keys, given


def _read(call: Call, request: Request, model: Any, keys: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The row as all replicas agree on it; None where nobody could be asked in time."""
    session = request.session
    profile = session.profile(True, None)  # noqa: FBT003  # half of a key
    where = " AND ".join(f'"{name}" = %s' for name in keys)
    query = SimpleStatement(
        f"SELECT * FROM {model.column_family_name()} WHERE {where}",  # noqa: S608  # names of the model's own columns
        consistency_level=profile.serial_consistency_level or ConsistencyLevel.LOCAL_SERIAL,
    )
    query.routing_key, query.keyspace = request.query.routing_key, request.query.keyspace
    shape = shape_of(str(query.query_string))
    read = Request(
        session,
        query,
        [_plain(value) for value in keys.values()],
        shape=shape,
        timeout_s=request.timeout_s,
        options={"execution_profile": profile},
    )
    for retries in range(_MOST_READS):
        try:
            return list(read.attempt(call))  # it waits for a node where none can be asked
        except Exception as error:  # noqa: BLE001  # the next node may answer; that none did is told as not known
            if fault_of(error, shape.operation, sent=True) is Fault.PERMANENT:
                return None
        call.guard.sleep(min(full_jitter_s(call.policy.backoff, retries, call.guard.chance()), call.remaining_s()))
        if call.remaining_s() <= 0:
            return None
    return None


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)


def _same(stored: Any, given: Any) -> bool:
    given = _plain(given)
    if isinstance(given, (list, tuple)):
        return list(stored or ()) == list(given)
    if isinstance(given, (set, frozenset)):
        return set(stored or ()) == set(given)
    if isinstance(given, dict):
        return dict(stored or {}) == dict(given)
    return bool(stored == given)
