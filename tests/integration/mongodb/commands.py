"""What was sent to the servers, as the driver itself tells it: the ground truth of every test about retries."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pymongo import monitoring

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RECORDER", "Commands", "Sent"]


@dataclass(frozen=True)
class Sent:
    """One command on its way to a server."""

    name: str
    number: int | None
    session: bytes | None
    node: str
    ids: tuple[Any, ...]
    """The ``_id`` of each document that an insert carries."""


@dataclass
class Commands:
    """The commands of one database, in the order in which they were sent."""

    database: str
    all: list[Sent] = field(default_factory=list)

    def named(self, *names: str) -> list[Sent]:
        return [sent for sent in self.all if sent.name in names]

    def names(self) -> list[str]:
        return [sent.name for sent in self.all]

    def clear(self) -> None:
        self.all.clear()


class Recorder(monitoring.CommandListener):
    def __init__(self) -> None:
        self._open: list[Commands] = []

    @contextmanager
    def recording(self, database: str) -> Iterator[Commands]:
        seen = Commands(database)
        self._open.append(seen)
        try:
            yield seen
        finally:
            self._open.remove(seen)

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command: Any = event.command
        host, port = event.connection_id
        number = command.get("txnNumber")
        sent = Sent(
            name=event.command_name,
            number=None if number is None else int(number),
            session=command["lsid"]["id"] if "lsid" in command else None,
            node=f"{host}:{port}",
            ids=tuple(document["_id"] for document in command.get("documents", ())),
        )
        for seen in self._open:
            if seen.database == event.database_name:
                seen.all.append(sent)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


RECORDER = Recorder()
monitoring.register(RECORDER)  # pymongo has no way to take one back; it sees clients made from now on
