"""cqlengine and cassandra-driver on the fake cluster of the product."""

from __future__ import annotations

import os
from typing import Any

import cassandra
from cassandra.cluster import NoHostAvailable
from cassandra.cqlengine import connection as registered
from tests.contract.backends.side import CLUSTER

import undaunted
from undaunted.cassandra import Model, columns, errors, sync_table
from undaunted.testing.cql import FakeCassandra, Overloaded

os.environ["CQLENG_ALLOW_SCHEMA_MANAGEMENT"] = "1"

PATTERNS = {"read": "^SELECT", "save": "^INSERT", "count": "^UPDATE"}
NODES = 3


class CassandraSide:
    backend = "cassandra"
    errors = errors
    hung_write = undaunted.OutcomeUnknown
    lively_s = 10.0
    keyspace = "shop"
    native = {
        "OutcomeUnknown": cassandra.OperationTimedOut,
        "DeadlineExceeded": cassandra.OperationTimedOut,
        "NoNodeAvailable": NoHostAvailable,
        "Exhausted": NoHostAvailable,
    }

    def __init__(self) -> None:
        self.fake = FakeCassandra(NODES)
        self.fake.create_keyspace(self.keyspace)
        self.stopped = self.frozen = False

    def close(self) -> None:
        self.fake.clear_scripts()
        self.fake.close()

    def settings(self, **changes: Any) -> dict[str, Any]:
        cluster = {
            "backend": "cassandra",
            "nodes": list(self.addresses()),
            "keyspace": self.keyspace,
            "local_datacenter": "dc1",
            "timeout": "400ms",
        }
        return {"clusters": {CLUSTER: cluster | changes}}

    def model(self, **declared: Any) -> Any:
        class Item(Model):
            __undaunted__ = {"cluster": CLUSTER, **declared}
            __table_name__ = "items"
            key = columns.Integer(primary_key=True)
            value = columns.Integer()

        class Count(Model):
            __undaunted__ = {"cluster": CLUSTER, **declared}
            __table_name__ = "counts"
            key = columns.Integer(primary_key=True)
            value = columns.Counter()

        Item.counts = Count
        if CLUSTER in undaunted.status()["clusters"] and Item.__undaunted__["cluster"] == CLUSTER:
            sync_table(Item)
            sync_table(Count)
            self.forget()
        return Item

    def forget(self) -> None:
        """What was asked to make the tables."""
        self.fake.clear_journal()

    def registered(self) -> bool:
        return CLUSTER in registered._connections

    def asked(self) -> int:
        return len(self.fake.traffic)

    def arrived(self, what: str) -> int:
        word = PATTERNS[what].removeprefix("^")
        return sum(request.text.startswith(word) for request in self.fake.requests)

    def addresses(self) -> list[str]:
        return [f"{address}:{self.fake.port}" for address in self.fake.contact_points]

    def save(self, model: Any, key: int, value: int) -> None:
        model.create(key=key, value=value)

    def read(self, model: Any, key: int) -> int:
        return int(model.objects.get(key=key).value)

    def count(self, model: Any, key: int) -> None:
        model.counts.objects(key=key).update(value=1)

    def counted(self, model: Any, key: int) -> int:
        found = self.fake.execute(f"SELECT value FROM {self.keyspace}.counts WHERE key = {key}")
        return int(found[0]["value"]) if found else 0

    def wrong(self, model: Any) -> tuple[Any, type[BaseException]]:
        def ask() -> Any:
            return registered.execute(f"SELECT nonsense FROM {self.keyspace}.items", connection=CLUSTER)

        return ask, cassandra.InvalidRequest

    def lose_reply(self, what: str, times: int = 1) -> None:
        self.fake.script(PATTERNS[what], times=times).lose_reply()

    def refuse(self, what: str, times: int) -> None:
        self.fake.script(PATTERNS[what], times=times).error(Overloaded())

    def hang(self) -> None:
        self.fake.freeze()
        self.frozen = True

    def stop(self) -> None:
        self.fake.kill()
        self.stopped = True

    def go_on(self) -> None:
        if self.frozen:
            self.fake.thaw()
        if self.stopped:
            self.fake.start()
        self.stopped = self.frozen = False
