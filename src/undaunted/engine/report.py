"""The words of what is raised: what failed, why it was not run again, every try, and the remedy.

Nothing of the user's data is told: of a driver's error only its class and its code.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from undaunted.core.decision import Reason
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind

if TYPE_CHECKING:
    from undaunted.core.attempt import Attempt
    from undaunted.engine.call import Call
    from undaunted.errors import UndauntedError

__all__ = ["error_for", "is_unknown", "note_for"]

_SHOWN = 10
"""Tries listed in a message; a long outage makes hundreds. ``exc.attempts`` has them all."""

_DIAGNOSED = (Reason.DEADLINE, Reason.NO_NODE, Reason.UNKNOWN)
"""Where the state of the nodes may be what stood in the way."""

_MAYBE_APPLIED = (
    "At least one try was sent and never answered, so it may have been applied. Read the data to see what happened "
    "before you run it again."
)


def is_unknown(reason: Reason, call: Call) -> bool:
    """Whether the caller must be told that the data may or may not have changed."""
    if reason in (Reason.PERMANENT, Reason.ROLLED_BACK) or call.operation.kind is Kind.READ:
        return False
    return any(attempt.fault is Fault.UNKNOWN for attempt in call.attempts)


def error_for(reason: Reason, call: Call) -> UndauntedError:
    """The backend's error for a call that was given up."""
    kind = _class_for(reason, call)
    remedy = inspect.getdoc(kind) or kind.__name__  # no docstrings under python -OO
    if is_unknown(reason, call) and reason is not Reason.UNKNOWN:
        remedy = _MAYBE_APPLIED
    head = f"{call.operation.name} on cluster {call.guard.cluster!r}: {_because(reason, call)}."
    said = call.guard.diagnose() if call.guard.diagnose and reason in _DIAGNOSED else None
    lines = [head, *_listed(call.attempts), *([said] if said else []), remedy]
    return kind("\n".join(lines), attempts=call.attempts)


def note_for(call: Call) -> str:
    """A note for a driver's own error that was not the first."""
    lines = [f"{call.operation.name} on cluster {call.guard.cluster!r}:", *_listed(call.attempts)]
    if call.operation.kind is not Kind.READ and any(a.fault is Fault.UNKNOWN for a in call.attempts):
        lines.append("An earlier try was sent and never answered.")
    return "\n".join(lines)


def _class_for(reason: Reason, call: Call) -> type[UndauntedError]:
    errors = call.guard.errors
    if is_unknown(reason, call):
        return errors.outcome_unknown
    return {
        Reason.DEADLINE: errors.deadline_exceeded,
        Reason.NO_NODE: errors.no_node_available,
        Reason.BUDGET: errors.budget_exhausted,
    }.get(reason, errors.exhausted)


def _because(reason: Reason, call: Call) -> str:
    if reason is Reason.DEADLINE:
        return f"{reason.value} ({call.policy.deadline_s:g} s, {call.elapsed_s():.3g} s gone)"
    if reason is Reason.NO_NODE:
        age_s = call.guard.outage.age_s(needs_primary=call.operation.needs_primary)
        return f"{reason.value} ({age_s:.3g} s, patience {call.policy.patience_s:g} s)"
    if reason is Reason.ATTEMPTS:
        return f"{reason.value} ({call.policy.attempts})"
    return str(reason.value)


def _listed(attempts: list[Attempt]) -> list[str]:
    if not attempts:
        return ["Nothing was tried."]
    first, last = attempts[: _SHOWN // 2], attempts[_SHOWN // 2 :][-_SHOWN // 2 :]
    omitted = len(attempts) - len(first) - len(last)
    lines = [_line(number, attempt) for number, attempt in enumerate(first, start=1)]
    if omitted > 0:
        lines.append(f"  ... {omitted} more ...")
    lines += [_line(number, attempt) for number, attempt in enumerate(last, start=len(first) + omitted + 1)]
    return lines


def _line(number: int, attempt: Attempt) -> str:
    node = attempt.node or "no node chosen"
    return f"  {number}. {node}, {attempt.fault.value}, {attempt.elapsed_s:.3f} s, {_named(attempt.error)}"


def _named(error: BaseException) -> str:
    code: object = getattr(error, "code", None)
    has_code = isinstance(code, int) and not isinstance(code, bool)
    return f"{type(error).__name__} (code {code})" if has_code else type(error).__name__
