"""A site with nothing but the addresses of `undaunted.web`, as a framework would give them: real HTTP, in a thread."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from undaunted.web import answer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BASE", "serving"]

BASE = "/ops/undaunted/"


class _Handler(BaseHTTPRequestHandler):
    is_staff = True
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        told = answer(path.removeprefix(BASE) if path.startswith(BASE) else "?", is_staff=self.is_staff, base=BASE)
        self.send_response(told.status)
        self.send_header("Content-Type", told.content_type)
        self.send_header("Content-Length", str(len(told.body)))
        for name, value in told.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(told.body)

    def log_message(self, *args: object) -> None:
        """The test's own output is enough."""


@contextmanager
def serving(*, is_staff: bool = True) -> Iterator[str]:
    """Serve on a free port; gives the URL of the page."""
    handler = type("Handler", (_Handler,), {"is_staff": is_staff})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{BASE}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
