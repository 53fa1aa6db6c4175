"""The documents of these tests: the same code on any base, so that plain MongoEngine can be put to the same test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mongoengine import fields

__all__ = ["Documents", "define"]


@dataclass(frozen=True)
class Documents:
    """One set of document classes, on one base and one alias."""

    alias: str
    Owner: Any
    Item: Any
    Row: Any
    Ticket: Any
    Attachment: Any


def define(base: Any, alias: str) -> Documents:
    """Define the documents on `base`, in the database that MongoEngine knows as `alias`."""

    class Owner(base):
        meta = {"db_alias": alias, "collection": "owners"}
        name = fields.StringField()

    class Item(base):
        """Written to. A write leaves its mark in the document, so that it can be counted how often it was applied."""

        meta = {"db_alias": alias, "collection": "items", "indexes": ["key", "group"]}
        key = fields.StringField()
        group = fields.StringField()
        n = fields.IntField(default=0)
        marks = fields.ListField(fields.StringField())

    class Row(base):
        """Only read, so that what comes back can be checked: `k` counts from 0."""

        meta = {"db_alias": alias, "collection": "rows", "indexes": ["k"]}
        k = fields.IntField()
        level = fields.IntField()
        owner = fields.ReferenceField(Owner)

    class Ticket(base):
        meta = {"db_alias": alias, "collection": "tickets"}
        key = fields.StringField()
        number = fields.SequenceField(db_alias=alias, sequence_name="tickets")

    class Attachment(base):
        meta = {"db_alias": alias, "collection": "attachments"}
        key = fields.StringField()
        content = fields.FileField(db_alias=alias)

    return Documents(alias=alias, Owner=Owner, Item=Item, Row=Row, Ticket=Ticket, Attachment=Attachment)
