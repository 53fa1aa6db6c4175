"""What a test tells the nodes to do instead of answering as they should."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from undaunted.testing.cql.errors import CqlError, FakeCassandraError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from undaunted.testing.cql.journal import Request

__all__ = ["Action", "Script", "Scripts"]

Kind = Literal["normal", "error", "lose_reply", "drop", "hang"]
STATEMENTS = frozenset({"QUERY", "EXECUTE", "BATCH"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What to do with a request.

    Attributes:
        kind: ``"normal"`` answers as if there were no script.
        error: What to answer, for ``"error"``.
        apply: Whether the statement is executed: at once, or for a hang once the node thaws.
        delay_s: How long to wait before anything.
    """

    kind: Kind = "normal"
    error: CqlError | None = None
    apply: bool = False
    delay_s: float = 0.0


class Script:
    """One rule: which requests are meant, and what happens to them. Made by `FakeCassandra.script`.

    It does nothing until one of `error`, `lose_reply`, `drop`, `hang` or `delay` says what.

    Attributes:
        fired: The requests that it was done to, in order.
    """

    def __init__(
        self,
        pattern: str | Callable[[Request], bool] | None,
        *,
        opcode: str | None,
        node: int | None,
        page: int | None,
        nth: int,
        times: int | None,
    ) -> None:
        if nth < 1 or (times is not None and times < 1):
            raise FakeCassandraError(f"nth={nth} and times={times} count from 1; times=None stands for always")
        self._predicate = pattern if callable(pattern) else None
        self._pattern = re.compile(pattern, re.IGNORECASE | re.DOTALL) if isinstance(pattern, str) else None
        self._opcode = opcode
        self._node = node
        self._page = page
        self._nth = nth
        self._times = times
        self._met = 0
        self._action: Action | None = None
        self._change = threading.Condition()
        self.fired: list[Request] = []

    def error(self, error: CqlError, *, applied: bool = False) -> Script:
        """Answer an error, before the statement is executed or, with `applied`, after it."""
        return self._does(Action(kind="error", error=error, apply=applied))

    def lose_reply(self) -> Script:
        """Execute the statement, then close the connection without an answer."""
        return self._does(Action(kind="lose_reply", apply=True))

    def drop(self) -> Script:
        """Close the connection; the statement is never executed."""
        return self._does(Action(kind="drop"))

    def hang(self, *, apply_later: bool = False) -> Script:
        """Never answer. With `apply_later` the statement is executed once `thaw` is called for the node."""
        return self._does(Action(kind="hang", apply=apply_later))

    def delay(self, by_s: float) -> Script:
        """Execute and answer as it should be, but this many seconds later."""
        return self._does(Action(delay_s=by_s))

    def cancel(self) -> None:
        """Do nothing any more."""
        with self._change:
            self._times = len(self.fired)

    def wait(self, count: int = 1, *, timeout_s: float = 10.0) -> Sequence[Request]:
        """Wait until it was done this often.

        Raises:
            FakeCassandraError: It was not in time.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._change:
            while len(self.fired) < count:
                if not self._change.wait(deadline_s - time.monotonic()):
                    raise FakeCassandraError(
                        f"the script was met {len(self.fired)} times in {timeout_s} s, not {count}"
                    )
            return tuple(self.fired)

    def take(self, request: Request) -> Action | None:
        """What to do with this request, counted; None where it is not meant."""
        if self._action is None or not self._means(request):
            return None
        with self._change:
            self._met += 1
            if self._met < self._nth or (self._times is not None and len(self.fired) >= self._times):
                return None
            self.fired.append(request)
            self._change.notify_all()
            return self._action

    def _does(self, action: Action) -> Script:
        self._action = action
        return self

    def _means(self, request: Request) -> bool:
        if self._opcode is None:
            if request.internal or request.opcode not in STATEMENTS:
                return False
        elif request.opcode != self._opcode:
            return False
        if self._node not in {None, request.node} or self._page not in {None, request.page}:
            return False
        if self._pattern is not None:
            return self._pattern.search(request.text) is not None
        return self._predicate is None or bool(self._predicate(request))


class Scripts:
    """The rules, in the order in which they were made; the first that means a request is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripts: list[Script] = []

    def add(self, script: Script) -> Script:
        """One more."""
        with self._lock:
            self._scripts.append(script)
        return script

    def clear(self) -> None:
        """No more."""
        with self._lock:
            self._scripts.clear()

    def action(self, request: Request) -> Action:
        """What to do with a request."""
        with self._lock:
            scripts = tuple(self._scripts)
        for script in scripts:
            action = script.take(request)
            if action is not None:
                return action
        return Action()
