"""Starts real clusters on this machine and opens an example shop on them: ``python examples/run.py``.

The Django shop has its catalogue on Cassandra, its carts and orders on MongoDB and its ledger on PostgreSQL; with
``--backends`` it makes do with fewer. The Flask shop has all of it on one MongoDB. Everything ends with this program.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from undaunted.lab import CassandraLab, LabError, MongoLab, PostgresLab
from undaunted.lab.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from undaunted.lab.lab import Lab

HERE = Path(__file__).resolve().parent
USUAL_PORT = 8000
OPENING_S = 60.0
CLOSING_S = 30.0

LABS: dict[str, tuple[str, Callable[[str], Lab]]] = {
    "cassandra": ("catalogue", lambda name: CassandraLab(name=name)),
    "mongodb": ("orders", lambda name: MongoLab(name=name)),
    # On a busy machine a primary may be silent for two seconds and be well: one more would then take writes.
    "postgresql": ("ledger", lambda name: PostgresLab(name=name, auto_failover="4s")),
}
"""The cluster that each backend keeps for the shop, and its lab."""


class CannotOpenError(Exception):
    """The shop could not be opened; says why."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--app", choices=["django", "flask"], default="django", help="which of the two shops")
    parser.add_argument("--backends", default=",".join(LABS), help=f"some of {', '.join(LABS)}, separated by commas")
    parser.add_argument("--port", type=int, help=f"0 for any that is free (default: {USUAL_PORT}, if it is)")
    parser.add_argument("--name", default="shop", help="the labs are called NAME-orders and so on (default: shop)")
    found = parser.parse_args(argv)
    chosen = [backend.strip() for backend in found.backends.split(",")]
    unknown = [backend for backend in chosen if backend not in LABS]
    if unknown:
        parser.error(f"--backends {found.backends}: {unknown[0]!r} is none of {', '.join(LABS)}")
    found.backends = ["mongodb"] if found.app == "flask" else [backend for backend in LABS if backend in chosen]
    if found.port is not None and not 0 <= found.port < 65536:
        parser.error(f"--port {found.port}: a port is a number from 0 to 65535")
    return found


def listen(port: int | None) -> socket.socket:
    """Take the port, which gunicorn inherits: found out now, nobody else can have it when the shop opens."""
    try:
        return socket.create_server((LOOPBACK, USUAL_PORT if port is None else port))
    except OSError as error:
        if port is None:
            return socket.create_server((LOOPBACK, 0))
        remedy = "name another one, or 0 for any that is free"
        raise CannotOpenError(f"--port {port} cannot be used ({os.strerror(error.errno or 0)}); {remedy}.") from error


def say(line: str) -> None:
    """Tell the user."""
    print(line, flush=True)


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


def open_labs(backends: Sequence[str], name: str, stack: contextlib.ExitStack) -> dict[str, Lab]:
    """Start the clusters, all at once, and close them with the stack."""
    labs = {cluster: make(f"{name}-{cluster}") for cluster, make in (LABS[backend] for backend in backends)}
    failures: list[LabError] = []

    def start(lab: Lab) -> None:
        try:
            lab.open(progress=lambda step: say(f"  {lab.backend}: {step} ..."))
        except LabError as error:
            failures.append(error)

    threads = [threading.Thread(target=start, args=(lab,), daemon=True) for lab in labs.values()]
    for lab, thread in zip(labs.values(), threads, strict=True):
        stack.callback(lab.close)
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return labs


def environment(labs: dict[str, Lab], home: Path) -> dict[str, str]:
    """What the shop's settings read."""
    told = {**os.environ, "SHOP_SECRET": secrets.token_urlsafe(50), "SHOP_STAFF": str(home / "staff.sqlite3")}
    for cluster in ("catalogue", "orders", "ledger"):
        told.pop(f"{cluster.upper()}_NODES", None)
    for cluster, lab in labs.items():
        declared = lab.settings_for(cluster)["clusters"][cluster]
        told[f"{cluster.upper()}_NODES"] = ",".join(declared["nodes"])
        if "url" in declared:
            told[f"{cluster.upper()}_URL"] = declared["url"]
    return told


def prepare_django(labs: dict[str, Lab], environ: dict[str, str], password: str) -> None:
    """Make what the shop needs in its databases, load the goods, and let somebody into the office."""

    def manage(*words: str) -> None:
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(  # noqa: S603  # our own words
            command, cwd=HERE / "django_app", env=environ, text=True, capture_output=True, check=False
        )
        if done.returncode:
            raise CannotOpenError(f"manage.py {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")

    if "catalogue" in labs:
        manage("undaunted", "provision", "catalogue", "--apply")
    manage("migrate", "--verbosity=0")
    manage("undaunted", "sync")
    manage("load")
    environ["DJANGO_SUPERUSER_PASSWORD"] = password
    manage("createsuperuser", "--noinput", "--username=keeper", "--email=keeper@example.com")
    del environ["DJANGO_SUPERUSER_PASSWORD"]


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
    except OSError:
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


def greeting(options: argparse.Namespace, labs: dict[str, Lab], *, url: str, password: str) -> str:
    """What to click, and what to break."""
    program = Path(sys.executable).with_name("undaunted")
    office = [f"The office:     {url}office/  (user keeper, password {password})"] if options.app == "django" else []
    kills = {"catalogue": "kill n2", "orders": "kill primary", "ledger": "freeze primary"}
    return "\n".join(
        [
            "",
            f"The shop:       {url}",
            *office,
            f"Its databases:  {url}undaunted/",
            "",
            "Break something in another terminal, and go on shopping:",
            *(f"  {program} lab {kills[cluster]} --name {lab.name}" for cluster, lab in labs.items()),
            "and mend it:",
            *(f"  {program} lab heal --name {lab.name}" for lab in labs.values()),
            "",
            "It runs until Ctrl-C.",
        ]
    )


def run(options: argparse.Namespace, stack: contextlib.ExitStack) -> int:
    """Open the shop, and keep it open."""
    listener = stack.enter_context(listen(options.port))
    url = f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
    home = make_home(stack)
    say(f"Starting {', '.join(options.backends)} ...")
    labs = open_labs(options.backends, options.name, stack)
    environ, password = environment(labs, home), secrets.token_urlsafe(9)
    if options.app == "django":
        say("Making the tables and loading the goods ...")
        prepare_django(labs, environ, password)
    say("Opening the shop ...")
    log = home / "gunicorn.log"
    process = serve(options.app, listener, environ, log)
    stack.callback(end, process)
    say(greeting(options, labs, url=url, password=password))
    process.wait()
    raise CannotOpenError(f"gunicorn ended by itself:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def main() -> int:
    """Run until Ctrl-C."""
    options = arguments()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has put it in the background
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        with contextlib.ExitStack() as stack:
            return run(options, stack)
    except (LabError, CannotOpenError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("\nThe shop is closed.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
