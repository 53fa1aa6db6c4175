"""Celery's prefork pool: workers fork off an application in use, tasks outlive a failover, and none is run blindly."""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from tests.integration.frameworks.servers import Processes

import undaunted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from celery.result import AsyncResult
    from pymongo.collection import Collection
    from typing_extensions import Self

    from undaunted.lab import MongoLab
    from undaunted.testing.cql import FakeCassandra

pytestmark = pytest.mark.integration

EVERY_BACKEND = pytest.mark.parametrize("site", ["mongodb", "postgresql", "cassandra", "fake"], indirect=True)
WORKERS = 2


class Worker(Processes):
    """A worker of Celery with two processes, and the way to hand it tasks; its broker is a folder."""

    def __init__(self, site: dict[str, Any], folder: Path) -> None:
        for name in ("outbox", "broker", "control", "results"):
            (folder / name).mkdir()
        self._folder = folder
        self._sending = threading.Lock()
        self.app = Celery("test", broker="filesystem://", backend=f"file://{folder / 'results'}")
        self.app.conf.broker_transport_options = {
            "data_folder_in": str(folder / "broker"),
            "data_folder_out": str(folder / "outbox"),
            "control_folder": str(folder / "control"),
        }
        options = [
            "--pool=prefork",
            f"--concurrency={WORKERS}",
            "--without-gossip",
            "--without-mingle",
            "--loglevel=info",
        ]
        arguments = [sys.executable, "-m", "celery", "--app=tasks", "worker", *options]
        super().__init__(arguments, {**site, "folder": str(folder)}, folder)

    def __enter__(self) -> Self:
        try:
            self.until(lambda: "ready." in self.said(), what="the worker")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        self.app.close()

    def send(self, task: str, *arguments: Any) -> AsyncResult[Any]:
        """Hand over a task: whole, since a worker ends over a file that Kombu has begun to write and not ended."""
        with self._sending:
            sent = self.app.send_task(f"tasks.{task}", args=arguments)
            for message in (self._folder / "outbox").iterdir():
                message.rename(self._folder / "broker" / message.name)
        return sent

    def result(self, task: AsyncResult[Any], *, timeout_s: float = 60.0) -> dict[str, Any]:
        """State and result as the worker has written them."""

        def written() -> dict[str, Any] | None:
            try:
                found: dict[str, Any] = json.loads(
                    (self._folder / "results" / f"celery-task-meta-{task.id}").read_text()
                )
            except (FileNotFoundError, ValueError):
                return None
            return found if found["status"] in ("SUCCESS", "FAILURE") else None

        answer: dict[str, Any] = self.until(written, what="the task", timeout_s=timeout_s)
        return answer

    def results(self, tasks: list[AsyncResult[Any]]) -> list[dict[str, Any]]:
        ends_s = time.monotonic() + 90
        return [self.result(task, timeout_s=ends_s - time.monotonic()) for task in tasks]


def marks(count: int) -> list[str]:
    run = uuid.uuid4().hex[:8]
    return [f"{run}-{number}" for number in range(count)]


@EVERY_BACKEND
@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
def test_every_worker_works_at_once(site: Callable[..., dict[str, Any]], tmp_path: Path, used: bool) -> None:
    """Not the first one alone, and none with an error; also where the application has used the cluster before.

    r4fek/django-cassandra-engine#79 (only the first worker has a connection), #31, getsentry/sentry#1309 and
    tschellenbach/Stream-Framework#98 (each worker times out), thegeorgeous/flask-cqlalchemy#27 (hooks are needed).
    """
    with Worker(site(used=used), tmp_path) as worker:
        answers = worker.results([worker.send("write", mark) for mark in marks(40)])
        assert Counter(answer["status"] for answer in answers) == {"SUCCESS": 40}, worker.said()[-5000:]
        assert len({answer["result"] for answer in answers}) == WORKERS
        assert "opened before fork" not in worker.said(), "the driver's own warning of what would be unsafe"


@pytest.mark.parametrize("site", ["mongodb"], indirect=True)
def test_tasks_with_the_profile_of_workers_outlive_a_failover(
    site: Callable[..., dict[str, Any]], healthy_mongo_lab: MongoLab, tmp_path: Path
) -> None:
    """A call of a request would have given up: the cluster's own profile has a deadline shorter than an election."""
    told = site()
    told["settings"]["clusters"]["shop"] |= {"profile": "web"}
    told["settings"]["profiles"] = {"web": {"retry.deadline": "200ms"}}
    written = marks(40)
    with Worker(told, tmp_path) as worker:
        worker.result(worker.send("write_with_time", "first"))
        healthy_mongo_lab.kill(healthy_mongo_lab.primary())
        answers = worker.results([worker.send("write_with_time", mark) for mark in written])
        assert Counter(answer["status"] for answer in answers) == {"SUCCESS": len(written)}, worker.said()[-5000:]
    healthy_mongo_lab.heal()
    with healthy_mongo_lab.client() as client:
        rows = client[told["settings"]["clusters"]["shop"]["database"]]["marks"].find({"mark": {"$in": written}})
        assert Counter(row["mark"] for row in rows) == dict.fromkeys(written, 1)


