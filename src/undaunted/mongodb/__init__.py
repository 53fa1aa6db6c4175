"""MongoDB through MongoEngine, kept undaunted: document bases, transactions, errors, and the client beneath them.

May import `undaunted.backend` and what that stands on, MongoEngine and pymongo; never another backend, and the registry
only through `undaunted.backend.directory`.
"""

from __future__ import annotations

from mongoengine import fields

from undaunted.mongodb.client import MongoClient
from undaunted.mongodb.errors import (
    BudgetExhausted,
    CredentialsRefused,
    DeadlineExceeded,
    Exhausted,
    NoNodeAvailable,
    OutcomeUnknown,
)
from undaunted.mongodb.models import (
    Document,
    DocumentMixin,
    DynamicDocument,
    DynamicEmbeddedDocument,
    EmbeddedDocument,
)
from undaunted.mongodb.transactions import transaction

__all__ = [
    "BudgetExhausted",
    "CredentialsRefused",
    "DeadlineExceeded",
    "Document",
    "DocumentMixin",
    "DynamicDocument",
    "DynamicEmbeddedDocument",
    "EmbeddedDocument",
    "Exhausted",
    "MongoClient",
    "NoNodeAvailable",
    "OutcomeUnknown",
    "fields",
    "transaction",
]
