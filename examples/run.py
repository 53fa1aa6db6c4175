"""Starts real clusters on this machine and opens an example shop on them: ``python examples/run.py``.

The Django shop has its catalogue on Cassandra, its carts and orders on MongoDB and its ledger on PostgreSQL; with
``--backends`` it makes do with fewer. The Flask shop has all of it on one MongoDB. Everything ends with this program.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clusters import LABS, environment, open_labs
from webserver import HERE, USUAL_PORT, CannotOpenError, end, listen, make_home, serve

from undaunted.lab import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from undaunted.lab.lab import Lab


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


def say(line: str) -> None:
    """Tell the user."""
    print(line, flush=True)


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
            f"Its databases:  {url}undaunted/" + ("  (for the same user)" if office else ""),
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
    url = "http://{}:{}/".format(*listener.getsockname())
    home = make_home(stack)
    say(f"Starting {', '.join(options.backends)} ...")
    labs = open_labs(options.backends, options.name, stack, say=say)
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
