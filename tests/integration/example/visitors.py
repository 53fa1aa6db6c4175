"""Who visits a shop by HTTP: a browser without a picture, which writes down how each page was answered."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

__all__ = ["Page", "Visitor"]

PATIENCE_S = 60.0
FOLLOWED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer.

    Attributes:
        asked: Method and path.
        status: The status; 0 where there was no answer.
        took_s: From the question to the last byte of the answer.
        text: What it says.
        began_s: When it was asked for, on `time.monotonic`.
    """

    asked: str
    status: int
    took_s: float
    text: str
    began_s: float

    def __str__(self) -> str:
        return f"{self.asked}: {self.status} after {self.took_s:.1f} s"


class Visitor:
    """Keeps cookies, sends forms with their token, follows to the page behind a form.

    Args:
        port: Of the shop, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}
        self.pages: list[Page] = []

    def get(self, path: str) -> Page:
        """Ask for a page, and for those that it leads to."""
        return self._follow("GET", path, None)

    def post(self, path: str, **fields: str) -> Page:
        """Send a form, and ask for the page that it leads to."""
        token = {"csrfmiddlewaretoken": self.cookies.get("csrftoken", "")}
        return self._follow("POST", path, urlencode(token | fields).encode())

    def _follow(self, method: str, path: str, body: bytes | None) -> Page:
        for _ in range(FOLLOWED):
            page, onward = self._ask(method, path, body)
            if onward is None:
                return page
            parts = urlsplit(urljoin(path, onward))
            path, method, body = parts.path + (f"?{parts.query}" if parts.query else ""), "GET", None
        raise AssertionError(f"{path} leads on and on")

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[Page, str | None]:
        began_s = time.monotonic()
        status, text, onward = 0, "", None
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            asked.request(method, path, body, headers)
            answer = asked.getresponse()
            text = answer.read().decode(errors="replace")
            status, onward = answer.status, answer.headers.get("Location")
            for line in answer.headers.get_all("Set-Cookie") or []:
                self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        except (OSError, http.client.HTTPException) as error:
            text = repr(error)
        finally:
            asked.close()
        took_s = time.monotonic() - began_s
        page = Page(asked=f"{method} {path}", status=status, took_s=took_s, text=text, began_s=began_s)
        self.pages.append(page)
        return page, onward
