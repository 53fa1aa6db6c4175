"""gunicorn and uWSGI fork their workers off an application that is loaded, and in use: no hook is needed."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.frameworks.servers import Site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.integration

EVERY_BACKEND = pytest.mark.parametrize("site", ["mongodb", "postgresql", "cassandra", "fake"], indirect=True)
GUNICORN = {
    "preload, threads": ["--preload", "--workers", "2", "--worker-class", "gthread", "--threads", "4"],
    "preload, sync": ["--preload", "--workers", "2"],
    "no preload, threads": ["--workers", "2", "--worker-class", "gthread", "--threads", "4"],
}
UWSGI_OPTIONS = ["--master", "--processes", "2", "--need-app", "--die-on-term"]
UWSGI = {
    "threads": [*UWSGI_OPTIONS, "--threads", "4"],
    "processes": UWSGI_OPTIONS,
    "lazy apps": [*UWSGI_OPTIONS, "--threads", "4", "--lazy-apps"],
}
SERVERS = [
    *(pytest.param("gunicorn", options, id=f"gunicorn {name}") for name, options in GUNICORN.items()),
    *(pytest.param("uwsgi", options, id=f"uwsgi {name}") for name, options in UWSGI.items()),
]


WORKERS = 2


def write_by_every_worker(running: Site, *, timeout_s: float = 30.0) -> tuple[list[str], set[int]]:
    """Write until each worker has written some, and every request was answered; returns the marks and the workers."""
    written: list[str] = []
    workers: set[int] = set()

    def by_all() -> bool:
        more = marks(20)
        answers = running.write(more, timeout_s=timeout_s)
        assert Counter(status for status, _ in answers) == {200: len(more)}, running.said()[-5000:]
        written.extend(more)
        workers.update(answer["pid"] for _, answer in answers)
        return len(workers) == WORKERS

    running.until(by_all, what="the second worker")
    return written, workers


def marks(count: int) -> list[str]:
    run = uuid.uuid4().hex[:8]
    return [f"{run}-{number}" for number in range(count)]


@EVERY_BACKEND
@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
@pytest.mark.parametrize(("server", "options"), SERVERS)
def test_every_worker_serves_at_once(
    site: Callable[..., dict[str, Any]], tmp_path: Path, server: str, options: list[str], used: bool
) -> None:
    """Also with a cluster that the application has used while it was imported, in the process that is forked."""
    with Site(server, options, site(used=used), tmp_path) as running:
        written, _ = write_by_every_worker(running)
        assert running.counts(written) == {1: len(written)}
