"""What holds for one request: its deadline, and that its reads see the visitor's own writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.engine.context import options
from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

    from undaunted.config.web import WebSettings

__all__ = ["RequestScope"]


class RequestScope:
    """Everything that holds for one request, as a ``with`` block around it; the same in sync and in async code.

    Args:
        settings: The section ``[web]``.
        path: The path of the request's URL, which chooses the profile.
        profile: A profile that was chosen otherwise, as by a decorator.
        tokens: What `tokens` gave for the visitor's last request. Others than those are ignored.
    """

    def __init__(
        self,
        settings: WebSettings,
        *,
        path: str,
        profile: str | None = None,
        tokens: Mapping[str, str] | None = None,
    ) -> None:
        self.profile = profile or settings.profile_of(path)
        self._tokens = dict(tokens or {})
        retry = REGISTRY.loaded.settings.profiles[self.profile].retry
        self._options = options(deadline=retry.deadline)

    def __enter__(self) -> Self:
        self._options.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._options.__exit__(kind, error, traceback)

    def tokens(self) -> dict[str, str]:
        """What the visitor's next request must not be behind, for each cluster that has tokens.

        Ask within the block or behind it; waits for a moment where the request has just written.
        """
        return self._tokens

    async def tokens_async(self) -> dict[str, str]:
        """The same without blocking the event loop."""
        return self._tokens
