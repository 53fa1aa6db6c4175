"""MongoEngine and pymongo on a scripted node."""

from __future__ import annotations

from typing import Any

import mongoengine
from mongoengine import connection as registered
from pymongo import errors as driver
from tests.contract.backends.mongo_node import MongoNode
from tests.contract.backends.side import CLUSTER

import undaunted
from undaunted.mongodb import Document, errors, fields

COMMANDS = {"read": "find", "save": "insert", "count": "update"}


class MongoDBSide:
    backend = "mongodb"
    errors = errors
    hung_write = undaunted.OutcomeUnknown
    lively_s = 10.0
    native = {
        "OutcomeUnknown": driver.AutoReconnect,
        "DeadlineExceeded": driver.NetworkTimeout,
        "NoNodeAvailable": driver.ServerSelectionTimeoutError,
        "Exhausted": driver.AutoReconnect,
    }

    def __init__(self) -> None:
        self.node = MongoNode()

    def close(self) -> None:
        self.node.close()

    def settings(self, **changes: Any) -> dict[str, Any]:
        cluster = {
            "backend": "mongodb",
            "nodes": [self.node.address],
            "replica_set": self.node.replica_set,
            "database": "shop",
            "heartbeat": {"interval": "500ms", "timeout": "500ms"},
        }
        return {"clusters": {CLUSTER: cluster | changes}}

    def model(self, **declared: Any) -> Any:
        class Item(Document):
            __undaunted__ = {"cluster": CLUSTER, **declared}
            meta = {"collection": "items", "auto_create_index": False}
            key = fields.IntField(primary_key=True)
            value = fields.IntField(default=0)

        return Item

    def registered(self) -> bool:
        return CLUSTER in registered._connection_settings

    def asked(self) -> int:
        return self.node.greeted + len(self.node.arrived)

    def arrived(self, what: str) -> int:
        return self.node.arrived.count(COMMANDS[what])

    def addresses(self) -> list[str]:
        return [self.node.address]

    def save(self, model: Any, key: int, value: int) -> None:
        model(key=key, value=value).save(force_insert=True)

    def read(self, model: Any, key: int) -> int:
        return int(model.objects.get(key=key).value)

    def count(self, model: Any, key: int) -> None:
        """A bare command: it has no transaction number, so nothing tells a second run from the first."""
        update = {"q": {"_id": key}, "u": {"$inc": {"value": 1}}}
        mongoengine.get_db(CLUSTER).command({"update": "items", "updates": [update]})

    def counted(self, model: Any, key: int) -> int:
        return int(self.node.documents["items"][key]["value"])

    def wrong(self, model: Any) -> tuple[Any, type[BaseException]]:
        return lambda: mongoengine.get_db(CLUSTER).command("nonsense"), driver.OperationFailure

    def lose_reply(self, what: str, times: int = 1) -> None:
        self.node.lose(COMMANDS[what], times)

    def refuse(self, what: str, times: int) -> None:
        self.node.refuse(COMMANDS[what], times)

    def hang(self) -> None:
        self.node.hang()

    def stop(self) -> None:
        self.node.stop()

    def go_on(self) -> None:
        self.node.go_on()
        if self.node._server is None:
            self.node.start()
