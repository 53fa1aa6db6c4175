"""A real Chromium, that speaks to loopback and to nothing else."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from playwright.sync_api import Browser, Page, Route

__all__ = ["PHONE", "Complaints", "chromium", "opened"]

PHONE = {"width": 375, "height": 812}

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The first Chromium on PATH."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "no Chromium is on PATH; these tests need one: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Complaints(list[str]):
    """What a page says to the console as a warning or an error, what it throws, and what it asks of other hosts."""

    def listen(self, page: Page, own: str) -> None:
        page.on("console", lambda said: self.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith((own, "data:")) else self.append(request.url))


@contextmanager
def opened(
    browser: Browser, url: str, *, routes: Mapping[str, Callable[[Route], None]] | None = None, **options: Any
) -> Iterator[tuple[Page, Complaints]]:
    """A page in a context of its own, and what it has complained about; `routes` answer in the server's stead."""
    context = browser.new_context(**options)
    try:
        page = context.new_page()
        complaints = Complaints()
        complaints.listen(page, url.split("/ops", maxsplit=1)[0])
        for pattern, serve in (routes or {}).items():
            page.route(pattern, serve)
        page.goto(url)
        yield page, complaints
    finally:
        context.close()
