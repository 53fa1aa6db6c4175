"""A site of Django on real servers that fail: `runserver` as a developer has it, and threads of one process."""

from __future__ import annotations

import http.cookiejar
import json
import socket
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.frameworks.django.project import Project, make_project
from tests.integration.frameworks.servers import Processes
from tests.integration.labs import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Self

    from undaunted.lab import MongoLab, PostgresLab

ORDERS = """
import mongoengine
from undaunted.mongodb import Document, fields

class Order(Document):
    __undaunted__ = {"cluster": "orders"}
    number = fields.IntField()
    meta = {"collection": "django_site_order"}

class PlainOrder(mongoengine.Document):
    number = fields.IntField()
    meta = {"collection": "django_site_order", "db_alias": "plain", "auto_create_index": False}
"""

ORDERS_VIEWS = """
import os
import mongoengine
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from shop.models import Order, PlainOrder

TEXT = "first"

if "PLAIN" in os.environ:
    mongoengine.connect(alias="plain", db="django_site", host=os.environ["PLAIN"])

def text(request):
    return HttpResponse(TEXT)

@csrf_exempt
def order(request, number, kind):
    if request.method == "POST":
        kind(number=number).save()
    return JsonResponse({"count": kind.objects(number=number).count()})

urlpatterns = [
    path("text", text),
    path("order/<int:number>", order, {"kind": Order}),
    path("plain/<int:number>", order, {"kind": PlainOrder}),
]
"""

LEDGER = """
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column
from undaunted.sqlalchemy import DeclarativeBase, Session, unit_of_work

class Base(DeclarativeBase):
    __undaunted__ = {"cluster": "ledger"}

class Payment(Base):
    __tablename__ = "django_site_payment"
    number: Mapped[int] = mapped_column(primary_key=True)

@unit_of_work(Base)
def pay(session, number):
    session.add(Payment(number=number))

def paid(number):
    with Session(Base, readonly=True) as session:
        there = session.get(Payment, number) is not None
        return {"there": there, "on_a_replica": session.scalar(sa.text("SELECT pg_is_in_recovery()"))}
"""

LEDGER_VIEWS = """
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from shop.models import paid, pay

@csrf_exempt
def payment(request, number):
    if request.method == "POST":
        pay(number)
        if "streamed" in request.GET:
            return StreamingHttpResponse(str(paid(number)["there"]) for _ in range(1))
        return JsonResponse({})
    return JsonResponse(paid(number))

urlpatterns = [path("payment/<int:number>", payment)]
"""


class Served(Processes):
    """A project under `runserver`; all of its processes end with the block."""

    def __init__(self, project: Project, *options: str, **environ: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        told = {"PYTHONPATH": str(project.folder), **environ}
        command = [sys.executable, "manage.py", "runserver", self.address, *options]
        super().__init__(["env", *(f"{name}={value}" for name, value in told.items()), *command], {}, project.folder)

    def __enter__(self) -> Self:
        try:
            self.until(lambda: self.get("/undaunted/live")[0] == 200, what="the server", timeout_s=90.0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def get(self, path: str, *, method: str = "GET", visitor: Visitor | None = None) -> tuple[int, Any]:
        """One request; returns status and body. Status 0: nobody answered."""
        request = urllib.request.Request(f"http://{self.address}{path}", method=method)
        opener = (visitor or Visitor()).opener
        try:
            with opener.open(request, timeout=30.0) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers)
        except OSError:
            return 0, b""

    def post(self, path: str, *, visitor: Visitor | None = None) -> tuple[int, Any]:
        """One request that writes."""
        return self.get(path, method="POST", visitor=visitor)


class Visitor:
    """Somebody with a browser that keeps cookies."""

    def __init__(self) -> None:
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))


def orders_site(folder: Path, lab: MongoLab, *, deadline: str) -> Project:
    settings = lab.settings_for("orders")
    settings["clusters"]["orders"] |= {"database": "django_site"}
    settings["profiles"] = {"web": {"retry": {"deadline": deadline}}}
    return make_project(folder, undaunted=settings, models=ORDERS, views=ORDERS_VIEWS, debug=True)


def ledger_site(folder: Path, lab: PostgresLab, **more: Any) -> Project:
    settings = {**lab.settings_for("ledger"), **more}
    return make_project(folder, undaunted=settings, models=LEDGER, views=LEDGER_VIEWS, debug=True)


@pytest.mark.slow
@pytest.mark.integration
def test_runserver_begins_without_a_database_and_reloads_changed_code(
    tmp_path: Path, healthy_mongo_lab: MongoLab
) -> None:
    """r4fek/django-cassandra-engine#46 and #56, on MongoDB: no database at django.setup() is no error."""
    lab = healthy_mongo_lab
    for node in lab.nodes:
        lab.kill(node)
    project = orders_site(tmp_path, lab, deadline="1s")
    with Served(project) as site:
        assert site.get("/text") == (200, b"first")
        status, headers = site.get("/order/1")
        assert status == 503
        assert headers["Retry-After"] == "2"
        until(lambda: site.get("/undaunted/ready")[0] == 503, what="ready to say that a required cluster is down")
        project.write("shop/urls.py", ORDERS_VIEWS.replace('"first"', '"second"'))
        until(lambda: site.get("/text") == (200, b"second"), timeout_s=60.0, what="the changed code")
        lab.start()
        lab.heal()
        until(lambda: site.post("/order/1")[0] == 200, what="a write, once a node can be used")
        assert site.get("/undaunted/ready")[0] == 200
        assert json.loads(site.get("/order/1")[1])["count"] >= 1


