"""Requests and health on real nodes: a visitor sees his own writes next time; who was never asked is seen at once."""

from __future__ import annotations

import contextvars
import json
import os
import time
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import mapped_column
from tests.integration.labs import until

import undaunted
from undaunted.registry import REGISTRY
from undaunted.sqlalchemy import DeclarativeBase, Session, Token
from undaunted.web import RequestScope, answer, dump, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from undaunted.lab import PostgresLab

pytestmark = pytest.mark.integration

T = TypeVar("T")
SECRET = b"of the framework"


@pytest.fixture(autouse=True)
def no_settings_left() -> Iterator[None]:
    undaunted.close()
    yield
    undaunted.close()


def request(work: Callable[[], T], cookie: str = "") -> tuple[T, str]:
    """One request of a visitor, in a context of its own as in a framework: what it found, and his cookie."""

    def serve() -> tuple[T, str]:
        web = REGISTRY.loaded.settings.web
        with RequestScope(web, path="/", tokens=load(cookie, secret=SECRET)) as scope:
            found = work()
            return found, dump(scope.tokens(), secret=SECRET)

    return contextvars.Context().run(serve)


# -- a visitor's own writes -------------------------------------------------------------------------


class Notes:
    """A table of notes, written where writes go and read from the replicas."""

    def __init__(self, lab: PostgresLab) -> None:
        class Base(DeclarativeBase):
            __undaunted__ = {"cluster": "ledger"}

        class Note(Base):
            __tablename__ = f"web_note_{os.getpid()}"
            mark = mapped_column(sa.Text, primary_key=True)

        self.lab, self.base, self.note = lab, Base, Note
        self.configure()
        with lab.connect(lab.primary()) as server:
            server.execute(f"CREATE TABLE IF NOT EXISTS {Note.__tablename__} (mark text PRIMARY KEY)")
        lab.catch_up()

    def configure(self) -> None:
        """Declare the cluster, as a process does that has just begun."""
        settings = self.lab.settings_for("ledger")
        settings["clusters"]["ledger"]["reads"] = "replica"
        undaunted.configure(settings)
        REGISTRY.begin()
        until(lambda: json.loads(ready().body)["clusters"]["ledger"]["state"] == "ok", what="every node's first sight")

    def write(self) -> str:
        mark = uuid.uuid4().hex
        with Session(self.base) as session:
            session.add(self.note(mark=mark))
            session.commit()
        return mark

    def sees(self, mark: str) -> bool:
        with Session(self.base, readonly=True) as session:
            return session.scalar(sa.select(sa.func.count()).where(self.note.mark == mark)) == 1

    def read_from(self) -> str:
        with Session(self.base, readonly=True) as session:
            return str(session.scalar(sa.text("SELECT pg_is_in_recovery()")))


@pytest.fixture
def notes(healthy_postgresql_lab: PostgresLab) -> Iterator[Notes]:
    made = Notes(healthy_postgresql_lab)
    try:
        yield made
    finally:
        healthy_postgresql_lab.catch_up()


def lag(lab: PostgresLab) -> None:
    """Have every replica stop replaying."""
    for node in lab.nodes:
        if lab.role(node) == "replica":
            lab.lag(node)


def test_the_next_request_of_whoever_has_written_is_not_behind_and_another_visitor_s_may_be(notes: Notes) -> None:
    lag(notes.lab)
    for _ in range(5):
        mark, cookie = request(notes.write)
        assert cookie
        seen_by_nobody, _ = request(lambda mark=mark: notes.sees(mark))
        assert not seen_by_nobody, "without the cookie the replicas are behind: that is what it is for"
        seen, cookie = request(lambda mark=mark: notes.sees(mark), cookie)
        assert seen
        assert request(lambda mark=mark: notes.sees(mark), cookie)[0], "and so is the one after the next"


def test_another_process_understands_the_cookie(notes: Notes) -> None:
    lag(notes.lab)
    mark, cookie = request(notes.write)
    notes.configure()  # as a process that has just begun: nothing is known of what others have written
    assert request(lambda: notes.sees(mark), cookie)[0]


def test_once_they_have_caught_up_his_reads_go_to_replicas_again(notes: Notes) -> None:
    mark, cookie = request(notes.write)
    assert request(lambda: notes.sees(mark), cookie)[0]

    def goes_to_a_replica() -> bool:
        nonlocal cookie
        where, cookie = request(notes.read_from, cookie)
        return where == "True"

    until(goes_to_a_replica, what="a read from a replica")


def test_the_position_is_known_within_moments_and_is_handed_on_as_it_is(notes: Notes) -> None:
    def known() -> dict[str, str]:
        mark, cookie = request(notes.write)
        assert request(lambda: notes.sees(mark), cookie)[0]
        tokens = load(cookie, secret=SECRET)
        return tokens if tokens["ledger"] != "?" else {}

    tokens = until(known, what="a position that was known in time")
    assert Token.parse(tokens["ledger"]).lsn > 0
    assert load(request(lambda: None, dump(tokens, secret=SECRET))[1], secret=SECRET) == tokens


def test_a_forged_cookie_is_as_none(notes: Notes) -> None:
    lag(notes.lab)
    mark, _ = request(notes.write)
    forged = dump({"ledger": "99-FFFFFFFFFFFFFFFF"}, secret=b"guessed")
    assert not request(lambda: notes.sees(mark), forged)[0]
    assert request(lambda: None, forged)[1] == ""


# -- whoever was never asked ------------------------------------------------------------------------


def ready() -> Any:
    return answer("ready", is_staff=False, base="/")


@pytest.fixture(params=["mongodb", "postgresql", "cassandra-fake"])
def unused(request: pytest.FixtureRequest) -> str:
    """A healthy cluster that is declared, and that nothing has used."""
    if request.param == "mongodb":
        settings = request.getfixturevalue("healthy_mongo_lab").settings_for("shop")
    elif request.param == "postgresql":
        settings = request.getfixturevalue("healthy_postgresql_lab").settings_for("shop")
    else:
        settings = request.getfixturevalue("fake_cassandra").settings_for("shop", keyspace="shop")
    undaunted.configure(settings)
    return "shop"


def told(cluster: str) -> Any:
    return undaunted.status()["clusters"][cluster]


def test_a_cluster_that_nothing_has_used_is_seen_by_asking_whether_we_are_ready(unused: str) -> None:
    assert told(unused)["begun"] is False
    assert {node["role"] for node in told(unused)["nodes"]} == {"unknown"}
    began_s = time.monotonic()
    first = ready()
    assert time.monotonic() - began_s < 2.0
    assert first.status == 200
    until(lambda: json.loads(ready().body)["clusters"][unused]["state"] == "ok", what="every node's first sight")
    assert told(unused)["begun"] is True
    assert "unknown" not in {node["role"] for node in told(unused)["nodes"]}


def test_a_forked_worker_sees_for_itself(unused: str) -> None:
    until(lambda: json.loads(ready().body)["clusters"][unused]["state"] == "ok", what="the parent's sight")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ends_s = time.monotonic() + 20
            while code and time.monotonic() < ends_s:
                seen = json.loads(ready().body)["clusters"][unused]["state"] == "ok"
                code = 0 if seen and told(unused)["begun"] else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert json.loads(ready().body)["clusters"][unused]["state"] == "ok"


def test_a_cluster_may_be_asked_for_by_many_at_once(unused: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ready().status, range(64)))
    assert set(answers) == {200}
    until(lambda: json.loads(ready().body)["clusters"][unused]["state"] == "ok", what="every node's first sight")
