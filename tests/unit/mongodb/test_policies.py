"""Whose policy bounds an operation: the cluster's, the model's, the call's; by declaration and by settings alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mongoengine
import pytest

import undaunted
from undaunted.mongodb import Document, fields
from undaunted.mongodb.scope import policy_in_force, under
from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = {"backend": "mongodb", "nodes": ["127.0.0.1:1"]}


class Declared(Document):
    __undaunted__ = {"cluster": "orders", "profile": "web", "reads": "fallback", "retry.deadline": "2s"}
    meta = {"auto_create_index": False}
    number = fields.IntField()


class Plain(Document):
    __undaunted__ = {"cluster": "orders"}
    meta = {"auto_create_index": False}
    number = fields.IntField()


class Moved(Document):
    __undaunted__ = {"cluster": "orders"}
    meta = {"auto_create_index": False}
    number = fields.IntField()


class Untouched(mongoengine.Document):
    meta = {"auto_create_index": False, "db_alias": "orders"}
    number = fields.IntField()


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    here = __name__
    undaunted.configure(
        {
            "clusters": {"orders": {**NODE, "retry": {"deadline": "9s"}}, "archive": NODE},
            "models": {
                f"{here}.Untouched": {"retry": {"deadline": "3s"}},
                f"{here}.Moved": {"cluster": "archive"},
            },
        }
    )
    yield
    undaunted.close()


def policy_of(document_class: Any) -> Any:
    return document_class._get_collection().policy


def test_a_class_without_its_own_has_the_clusters() -> None:
    assert policy_of(Plain) is None
    assert policy_in_force(REGISTRY.handle("orders").guard).deadline_s == 9


def test_a_declaration_stands_over_its_profile_and_the_cluster() -> None:
    assert (policy_of(Declared).deadline_s, policy_of(Declared).reads) == (2, "fallback")


def test_settings_alone_reach_an_untouched_class() -> None:
    assert policy_of(Untouched).deadline_s == 3


def test_settings_put_a_class_into_another_cluster() -> None:
    assert Moved._get_collection().database.client is Moved._get_db().client
    assert Moved._get_db().client.guard.cluster == "archive"
    assert Plain._get_db().client.guard.cluster == "orders"


def test_the_call_stands_over_the_model_and_profiles_over_both() -> None:
    guard = REGISTRY.handle("orders").guard
    with under(policy_of(Declared) or guard.policy), undaunted.options(reads="replica"):
        assert policy_in_force(guard).reads == "replica"
    with undaunted.options(profile="worker"):
        assert policy_in_force(guard).deadline_s == 60
    with undaunted.options(profile="wroker"), pytest.raises(undaunted.ConfigurationError, match="worker"):
        policy_in_force(guard)


def test_derived_collections_keep_the_models_policy() -> None:
    collection = Declared._get_collection()
    assert collection.with_options().policy == collection.policy
    assert collection.find().collection.policy == collection.policy