@pytest.mark.parametrize("site", ["mongodb"], indirect=True)
def test_a_task_that_runs_twice_pays_once_if_it_has_an_identity(
    site: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """With ``acks_late`` a task is run again after its worker was killed, also where it had committed already."""
    account = uuid.uuid4().hex
    with Worker(site(), tmp_path) as worker:
        paid = {"pay_blindly": f"{account}-blindly", "pay": f"{account}-once"}
        for task, name in paid.items():
            assert worker.result(worker.send(task, name, 10))["status"] == "SUCCESS", worker.said()[-5000:]
            assert (tmp_path / f"died-{name}").exists()
        balances = {task: worker.result(worker.send("balance", name))["result"] for task, name in paid.items()}
        assert balances == {"pay_blindly": 20, "pay": 10}


OURS, PLAIN = "tasks:Results", "plain"


@pytest.fixture
def results(
    site: Callable[..., dict[str, Any]], healthy_mongo_lab: MongoLab, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Results]:
    """A worker whose results are kept on MongoDB by Celery's backend: on undaunted's connections, or on its own."""
    told = site()
    database = told["settings"]["clusters"]["shop"]["database"]
    plain = healthy_mongo_lab.uri.replace("/?", f"/{database}?") + f"&appName={PLAIN}"
    with (
        Worker({**told, "used": True, "results": plain if request.param == PLAIN else OURS}, tmp_path) as worker,
        healthy_mongo_lab.client() as client,
    ):
        yield Results(worker, client[database]["celery_taskmeta"])


class Results:
    """A worker, and what it has kept as results."""

    def __init__(self, worker: Worker, kept: Collection[dict[str, Any]]) -> None:
        self.worker = worker
        self._kept = kept

    def send(self, count: int) -> list[str]:
        """Send tasks that only answer, and return their ids."""
        return [self.worker.send("echo", mark).id for mark in marks(count)]

    def states(self, ids: list[str]) -> list[str]:
        """The states of those whose result is there."""
        return [kept["status"] for kept in self._kept.find({"_id": {"$in": ids}})]

    def until_there(self, ids: list[str]) -> None:
        def all_there() -> bool:
            return self.states(ids) == ["SUCCESS"] * len(ids)

        self.worker.until(all_there, what="all results", timeout_s=90.0)


@pytest.mark.parametrize("site", ["mongodb"], indirect=True)
@pytest.mark.parametrize("results", [OURS], indirect=True)
def test_results_on_mongodb_outlive_a_failover(results: Results, healthy_mongo_lab: MongoLab) -> None:
    """celery/celery#1260: results are lost after an election, and a task is said to run for ever."""
    results.until_there(results.send(8))
    before = results.send(10)
    healthy_mongo_lab.kill(healthy_mongo_lab.primary())
    results.until_there(before + results.send(30))
    assert "opened before fork" not in results.worker.said(), "the backend, too, has been used before the fork"


@pytest.mark.parametrize("site", ["mongodb"], indirect=True)
@pytest.mark.parametrize(("results", "app_name"), [(OURS, "undaunted"), (PLAIN, PLAIN)], indirect=["results"])
def test_results_on_mongodb_whose_connection_is_lost_twice(
    results: Results, healthy_mongo_lab: MongoLab, app_name: str
) -> None:
    """celery/celery#1260: pymongo itself has tried once more for some years, and not twice."""
    results.until_there(results.send(8))
    with healthy_mongo_lab.fail_command(["update"], times=2, close_connection=True, app_name=app_name) as fault:
        (sent,) = results.send(1)
        results.worker.until(lambda: fault.hits == 2, what="the second loss")
        if app_name == PLAIN:
            results.worker.until(lambda: "AutoReconnect" in results.worker.said(), what="the error of the backend")
            results.until_there(results.send(8))  # which come behind it
            assert results.states([sent]) == []
        else:
            results.until_there([sent])


@pytest.mark.parametrize("site", ["fake"], indirect=True)
def test_plain_workers_of_cassandra_do_nothing_where_their_parent_has_connected(
    site: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """What `test_every_worker_works_at_once` shows is not so by itself: the driver's thread is not in the fork."""
    with Worker(site(side="plain", used=True), tmp_path) as worker:
        try:
            ended = worker.result(worker.send("write", "mark"), timeout_s=15)["status"]
        except AssertionError:
            ended = "nothing"
        assert ended != "SUCCESS"


@pytest.mark.parametrize("site", ["fake"], indirect=True)
def test_an_unknown_outcome_ends_a_task_and_is_not_run_again(
    site: Callable[..., dict[str, Any]], fake_cassandra: FakeCassandra, tmp_path: Path
) -> None:
    """``acks_late`` runs what was lost again, and not what has failed."""
    fake_cassandra.execute("CREATE TABLE sites.site_hits (page text PRIMARY KEY, count counter)")
    with Worker(site(), tmp_path) as worker:
        fake_cassandra.script("UPDATE").lose_reply()
        answer = worker.result(worker.send("count", "home"))
        assert answer["status"] == "FAILURE", worker.said()[-5000:]
        assert answer["result"]["exc_type"] == undaunted.OutcomeUnknown.__name__
        from undaunted.cassandra import OutcomeUnknown  # as whoever has the models has it imported

        assert issubclass(OutcomeUnknown, undaunted.OutcomeUnknown)
        with pytest.raises(OutcomeUnknown):
            worker.app.AsyncResult(answer["task_id"]).get(timeout=10)
    assert fake_cassandra.execute("SELECT count FROM sites.site_hits") == [{"count": 1}]
