"""An application of Celery that writes marks; with ``used`` in ``SITE`` it does so while it is imported, too.

The broker and the results are files in the folder that ``SITE`` names; with ``results`` these are kept elsewhere.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from celery import Celery
from marks import CLUSTER, IS_PLAIN, SITE, marks

import undaunted

FOLDER = Path(SITE["folder"])

app = Celery("tasks")
app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={
        "data_folder_in": str(FOLDER / "broker"),
        "data_folder_out": str(FOLDER / "broker"),
        "control_folder": str(FOLDER / "control"),
        "polling_interval": 0.02,
    },
    result_backend=SITE.get("results", f"file://{FOLDER / 'results'}"),
    worker_prefetch_multiplier=1,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_connection_retry_on_startup=True,
)

if not IS_PLAIN:
    undaunted.configure(SITE["settings"])
MARKS = marks()
if SITE.get("used"):
    MARKS.write(f"imported-{os.getpid()}")


def die_once(name: str) -> None:
    """What a worker process that is killed does: it goes between its commit and the end of its task; the first time."""
    try:
        (FOLDER / name).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def write(mark: str) -> int:
    MARKS.write(mark)
    return os.getpid()


@app.task
def echo(mark: str) -> str:
    return mark


@app.task
@undaunted.options(profile="worker")
def write_with_time(mark: str) -> int:
    MARKS.write(mark)
    return os.getpid()


if CLUSTER["backend"] == "mongodb":
    from celery.backends.mongodb import MongoBackend
    from mongoengine.connection import get_db
    from mongoengine.errors import NotUniqueError

    from undaunted.mongodb import Document, fields, transaction

    class Results(MongoBackend):
        """Celery's own, on the connections of undaunted: what ``results`` says as ``tasks:Results``."""

        database = property(lambda self: get_db("shop"))
        collection = property(lambda self: self.database[self.taskmeta_collection])
        group_collection = property(lambda self: self.database[self.groupmeta_collection])

    if SITE.get("used") and "results" in SITE:
        assert app.AsyncResult("none").state == "PENDING"

    class Account(Document):
        __undaunted__ = {"cluster": "shop"}
        name = fields.StringField(primary_key=True)
        balance = fields.IntField(default=0)

    class Payment(Document):
        __undaunted__ = {"cluster": "shop"}
        task = fields.StringField(primary_key=True)
        amount = fields.IntField()

    @app.task
    def pay_blindly(account: str, amount: int) -> None:
        Account.objects(name=account).update_one(inc__balance=amount, upsert=True)
        die_once(f"died-{account}")

    @transaction(Payment)
    def book(task: str, account: str, amount: int) -> None:
        Payment(task=task, amount=amount).save(force_insert=True)
        Account.objects(name=account).update_one(inc__balance=amount, upsert=True)

    @app.task(bind=True, autoretry_for=(undaunted.Exhausted, undaunted.OutcomeUnknown), retry_backoff=True)
    def pay(self: Any, account: str, amount: int) -> None:
        try:
            book(self.request.id, account, amount)
        except NotUniqueError:
            return
        die_once(f"died-{account}")

    @app.task
    def balance(account: str) -> int:
        found: int = Account.objects.get(name=account).balance
        return found


if CLUSTER["backend"] == "cassandra":
    from cassandra.cqlengine import columns
    from cassandra.cqlengine.models import Model as PlainModel

    from undaunted.cassandra import Model

    class Hits(PlainModel if IS_PLAIN else Model):  # type: ignore[misc]
        if not IS_PLAIN:
            __undaunted__ = {"cluster": "shop"}
        __table_name__ = "site_hits"
        page = columns.Text(primary_key=True)
        count = columns.Counter()

    @app.task
    def count(page: str) -> None:
        Hits.objects(page=page).update(count=1)
