"""What the calling code declares for the calls within a block: options and deadlines.

They live in a contextvar, so they reach coroutines and tasks begun in the block, but not what is handed to a
`concurrent.futures.ThreadPoolExecutor`; pass ``contextvars.copy_context().run`` there.
"""

from __future__ import annotations

import functools
import inspect
import time
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn, ParamSpec, TypeVar, cast, get_args

from undaunted.core.deadline import Deadline, earlier
from undaunted.core.durations import seconds
from undaunted.core.policy import Reads

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.core.policy import Policy

__all__ = ["IN_FORCE", "Declared", "current_options", "deadline", "options"]

P = ParamSpec("P")
T = TypeVar("T")

ManyWrites = Literal["transaction", "plain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The options in force; None where nothing was declared.

    Attributes:
        deadline: The earliest of the deadlines around, on `time.monotonic`.
        idempotent: Whether running a write twice does no harm.
        reads: Where reads go.
        many_writes: How a write to many documents is made.
        attempts: Executions that may have reached a server, the first counted.
        profile: Name of the profile whose policy holds; backends look it up.
        outer: What was in force around the block.
        memo: The policy overlaid last, and the result: most blocks repeat one, and laying over costs 3 us.
    """

    deadline: Deadline | None = None
    idempotent: bool | None = None
    reads: Reads | None = None
    many_writes: ManyWrites | None = None
    attempts: int | None = None
    profile: str | None = None
    outer: Declared | None = None
    memo: list[tuple[Policy, Policy]] = field(default_factory=list["tuple[Policy, Policy]"], compare=False, repr=False)

    def overlay(self, policy: Policy) -> Policy:
        """The policy with everything declared here laid over it."""
        if self.memo and (last := self.memo[0])[0] is policy:
            return last[1]
        declared: dict[str, Any] = {
            name: value
            for name in ("idempotent", "reads", "many_writes", "attempts")
            if (value := getattr(self, name)) is not None
        }
        if self.deadline is not None:
            declared["deadline_s"] = self.deadline.length_s
        overlaid = replace(policy, **declared) if declared else policy
        self.memo[:] = [(policy, overlaid)]
        return overlaid


IN_FORCE: ContextVar[Declared | None] = ContextVar("undaunted.options", default=None)


def current_options() -> Declared | None:
    """The options in force here; None outside every block."""
    return IN_FORCE.get()


class options:  # noqa: N801  # used like a function
    """Declare options for the calls within a ``with`` block or a decorated function.

    Works in and on sync and async code. Inner options win over outer ones, but an inner deadline never outlasts
    the one around it. Entering the block, or calling the function, starts the clock of the deadline.

    Args:
        deadline: Time for everything in the block together: ``"2s"``, ``"500ms"``, or seconds.
        idempotent: Whether running the block's writes twice does no harm, so that they may be run again after an
            unknown outcome.
        reads: Where reads go: ``"primary"``, ``"fallback"``, ``"replica"`` or ``"any"``.
        many_writes: How a write to many documents is made: ``"transaction"`` or ``"plain"``.
        attempts: Executions that may have reached a server, the first counted; at least 1.
        profile: Name of a profile from the settings.
        unknown: Nothing: any other keyword is refused.

    Raises:
        TypeError: A keyword is unknown, or a value is of the wrong type.
        ValueError: A value is out of range.
    """

    __slots__ = ("_declared", "_length_s")

    def __init__(
        self,
        *,
        deadline: str | float | None = None,
        idempotent: bool | None = None,
        reads: Reads | None = None,
        many_writes: ManyWrites | None = None,
        attempts: int | None = None,
        profile: str | None = None,
        **unknown: NoReturn,
    ) -> None:
        if unknown:
            raise TypeError(_about_unknown(unknown))
        self._length_s = None if deadline is None else _length_s(deadline)
        self._declared = Declared(
            idempotent=_checked("idempotent", idempotent, bool),
            reads=_one_of("reads", reads, get_args(Reads)),
            many_writes=_one_of("many_writes", many_writes, get_args(ManyWrites)),
            attempts=_positive("attempts", attempts),
            profile=_checked("profile", profile, str),
        )

    def __enter__(self) -> None:
        outer = IN_FORCE.get()
        own = self._declared
        mine = None if self._length_s is None else Deadline.after(self._length_s, now_s=time.monotonic())
        if outer is None:
            IN_FORCE.set(replace(own, deadline=mine, memo=[]))
            return
        IN_FORCE.set(
            Declared(
                deadline=earlier(outer.deadline, mine),
                idempotent=outer.idempotent if own.idempotent is None else own.idempotent,
                reads=own.reads or outer.reads,
                many_writes=own.many_writes or outer.many_writes,
                attempts=own.attempts or outer.attempts,
                profile=own.profile or outer.profile,
                outer=outer,
            )
        )

    def __exit__(self, *_: object) -> None:
        # No token is kept, so that one object may be entered again, by many threads, and within itself.
        inner = IN_FORCE.get()
        IN_FORCE.set(None if inner is None else inner.outer)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate a function or coroutine function: the options hold for each of its calls."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator: between its steps the options would leak to whoever runs it. "
                "Decorate the function that consumes it."
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return cast("Callable[P, T]", run_async)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            with self:
                return function(*args, **kwargs)

        return run


def deadline(value: str | float) -> options:
    """Declare a deadline for everything in a block together; the same as ``options(deadline=value)``."""
    return options(deadline=value)


_KNOWN = ("deadline", "idempotent", "reads", "many_writes", "attempts", "profile")


def _about_unknown(unknown: dict[str, Any]) -> str:
    import difflib  # noqa: PLC0415  # only for a mistake

    name = min(unknown)
    close = difflib.get_close_matches(name, _KNOWN, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{name!r} is not an option.{hint} The options are {', '.join(_KNOWN)}."


def _length_s(value: object) -> float:
    try:
        length_s = seconds(value)
    except ValueError as error:
        raise ValueError(f"option deadline: {error}") from None
    if length_s <= 0:
        raise ValueError(f"option deadline: {value!r} leaves no time for anything. Give it a positive duration.")
    return length_s


def _checked(name: str, value: T | None, kind: type[T]) -> T | None:
    if value is None or (isinstance(value, kind) and value != ""):
        return value
    raise TypeError(f"option {name}: expected {kind.__name__}, found {value!r}")


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> Any:
    if value is None or value in allowed:
        return value
    raise ValueError(f"option {name}: {value!r} is not one of {', '.join(allowed)}")


def _positive(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"option {name}: expected a whole number, found {value!r}")
    if value < 1:
        raise ValueError(f"option {name}: {value} is too small; the first attempt counts, so at least 1")
    return int(value)
