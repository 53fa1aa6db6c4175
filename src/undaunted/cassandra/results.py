"""Rows of more than one page: each page is a request of its own, which any node can answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cassandra.cluster import ResultSet

if TYPE_CHECKING:
    from undaunted.cassandra.request import Request
    from undaunted.cassandra.session import Session

__all__ = ["Pages", "empty"]


class Pages(ResultSet):  # type: ignore[misc]  # the driver is untyped
    """The driver's result, which fetches its further pages through the engine.

    In the driver alone a further page has no timeout at all, is asked of one node only, and after an error the rest is
    silently missing. Here a page that failed is asked for again, where the next row is asked for again.
    """

    def __init__(self, session: Session, request: Request, future: Any, rows: Any) -> None:
        super().__init__(future, rows)
        self._session = session
        self._request = request

    def fetch_next_page(self) -> None:
        """Fetch the next page, at the place where this one ended."""
        if not self.has_more_pages:
            self._current_rows: list[Any] = []
            return
        fetched = self._session.page_after(self._request, self.paging_state)
        self.response_future = fetched.response_future
        self._current_rows = fetched.current_rows


class _NoAnswer:
    """Stands for the future of a statement that had been executed before."""

    _col_names = _col_types = _paging_state = None
    _continuous_paging_session = row_factory = query = None
    has_more_pages = False


def empty() -> ResultSet:
    """The result of a statement that answers nothing."""
    return ResultSet(_NoAnswer(), [])
