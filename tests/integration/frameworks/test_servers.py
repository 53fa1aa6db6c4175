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

    from undaunted.lab import MongoLab

pytestmark = pytest.mark.integration

WORKERS = 2
THREADS = ["--worker-class", "gthread", "--threads", "4"]
GUNICORN = ["gunicorn", "--workers", str(WORKERS)]
UWSGI = ["uwsgi", "--master", "--processes", str(WORKERS), "--need-app", "--die-on-term"]
PRELOADED, FORKED = [*GUNICORN, "--preload", *THREADS], [*UWSGI, "--threads", "4"]
TOLD = "--py-call-uwsgi-fork-hooks"
"""Else uWSGI forks also while a thread of the driver has the interpreter's lock, and a worker may wait for ever."""

# Whether the application has used the cluster while it was imported; the server, and how it runs.
SERVERS = [
    pytest.param(False, PRELOADED, id="gunicorn preload threads unused"),
    pytest.param(True, PRELOADED, id="gunicorn preload threads used"),
    pytest.param(True, [*GUNICORN, "--preload"], id="gunicorn preload sync used"),
    pytest.param(True, [*GUNICORN, *THREADS], id="gunicorn threads used"),
    pytest.param(True, [*GUNICORN, "--worker-class", "gevent"], id="gunicorn gevent used"),
    pytest.param(False, FORKED, id="uwsgi threads unused"),
    pytest.param(True, [*FORKED, TOLD], id="uwsgi threads used"),
    pytest.param(True, [*UWSGI, TOLD], id="uwsgi processes used"),
    pytest.param(True, [*FORKED, "--lazy-apps"], id="uwsgi lazy-apps used"),
]
IN_SHORT = [
    pytest.param(True, PRELOADED, id="gunicorn preload threads used"),
    pytest.param(True, [*FORKED, TOLD], id="uwsgi threads used"),
]


def marks(count: int) -> list[str]:
    run = uuid.uuid4().hex[:8]
    return [f"{run}-{number}" for number in range(count)]


def write_by_every_worker(running: Site) -> list[str]:
    """Write until each worker has written some; every request must be answered."""
    written: list[str] = []
    workers: set[int] = set()

    def by_all() -> bool:
        more = marks(20)
        answers = running.write(more)
        assert Counter(status for status, _ in answers) == {200: len(more)}, running.said()[-5000:]
        written.extend(more)
        workers.update(answer["pid"] for _, answer in answers)
        return len(workers) == WORKERS

    running.until(by_all, what="the second worker")
    return written


@pytest.mark.parametrize("site", ["fake"], indirect=True)
@pytest.mark.parametrize(("used", "server"), IN_SHORT)
def test_plain_workers_of_cassandra_never_answer(
    site: Callable[..., dict[str, Any]], tmp_path: Path, used: bool, server: list[str]
) -> None:
    """Where the driver has connected before the fork: the thread that serves its connections is not in the fork."""
    with Site(server[0], server[1:], site(used=used, side="plain"), tmp_path) as running:
        answers = running.write(marks(2), timeout_s=6)
        assert 200 not in {status for status, _ in answers}


def check(site: dict[str, Any], folder: Path, server: list[str]) -> None:
    with Site(server[0], server[1:], site, folder) as running:
        written = write_by_every_worker(running)
        assert running.counts(written) == {1: len(written)}
        assert "opened before fork" not in running.said(), "the driver's own warning of what would be unsafe"


@pytest.mark.parametrize("site", ["mongodb", "postgresql", "fake"], indirect=True)
@pytest.mark.parametrize(("used", "server"), SERVERS)
def test_every_worker_serves_at_once(
    site: Callable[..., dict[str, Any]], tmp_path: Path, used: bool, server: list[str]
) -> None:
    """Also with a cluster that the application has used while it was imported, in the process that is forked.

    r4fek/django-cassandra-engine#50 (queries block under uWSGI), thegeorgeous/flask-cqlalchemy#27 (hooks are needed),
    MongoEngine/mongoengine#1816, #1416, #1234, #1734 and MongoEngine/flask-mongoengine#307 (the driver's warning, and
    workers that do nothing), benoitc/gunicorn#450 (workers with gevent block).
    """
    check(site(used=used), tmp_path, server)


@pytest.mark.parametrize("site", ["mongodb", "postgresql", "fake"], indirect=True)
def test_workers_of_whose_fork_python_is_not_told_share_nothing(
    site: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """What is answered is right, and something is. A worker may hang at its start, by uWSGI itself: see `TOLD`."""
    with Site(FORKED[0], FORKED[1:], site(used=True), tmp_path) as running:
        written = marks(60)
        answers = running.write(written, timeout_s=8)
        statuses = Counter(status for status, _ in answers)
        assert set(statuses) <= {200, 0}, running.said()[-5000:]
        assert statuses[200] > len(written) / 2
        done = [mark for mark, (status, _) in zip(written, answers, strict=True) if status == 200]
        counts = running.counts(done, timeout_s=8)
        assert set(counts) <= {1, -1}, counts
        assert counts[1] > 0


@pytest.mark.parametrize("site", ["mongodb"], indirect=True)
def test_greenlets_share_a_pool_that_does_not_grow(
    site: Callable[..., dict[str, Any]], healthy_mongo_lab: MongoLab, tmp_path: Path
) -> None:
    """MongoEngine/mongoengine#226: more connections with each wave of greenlets."""
    told, pool = site(), 4
    told["settings"]["clusters"]["shop"] |= {"pool": {"max": pool}}
    everyone = {"$currentOp": {"allUsers": True, "idleConnections": True, "localOps": True}}
    ours = {"$match": {"appName": "undaunted"}}
    with (
        Site("gunicorn", [*GUNICORN[1:], "--worker-class", "gevent"], told, tmp_path) as running,
        healthy_mongo_lab.client("primary") as client,
    ):
        for _ in range(3):
            written = marks(120)
            answers = running.write(written, users=24)
            assert Counter(status for status, _ in answers) == {200: len(written)}, running.said()[-5000:]
            connections = len(list(client.admin.aggregate([everyone, ours])))
            assert 0 < connections <= WORKERS * (pool + 4)  # some look after the node; without a pool there were 28


@pytest.mark.parametrize("site", ["cassandra"], indirect=True)
@pytest.mark.parametrize(("used", "server"), IN_SHORT)
def test_every_worker_serves_at_once_on_real_nodes(
    site: Callable[..., dict[str, Any]], tmp_path: Path, used: bool, server: list[str]
) -> None:
    check(site(used=used), tmp_path, server)


@pytest.mark.parametrize("site", ["fake"], indirect=True)
def test_hooks_of_the_application_s_own_are_called_too(site: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with Site(FORKED[0], FORKED[1:], site(), tmp_path) as running:
        answers = running.write(marks(20))
        assert all(answer["hooked"] == [answer["pid"]] for _, answer in answers), running.said()[-5000:]
