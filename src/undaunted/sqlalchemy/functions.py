"""The functions that may be units of work: where they take their session, and which of them cannot be run again."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["complete", "position_of_session", "refuse_generator", "without_session"]

_OWNERS = ("self", "cls")


def refuse_generator(function: Any) -> None:
    """Raise for a generator.

    Raises:
        TypeError: It is one.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{function.__qualname__} is a generator: what it has given away could not be taken back when the unit of "
            "work is run again. Let it return a list."
        )


def position_of_session(function: Any) -> int:
    """Which of a function's parameters is the session: the first, or of a method the second.

    Raises:
        TypeError: It has none, or is no function that could be run again.
    """
    refuse_generator(function)
    for kind in (staticmethod, classmethod):
        if isinstance(function, kind):
            raise TypeError(f"@unit_of_work stands above @{kind.__name__}. Put it below, next to the function itself.")
    if not callable(function):
        raise TypeError(f"@unit_of_work decorates functions, not {type(function).__name__}.")
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    position = 1 if parameters and parameters[0].name in _OWNERS else 0
    has_rest = bool(parameters) and parameters[-1].kind is inspect.Parameter.VAR_POSITIONAL
    if len(parameters) <= position and not has_rest:
        raise TypeError(
            f"{getattr(function, '__qualname__', function)} takes no session. A unit of work is given one first: "
            f"def {getattr(function, '__name__', 'function')}(session, ...)."
        )
    return position


def without_session(function: Any, position: int) -> inspect.Signature:
    """The signature for those who call it."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if parameters[position].kind is not inspect.Parameter.VAR_POSITIONAL:
        del parameters[position]
    return signature.replace(parameters=parameters)


def complete(result: Any) -> Any:
    """What a function has returned, unless it has not done its work yet.

    Raises:
        TypeError: It is a coroutine or a generator.
    """
    if result is None:
        return None
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(
            "The function of a unit of work returned a coroutine, which would run only after the COMMIT. Declare the "
            "function itself with async def."
        )
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError(
            "The function of a unit of work returned a generator, which would run only after the COMMIT. Return a list."
        )
    return result
