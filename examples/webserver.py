"""The web server of an example: gunicorn, on a port that it inherits, with a directory for what it writes."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from undaunted.lab.ports import LOOPBACK

if TYPE_CHECKING:
    import contextlib

__all__ = ["HERE", "USUAL_PORT", "CannotOpenError", "end", "listen", "make_home", "serve"]

HERE = Path(__file__).resolve().parent
USUAL_PORT = 8000
OPENING_S = 60.0
CLOSING_S = 30.0


class CannotOpenError(Exception):
    """The shop could not be opened; says why."""


def listen(port: int | None) -> socket.socket:
    """Take the port, which gunicorn inherits: found out now, nobody else can have it when the shop opens."""
    try:
        return socket.create_server((LOOPBACK, USUAL_PORT if port is None else port))
    except OSError as error:
        if port is None:
            return socket.create_server((LOOPBACK, 0))
        remedy = "name another one, or 0 for any that is free"
        raise CannotOpenError(f"--port {port} cannot be used ({os.strerror(error.errno or 0)}); {remedy}.") from error


def make_home(stack: contextlib.ExitStack) -> Path:
    """A directory of the shop's own, removed at the end; those of shops that were killed are removed now."""
    place = Path(tempfile.gettempdir())
    home = place / f"undaunted-example-{os.getuid()}-{os.getpid()}"
    for left in place.glob(f"undaunted-example-{os.getuid()}-*"):
        if left == home or not Path("/proc", left.name.rpartition("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    home.mkdir(mode=0o700)
    stack.callback(shutil.rmtree, home, ignore_errors=True)
    return home


def serve(app: str, listener: socket.socket, environ: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start gunicorn, and wait until it answers."""
    folder, module = (HERE / "django_app", "config.wsgi") if app == "django" else (HERE / "flask_app", "app:app")
    conf = HERE / "django_app" / "gunicorn.conf.py"
    bind = f"--bind=fd://{listener.fileno()}"
    gunicorn = ["-m", "gunicorn", f"--config={conf}", f"--chdir={folder}", bind, module]
    port: int = listener.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # our own words
            [sys.executable, str(HERE / "tied.py"), str(os.getpid()), *gunicorn],
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # Ctrl-C is for us to handle
        )
    listener.close()  # it is gunicorn's now
    give_up_s = time.monotonic() + OPENING_S
    while True:
        if is_live(port):
            return process
        if process.poll() is not None or time.monotonic() > give_up_s:
            end(process)
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-15:]
            raise CannotOpenError("\n".join(["gunicorn did not come up:", *last]))
        time.sleep(0.1)


def is_live(port: int) -> bool:
    """Whether the shop answers."""
    asked = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        asked.request("GET", "/undaunted/live")
        return asked.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """Let it finish what it is at, and end it."""
    process.terminate()
    try:
        process.wait(CLOSING_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
