"""Units of work over several documents: run again as a whole, with the documents in memory as they were before."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, overload

from pymongo.write_concern import WriteConcern

from undaunted.mongodb import connection, seams
from undaunted.mongodb.errors import OutcomeUnknown
from undaunted.mongodb.faults import mark_final
from undaunted.mongodb.memory import Memory, current_memory, reachable_documents
from undaunted.mongodb.units import run_unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.client_session import ClientSession

__all__ = ["Transaction", "transaction"]

P = ParamSpec("P")
T = TypeVar("T")


class Transaction:
    """A way to run functions in transactions of one cluster; made by `transaction`."""

    __slots__ = ("_options", "_target")

    def __init__(self, target: Any = None, **options: Any) -> None:
        self._target = target
        self._options = options

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate `function`, so that each call of it is a transaction."""

        @functools.wraps(function)
        def in_transaction(*args: P.args, **kwargs: P.kwargs) -> T:
            return self.run(function, *args, **kwargs)

        return in_transaction

    def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a transaction, again as a whole after a rollback, and return what it returned.

        Inside another transaction of the same cluster it becomes part of that.

        Raises:
            OutcomeUnknown: The commit went unanswered until the deadline.
            Exception: Whatever `function` raises; nothing of the transaction has happened then.
        """
        client = connection.client_of(self._target)
        bound = seams.bound_session(client)
        if bound is not None and bound.in_transaction:
            return function(*args, **kwargs)
        memory = Memory(reachable_documents(function, args, kwargs))
        options: dict[str, Any] = {"write_concern": WriteConcern("majority"), **self._options}

        def body(session: ClientSession) -> T:
            token = current_memory.set(memory)
            try:
                with session.bind(end_session=False):
                    return function(*args, **kwargs)
            except Exception as error:
                if memory.uncertain is not None:
                    _refuse_rerun(memory, error)
                raise
            finally:
                current_memory.reset(token)

        try:
            return run_unit(client, body, before_rerun=memory.restore, **options)
        except OutcomeUnknown:
            memory.restore(keep_identity=True)  # a second save() must meet the document, not make another
            raise
        except BaseException:
            memory.restore()  # nothing was committed, so nothing in memory may look as if it had been
            raise

    def __enter__(self) -> NoReturn:
        raise TypeError(
            "A transaction must be able to run its body again, and the body of a with block cannot be. Decorate a "
            "function with @transaction(...), or call transaction(...).run(function, ...)."
        )

    def __exit__(self, *exc_info: object) -> None:
        """Never reached: entering refuses."""


@overload
def transaction(target: type[Any] | str | None = None, **options: Any) -> Transaction: ...  # type: ignore[overload-overlap]  # a class is callable, and meant as one
@overload
def transaction(target: Callable[P, T], /) -> Callable[P, T]: ...
def transaction(target: Any = None, **options: Any) -> Any:
    """Make functions transactions: ``@transaction``, ``@transaction(Order)``, ``transaction("orders").run(function)``.

    The function is run again as a whole when its transaction was rolled back; its commit is sent again while no answer
    comes. Documents that it is given, or touches, are put back to what they were before each run: fields, ``id``,
    changed fields and the created mark. Threads that it starts are outside of the transaction.

    Args:
        target: A document class, the name of a cluster, or None for MongoEngine's default connection.
        **options: For `pymongo.client_session.ClientSession.start_transaction`, such as ``read_concern``.
    """
    if callable(target) and not isinstance(target, type):
        return Transaction(**options)(target)
    return Transaction(target, **options)


def _refuse_rerun(memory: Memory, error: Exception) -> None:
    """Take a transient error's leave to run again where a document could not be put back."""
    mark_final(error)
    if hasattr(error, "add_note"):
        error.add_note(
            f"Not run again: a {memory.uncertain} was changed in place before it could be remembered. Pass such "
            "documents to the function as arguments."
        )