@pytest.mark.slow
@pytest.mark.integration
def test_the_primary_changes_and_no_visitor_notices(tmp_path: Path, healthy_mongo_lab: MongoLab) -> None:
    """MongoEngine/mongoengine#1298: AutoReconnect at every primary change, as plain models without retries have it."""
    lab = healthy_mongo_lab
    with lab.client() as client:
        client["django_site"]["django_site_order"].drop()
    project = orders_site(tmp_path, lab, deadline="20s")
    with Served(project, "--noreload", PLAIN=f"{lab.uri}&retryWrites=false") as site, ThreadPoolExecutor(8) as pool:
        ours = _posted_over_a_kill(pool, site, lab, "order", range(1, 201))
        assert set(ours) == {200}
        for first in range(1001, 3001, 400):  # one of these kills meets an operation on its way
            plain = _posted_over_a_kill(pool, site, lab, "plain", range(first, first + 200))
            if 500 in plain:
                break
        else:
            pytest.fail("the plain models never failed, so this has shown nothing")
        with lab.client(readConcernLevel="majority") as client:
            found = [each["number"] for each in client["django_site"]["django_site_order"].find()]
        assert sorted(number for number in found if 0 < number < 1000) == list(range(1, 201))


def _posted_over_a_kill(pool: ThreadPoolExecutor, site: Served, lab: MongoLab, name: str, numbers: range) -> list[int]:
    """The statuses of these writes, in whose midst the primary is killed; afterwards all nodes are well again."""
    assert site.post(f"/{name}/0")[0] == 200  # connected
    writes = [pool.submit(lambda number=number: site.post(f"/{name}/{number}")[0]) for number in numbers]
    until(lambda: sum(write.done() for write in writes) >= 20, what="some writes")
    assert not writes[-1].done()
    lab.kill("primary")
    statuses = [write.result() for write in writes]
    lab.heal()
    return statuses


@pytest.fixture
def lagging(healthy_postgresql_lab: PostgresLab) -> Iterator[PostgresLab]:
    """Standbys that replay nothing until the test ends, so that whatever they answer is old."""
    lab = healthy_postgresql_lab
    with lab.connect("primary") as connection:
        connection.execute("DROP TABLE IF EXISTS django_site_payment")
        connection.execute("CREATE TABLE django_site_payment (number integer PRIMARY KEY)")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS undaunted_keys "
            "(key uuid PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now())"
        )
    lab.heal()
    standbys = [node for node in lab.nodes if node != lab.primary()]
    for node in standbys:
        with lab.operator(node) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
    try:
        yield lab
    finally:
        for node in standbys:
            with lab.operator(node) as connection:
                connection.execute("SELECT pg_wal_replay_resume()")


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize(("carried_by", "name"), [("cookie", "undaunted"), ("session", "sessionid")])
def test_a_visitor_sees_his_own_writes_on_his_next_page(
    tmp_path: Path, lagging: PostgresLab, carried_by: str, name: str
) -> None:
    project = ledger_site(tmp_path, lagging, web={"read_your_writes": carried_by})
    with Served(project, "--noreload") as site:
        writer, other = Visitor(), Visitor()
        until(lambda: _read(site, 0, other)["on_a_replica"], what="a read on a replica")
        assert site.post("/payment/1", visitor=writer)[0] == 200
        assert [cookie.name for cookie in writer.cookies] == [name]
        assert _read(site, 1, other) == {"there": False, "on_a_replica": True}
        assert _read(site, 1, writer)["there"] is True
        assert not list(other.cookies)
        for cookie in writer.cookies:
            cookie.value = "forged"
        assert _read(site, 1, writer) == {"there": False, "on_a_replica": True}


@pytest.mark.slow
@pytest.mark.integration
def test_a_streamed_body_sees_what_its_own_request_has_written(tmp_path: Path, lagging: PostgresLab) -> None:
    with Served(ledger_site(tmp_path, lagging), "--noreload") as site:
        until(lambda: _read(site, 0, Visitor())["on_a_replica"], what="a read on a replica")
        assert site.post("/payment/1?streamed") == (200, b"True")


@pytest.mark.slow
@pytest.mark.integration
def test_where_nothing_is_carried_the_next_page_is_old(tmp_path: Path, lagging: PostgresLab) -> None:
    """What the cookie is for: without it, the visitor's own write is missing."""
    project = ledger_site(tmp_path, lagging, web={"read_your_writes": "request"})
    with Served(project, "--noreload") as site:
        writer = Visitor()
        until(lambda: _read(site, 0, writer)["on_a_replica"], what="a read on a replica")
        assert site.post("/payment/1", visitor=writer)[0] == 200
        assert _read(site, 1, writer) == {"there": False, "on_a_replica": True}


def _read(site: Served, number: int, visitor: Visitor) -> Any:
    status, body = site.get(f"/payment/{number}", visitor=visitor)
    assert status == 200, site.said()[-3000:]
    return json.loads(body)
