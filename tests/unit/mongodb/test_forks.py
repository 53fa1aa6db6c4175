"""A forked worker begins with a client and with ids of its own, before the first of its threads asks for one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import mongoengine
from bson import ObjectId
from mongoengine import connection as registered

import undaunted
from undaunted.mongodb import Document

if TYPE_CHECKING:
    from collections.abc import Callable

ORDERS: dict[str, Any] = {"backend": "mongodb", "nodes": ["127.0.0.1:1"], "database": "shop", "default": True}


def in_child(check: Callable[[], bool]) -> bool:
    """Whether this is so in a forked child."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if check() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_ids_of_a_child_are_its_own_before_the_first_is_asked_for() -> None:
    """The driver alone notices the fork at the first id, and a second thread may then be given the parent's."""
    undaunted.configure({"clusters": {"orders": ORDERS}})
    of_parent = ObjectId().binary[4:9]

    def check() -> bool:
        return ObjectId._pid == os.getpid() and ObjectId().binary[4:9] != of_parent

    assert in_child(check)


def test_a_child_has_a_client_of_its_own_for_every_kind_of_model() -> None:
    class Touched(Document):
        __undaunted__ = {"cluster": "orders"}
        meta = {"auto_create_index": False}

    class Untouched(mongoengine.Document):
        meta = {"auto_create_index": False}

    undaunted.configure({"clusters": {"orders": ORDERS}})
    clients = [kind._get_collection().database.client for kind in (Touched, Untouched)]
    assert clients[0] is clients[1]

    def check() -> bool:
        if "orders" in registered._connections or "default" in registered._connections:
            return False
        own = [kind._get_collection().database.client for kind in (Touched, Untouched)]
        return own[0] is own[1] is not clients[0]

    assert in_child(check)
    assert Touched._get_collection().database.client is clients[0]
