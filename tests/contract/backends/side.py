"""What a backend must show for `tests.contract.backends.suite`: settings, a model, and faults that can be ordered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import undaunted

__all__ = ["CLUSTER", "ScriptedSide", "Side"]

CLUSTER = "shop"


class Side(Protocol):
    """One database with its nodes, scripted or real.

    Attributes:
        backend: Its name in the settings.
        native: The driver's own class by the name of the error of undaunted.
        errors: The module with the backend's errors.
        hung_write: What a write that hangs ends in at its deadline: `OutcomeUnknown`, or `DeadlineExceeded` where it is
            certain that a write that is still under way has not happened.
        lively_s: More than anything here takes on a busy machine; a call that hangs takes longer.
    """

    backend: str
    native: dict[str, type[BaseException]]
    errors: Any
    hung_write: type[undaunted.UndauntedError]
    lively_s: float

    def settings(self, **changes: Any) -> dict[str, Any]:
        """The cluster `CLUSTER` for `undaunted.configure`; quick to give a node up."""
        ...

    def model(self, **declared: Any) -> Any:
        """A model with ``key`` and ``value`` that lives there, its table made where it needs one."""
        ...

    def registered(self) -> bool:
        """Whether the ORM knows the cluster under its name."""
        ...

    def addresses(self) -> Sequence[str]:
        """The nodes, as ``"host:port"``."""
        ...

    # -- what an application does

    def save(self, model: Any, key: int, value: int) -> None:
        """A write that may run twice."""
        ...

    def read(self, model: Any, key: int) -> int:
        """The value of a key."""
        ...

    def count(self, model: Any, key: int) -> None:
        """A write that may not run twice: one more in a place that `counted` shows."""
        ...

    def counted(self, model: Any, key: int) -> int:
        """How often it was counted, past the application."""
        ...

    def wrong(self, model: Any) -> tuple[Any, type[BaseException]]:
        """A request that the server refuses as wrong, to be called, and the driver's class of what it raises."""
        ...

    # -- what happens to it

    def hang(self) -> None:
        """No node answers anything until `go_on`, but all can be connected to."""
        ...

    def stop(self) -> None:
        """Every node is gone until `go_on`."""
        ...

    def go_on(self) -> None:
        """Every node is well again, and what hung is executed."""
        ...


class ScriptedSide(Side, Protocol):
    """One whose nodes do as they are told, and remember."""

    def asked(self) -> int:
        """How often a node was asked anything at all, greetings included."""
        ...

    def arrived(self, what: str) -> int:
        """How many reads (``"read"``), saves (``"save"``) or counts (``"count"``) have come to a node."""
        ...

    def lose_reply(self, what: str, times: int = 1) -> None:
        """The next read, save or count is executed and not answered."""
        ...

    def refuse(self, what: str, times: int) -> None:
        """The next reads, saves or counts are refused by a server that has too much to do."""
        ...
