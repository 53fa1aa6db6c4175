"""What holds for one request: its deadline, and that its reads see the visitor's own writes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from undaunted.config.sections import ProfileSettings
from undaunted.core.deadline import earlier
from undaunted.engine.context import IN_FORCE, options
from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

    from undaunted.config import Settings
    from undaunted.config.web import WebSettings
    from undaunted.engine.context import Declared
    from undaunted.sqlalchemy.carried import Carried

__all__ = ["RequestScope"]

_LEAST_S = 0.001
"""A deadline that has passed already: calls are refused at once."""


class RequestScope:
    """Everything that holds for one request, as a ``with`` block around it; the same in sync and in async code.

    The profile's deadline is the request's, for all its calls together. Whatever else that profile sets holds for each
    of them, over what their models and clusters say, as `undaunted.options` does.

    Args:
        settings: The section ``[web]``.
        path: The path of the request's URL, which chooses the profile.
        profile: A profile that was chosen otherwise, as by a decorator.
        tokens: What `tokens` gave for the visitor's last request. What is no token is left out.

    Attributes:
        profile: The profile's name.

    Raises:
        ConfigurationError: There is no such profile.
    """

    def __init__(
        self,
        settings: WebSettings,
        *,
        path: str,
        profile: str | None = None,
        tokens: Mapping[str, str] | None = None,
    ) -> None:
        everything = REGISTRY.loaded.settings
        self.profile = profile or settings.profile_of(path)
        self._began_s = time.monotonic()
        self._options = _options(everything, self.profile, began_s=self._began_s)
        self._own: Declared | None = None
        self._is_bounded = False
        self._carried: Carried | None = None
        if settings.read_your_writes != "off" and _has_tokens(everything):
            from undaunted.sqlalchemy.carried import Carried  # noqa: PLC0415  # not where there is no such cluster

            self._carried = Carried(tokens if settings.read_your_writes != "request" else None)

    def __enter__(self) -> Self:
        self._options.__enter__()
        self._own = IN_FORCE.get()
        self._is_bounded = True
        if self._carried is not None:
            self._carried.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._is_bounded:  # released
            return
        if self._carried is not None:
            self._carried.leave()
        self.release()

    def release(self) -> None:
        """End the deadline alone, where the answer's body is still to be streamed, in place of leaving the block.

        Leaving it does nothing then. What the request has written stays in force in this context, so that its own body
        sees it; the next request begins afresh all the same. A deadline would cut a long body, which has its own calls
        and its own reader.
        """
        if self._is_bounded:
            self._is_bounded = False
            self._options.__exit__(None, None, None)

    def change(self, profile: str) -> None:
        """Take another profile from here on, within the block; its deadline counts from the request's start, too.

        What was declared within the block since it began, as by a middleware, goes on to hold over it.

        Args:
            profile: The profile's name.

        Raises:
            ConfigurationError: There is no such profile.
        """
        chosen = _options(REGISTRY.loaded.settings, profile, began_s=self._began_s)
        inner, before = IN_FORCE.get(), self._own
        IN_FORCE.set(None if before is None else before.outer)
        chosen.__enter__()
        self.profile, self._options, self._own = profile, chosen, IN_FORCE.get()
        if before is not None and self._own is not None:
            IN_FORCE.set(_over(inner, before, self._own))

    def tokens(self) -> dict[str, str]:
        """What the visitor's next request must not be behind, by cluster: what he brought, joined with what he wrote.

        Only clusters that have replicas have any. Ask within the block or after it; it raises nothing, and waits for
        some milliseconds where the request has just committed.
        """
        return {} if self._carried is None else self._carried.written()

    async def tokens_async(self) -> dict[str, str]:
        """The same without blocking the event loop."""
        return {} if self._carried is None else await self._carried.written_async()


def _options(settings: Settings, profile: str, *, began_s: float) -> options:
    deadline_s = max(_LEAST_S, settings.deadline_of(profile) - (time.monotonic() - began_s))
    chosen = settings.profiles[profile]
    others = replace(chosen, retry=replace(chosen.retry, deadline=None))
    # Naming a profile lays it over what a model says of itself: only where it says anything but the deadline.
    return options(deadline=deadline_s, profile=profile if others != ProfileSettings() else None)


def _over(inner: Declared | None, before: Declared, own: Declared) -> Declared:
    """What was declared within `before`, as it is within `own`, in the place of that."""
    if inner is None or inner is before:
        return own
    outer = _over(inner.outer, before, own)
    is_shorter = inner.deadline is not before.deadline  # than the one before; else it was that
    return replace(
        inner,
        deadline=earlier(outer.deadline, inner.deadline if is_shorter else None),
        profile=own.profile if inner.profile == before.profile else inner.profile,
        outer=outer,
        memo=[],
    )


def _has_tokens(settings: Settings) -> bool:
    return any(cluster.backend == "sqlalchemy" for cluster in settings.clusters.values())
