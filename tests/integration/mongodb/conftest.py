"""One replica set for the whole run; each test begins with it well, and in a database of its own."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any, Protocol

import mongoengine
import pytest
from tests.integration.mongodb.commands import RECORDER
from tests.integration.mongodb.documents import Documents, define

import undaunted
from undaunted.mongodb import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from undaunted.lab import MongoLab
    from undaunted.lab.failpoints import FailPoint

_NUMBERS = itertools.count(1)


@pytest.fixture
def lab(healthy_mongo_lab: MongoLab) -> MongoLab:
    return healthy_mongo_lab


@pytest.fixture
def database() -> str:
    """A database of the test's own: its name is new, so nothing of another test is in it."""
    return f"t{os.getpid()}_{next(_NUMBERS)}"


@pytest.fixture
def settings(lab: MongoLab, database: str) -> Callable[..., dict[str, Any]]:
    """The settings of the lab as the cluster ``shop``, with what a test wants otherwise."""

    def make(**changes: Any) -> dict[str, Any]:
        made = lab.settings_for("shop")
        made["clusters"]["shop"] |= {"database": database, **changes}
        return made

    return make


@pytest.fixture
def configure(settings: Callable[..., dict[str, Any]]) -> Iterator[Callable[..., None]]:
    """Declares the cluster ``shop`` to undaunted, and forgets it after the test."""

    def declare(**changes: Any) -> None:
        undaunted.configure(settings(**changes))

    try:
        yield declare
    finally:
        undaunted.close()


class Strike(Protocol):
    """Makes commands of undaunted's own clients fail, for a ``with`` block; cut off, unless a fault is named."""

    def __call__(self, *commands: str, times: int | None = 1, **fault: Any) -> AbstractContextManager[FailPoint]: ...


@pytest.fixture
def strike(lab: MongoLab) -> Strike:
    def fail(*commands: str, times: int | None = 1, **fault: Any) -> AbstractContextManager[FailPoint]:
        fault = fault or {"close_connection": True}
        return lab.fail_command(commands, times=times, app_name="undaunted", **fault)

    return fail


@pytest.fixture
def shop(configure: Callable[..., None]) -> Documents:
    """Documents of undaunted in the cluster ``shop``, with the default settings."""
    configure()
    return define(Document, "shop")


@pytest.fixture
def plain(lab: MongoLab, database: str) -> Iterator[Documents]:
    """The same documents on MongoEngine's own base and client."""
    options = {"uuidRepresentation": "standard", "heartbeatFrequencyMS": 1000}  # the second only saves these tests time
    mongoengine.connect(database, alias="plain", host=lab.uri, **options)
    try:
        yield define(mongoengine.Document, "plain")
    finally:
        mongoengine.disconnect("plain")


@pytest.fixture
def commands(database: str) -> Iterator[Any]:
    """Every command that a client of this process sends to the test's database, in order."""
    with RECORDER.recording(database) as seen:
        yield seen
