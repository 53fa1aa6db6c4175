"""What a view may declare of itself."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["profile", "profile_of"]

P = ParamSpec("P")
T = TypeVar("T")

_DECLARED = "undaunted_profile"


def profile(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Choose the profile of a view's requests, and with it their deadline: ``@profile("worker")``.

    It goes before ``web.profiles`` in the settings, which choose by the path. For classes of views:
    ``@method_decorator(profile("worker"), name="dispatch")``. The middleware acts on it; without that it does nothing.

    Args:
        name: Name of a profile from the settings, or of a built-in one: ``"web"``, ``"worker"``.

    Raises:
        TypeError: `name` is no name; such as where the brackets were forgotten.
    """
    if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance] callers may be untyped
        raise TypeError(f'expected the name of a profile, as in @profile("worker"), not {name!r}')

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        if inspect.iscoroutinefunction(view):

            @functools.wraps(view)
            async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                return await view(*args, **kwargs)

            made = cast("Callable[P, T]", run_async)
        else:

            @functools.wraps(view)
            def run(*args: P.args, **kwargs: P.kwargs) -> T:
                return view(*args, **kwargs)

            made = run
        setattr(made, _DECLARED, name)
        return made

    return decorate


def profile_of(view: object) -> str | None:
    """The profile that a view has declared; None where it has declared none."""
    return getattr(view, _DECLARED, None)
