"""What an application writes, checked by mypy and pyright in strict mode and never run."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

import undaunted
from undaunted import errors, events
from undaunted.core.attempt import Attempt
from undaunted.lab import LabNode, MongoLab
from undaunted.mongodb import (
    Document,
    DocumentMixin,
    EmbeddedDocument,
    NoNodeAvailable,
    OutcomeUnknown,
    fields,
    transaction,
)
from undaunted.testing.clock import VirtualClock

# --- settings ---------------------------------------------------------------------------------------------------------

undaunted.configure()
undaunted.configure("undaunted.toml")
undaunted.configure({"clusters": {"orders": {"backend": "mongodb", "nodes": ["mongo1.example.com"]}}})
assert_type(undaunted.status(), dict[str, Any])
undaunted.close()

try:
    undaunted.configure({})
except undaunted.ConfigurationError as error:
    for problem in error.problems:
        assert_type(problem.path, str)
        assert_type(problem.message, str)

# --- models -----------------------------------------------------------------------------------------------------------


class Address(EmbeddedDocument):  # type: ignore[misc]  # MongoEngine's own class, which is untyped
    street = fields.StringField()


class Order(Document):
    __undaunted__ = {"cluster": "orders", "profile": "web"}

    total = fields.IntField()
    address = fields.EmbeddedDocumentField(Address)


class Mixed(DocumentMixin):
    __undaunted__ = {"cluster": "orders", "idempotent": True}


order = Order(total=3)
order.save()
Order.objects(total=3).update_one(inc__total=1)


@transaction(Order)
def move(source: Order, target: Order, amount: int) -> int:
    source.modify(inc__total=-amount)
    target.modify(inc__total=amount)
    return amount


assert_type(move(order, order, 3), int)
assert_type(transaction("orders").run(move, order, order, 3), int)

# --- options ----------------------------------------------------------------------------------------------------------

with undaunted.options(
    deadline="2s", idempotent=True, reads="fallback", many_writes="plain", attempts=5, profile="web"
):
    order.save()
with undaunted.deadline(0.5):
    order.reload()


@undaunted.options(deadline="2s")
def total(number: int) -> int:
    return number


@undaunted.deadline("2s")
async def total_async(number: int) -> int:
    return number


assert_type(total(3), int)


async def use() -> None:
    assert_type(await total_async(3), int)


# What is wrong is refused before it runs: each line below is an error to both checkers, and they say so if it is not.
total("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
undaunted.options(reads="nearby")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
undaunted.options(dead_line="2s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# --- errors -----------------------------------------------------------------------------------------------------------

try:
    order.save()
except OutcomeUnknown as unknown:
    assert_type(unknown.attempts, tuple[Attempt, ...])
except NoNodeAvailable as none:
    exhausted: errors.Exhausted = none
except undaunted.DeadlineExceeded as late:
    for attempt in late.attempts:
        assert_type(attempt.elapsed_s, float)
        assert_type(attempt.node, str | None)

# --- events -----------------------------------------------------------------------------------------------------------


def on_event(event: events.Event) -> None:
    assert_type(event.cluster, str)


def on_failover(event: events.FailoverCompleted) -> None:
    assert_type(event.elapsed_s, float)


unsubscribe = undaunted.subscribe(on_event)
undaunted.subscribe(on_failover, events.FailoverCompleted)
unsubscribe()

# --- lab and testing --------------------------------------------------------------------------------------------------

with MongoLab(nodes=3, arbiters=0, election_timeout="2s") as lab:
    undaunted.configure(lab.settings_for("orders"))
    assert_type(lab.kill(), LabNode)
    assert_type(lab.primary(timeout="10s"), LabNode)
    assert_type(lab.uri, str)
    lab.freeze("n2")
    lab.thaw()
    lab.step_down()
    lab.wait_healthy()

assert_type(VirtualClock().monotonic(), float)
