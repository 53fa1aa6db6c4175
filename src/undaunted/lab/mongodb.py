"""A real MongoDB replica set on loopback."""

from __future__ import annotations

import importlib.util
import os
import secrets
import time
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote_plus

from undaunted.core.durations import seconds
from undaunted.lab import hello, mongod
from undaunted.lab.errors import LabError
from undaunted.lab.failpoints import FailPoints
from undaunted.lab.lab import Lab
from undaunted.lab.node import LabNode, State
from undaunted.lab.primaries import Primaries
from undaunted.lab.replica_set import Checkup, elect
from undaunted.lab.verbs import POLL_S, START_TIMEOUT_S, NodeLike

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pymongo import MongoClient

__all__ = ["MongoLab"]

_HELLO_TIMEOUT_S = 1.0
_COMMAND_TIMEOUT_S = 15.0
_HEARTBEAT_MS = 100
"""After a freeze, a survivor that replicated from the frozen node tells how far it is by nothing but heartbeats for up
to 30 s (a fixed timeout of the server's), so each majority write there waits for one."""


class MongoLab(FailPoints, Primaries, Lab):
    """A replica set of real `mongod`, quick to start and quick to elect, for as long as this process lives.

    Args:
        nodes: How many nodes hold data. Default 3.
        arbiters: How many nodes only vote. Default 0; with the others 7 at most (MongoDB's limit of voters).
        election_timeout: How long the others wait for a silent primary (``electionTimeoutMillis``). Default 2 s,
            MongoDB's own is 10 s; a killed primary is replaced after about this time.
        replica_set: Name of the set; None for one standalone server.
        initiate: Make a set of the nodes. False leaves them as empty servers that know nothing of each other.
        auth: User name and password of one user with the role ``root``; with them the set demands a login.
        name: The name on the command line. Default: one of its own.
        directory: Where data and logs go, kept at the end. Default: a temporary one, removed at the end.
        ports: One port a node. Default: free ones.

    Example:
        >>> with MongoLab() as lab:  # doctest: +SKIP
        ...     client = MongoClient(lab.uri)
        ...     killed = lab.kill("primary")
        ...     lab.wait_primary(other_than=killed)
        ...     lab.start(killed)
    """

    backend: ClassVar[str] = "mongodb"

    def __init__(
        self,
        nodes: int = 3,
        *,
        arbiters: int = 0,
        election_timeout: float | str = "2s",
        replica_set: str | None = "lab",
        initiate: bool = True,
        auth: tuple[str, str] | None = None,
        name: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        ports: Sequence[int] | None = None,
    ) -> None:
        if nodes < 1 or arbiters < 0 or nodes + arbiters > 7:
            raise LabError(
                f"A replica set has one to seven nodes in all, and one that holds data; "
                f"found {nodes} nodes and {arbiters} arbiters."
            )
        if replica_set is None and nodes + arbiters != 1:
            raise LabError(f"A standalone server is one node; found {nodes + arbiters}. Name a replica_set for more.")
        super().__init__(count=nodes, arbiters=arbiters, name=name, directory=directory, ports=ports)
        self._election_ms = round(seconds(election_timeout) * 1000)
        if self._election_ms < 200:
            raise LabError(
                f"An election timeout of {self._election_ms} ms makes busy nodes lose each other; give 500 ms."
            )
        self._replica_set = replica_set
        self._initiate = initiate and replica_set is not None
        self._auth = auth
        self._mongod: Path | None = None
        self._key: str | None = None

    # ------------------------------------------------------------- what it is

    @property
    def replica_set(self) -> str | None:
        """Name of the replica set; None for a standalone server."""
        return self._replica_set

    @property
    def uri(self) -> str:
        """The URI of the whole set, with the user's credentials where it has one."""
        user = f"{quote_plus(self._auth[0])}:{quote_plus(self._auth[1])}@" if self._auth else ""
        options = [f"replicaSet={self._replica_set}"] if self._replica_set else ["directConnection=true"]
        if self._auth:
            options.append("authSource=admin")
        return f"mongodb://{user}{','.join(node.address for node in self._nodes)}/?{'&'.join(options)}"

    @property
    def reach(self) -> str:
        """How a client reaches the set, in one line for people."""
        return f"URI: {self.uri}"

    def settings_for(self, cluster: str) -> dict[str, Any]:
        """Settings that declare this lab as a cluster of this name, as `undaunted.configure` takes them.

        The password, where there is one, is in a file that the settings name.
        """
        declared: dict[str, Any] = {
            "backend": "mongodb",
            "nodes": [node.address for node in self._nodes if not node.is_arbiter],
            "database": "lab",
        }
        if self._replica_set is not None:
            declared["replica_set"] = self._replica_set
        if self._auth is not None:
            assert self._place is not None  # noqa: S101
            password = {"file": str(self._place / "password")}
            declared["credentials"] = {"username": self._auth[0], "password": password, "source": "admin"}
        return {"clusters": {cluster: declared}}

    def role(self, which: NodeLike) -> str:
        """The role that a node says it has: primary, secondary, arbiter, standalone, or unknown."""
        node = self.node(which)
        return self.roles([node])[node.name]

    def roles(self, nodes: Iterable[LabNode] | None = None) -> dict[str, str]:
        """The role of every node, by name; those that give no answer within a second are unknown."""
        chosen = list(nodes) if nodes is not None else self._nodes
        answers = self._answering(chosen)
        return {node.name: hello.role(answers.get(node.name)) for node in chosen}

    # ------------------------------------------------------------- the primary

    def _look(self, among: Sequence[LabNode]) -> tuple[LabNode | None, Mapping[str, str]]:
        states = self.states()
        answers = hello.ask(
            [node for node in among if states[node.name] in {State.UP, State.SLOW}], timeout_s=_HELLO_TIMEOUT_S
        )
        leaders = [node for node in among if answers.get(node.name, {}).get("isWritablePrimary")]
        roles = {name: hello.role(answer) for name, answer in answers.items()}
        return max(leaders, key=lambda node: _term(answers[node.name]), default=None), roles

    def step_down(self, which: NodeLike = "primary", *, hold: float | str = 5.0) -> LabNode:
        """Make the primary hand over in good order (``replSetStepDown``); returns the node that was primary.

        Args:
            which: The primary; naming another node is an error.
            hold: How long it will not stand for election again, at least 2 s. Short, so that several step-downs in a
                row find somebody to elect.

        Raises:
            LabError: The node is not primary, or no secondary was close enough to take over.
        """
        node = self.node(which)
        hold_s = max(2, round(seconds(hold)))
        self.command(node, {"replSetStepDown": hold_s, "secondaryCatchUpPeriodSecs": hold_s - 1})
        return node

    # ----------------------------------------------------------------- health

    def wait_healthy(self, timeout: float | str = START_TIMEOUT_S) -> None:
        """Wait until every node sees every other one well, there is a primary, and a write has reached all data nodes.

        Raises:
            LabError: Not within the timeout; the message says what is missing.
        """
        timeout_s = seconds(timeout)
        deadline_s = time.monotonic() + timeout_s
        with Checkup(self, copies=self._count) as checkup:
            while (complaint := checkup.complaint()) is not None:
                if time.monotonic() > deadline_s:
                    raise LabError(f"The lab {self.name} is not healthy after {timeout_s:g} s: {complaint}.")
                time.sleep(POLL_S)

    # ----------------------------------------------------------------- access

    def client(self, which: NodeLike | None = None, **options: Any) -> MongoClient[dict[str, Any]]:
        """A plain `MongoClient`, to close when done: of one node directly (as an operator), or of the whole set.

        Args:
            which: The node; None for the set, with the credentials of the URI.
            **options: Options of `MongoClient`.
        """
        from pymongo import MongoClient  # noqa: PLC0415 - a driver is imported when it is first needed

        if which is None:
            return MongoClient(self.uri, **options)
        node = self.node(which)
        chosen: dict[str, Any] = {
            "directConnection": True,
            "serverSelectionTimeoutMS": _COMMAND_TIMEOUT_S * 1000,
            "connectTimeoutMS": _COMMAND_TIMEOUT_S * 1000,
            "socketTimeoutMS": _COMMAND_TIMEOUT_S * 1000,
        }
        if self._auth is not None:
            # The nodes' own internal user, whose password is the key file: it exists on every node from the start.
            chosen |= {"username": "__system", "password": self._cluster_key(), "authSource": "local"}
        return MongoClient(node.host, node.port, **(chosen | options))

    def command(self, which: NodeLike, command: Mapping[str, Any], *, database: str = "admin") -> dict[str, Any]:
        """Run one command on one node, as an operator would.

        Raises:
            LabError: The node refused it or gave no answer.
        """
        from pymongo.errors import PyMongoError  # noqa: PLC0415

        node = self.node(which)
        try:
            with self.client(node) as client:
                return dict(client[database].command(dict(command)))
        except PyMongoError as error:
            said = f"{type(error).__name__}: {str(error)[:300]}"
            raise LabError(f"{node.name} did not do {next(iter(command))}: {said}") from error

    # ---------------------------------------------------------------- opening

    def _find_program(self) -> None:
        if importlib.util.find_spec("pymongo") is None:
            raise LabError("The lab needs pymongo to speak with MongoDB: pip install 'undaunted[lab]'.")
        self._mongod = mongod.find()

    def _argv(self, node: LabNode) -> list[str]:
        assert self._place is not None  # noqa: S101
        return mongod.arguments(
            self._mongod or mongod.find(),
            host=node.host,
            port=node.port,
            data=self._root(node) / "data",
            replica_set=self._replica_set,
            key_file=self._place / "key" if self._auth is not None else None,
        )

    def _options(self) -> dict[str, Any]:
        return {
            "nodes": self._count,
            "arbiters": self._arbiters,
            "election_timeout": self._election_ms / 1000,
            "replica_set": self._replica_set,
            "initiate": self._initiate,
            "auth": self._auth,
            "directory": None if self._directory is None else str(self._directory),
        }

    @classmethod
    def _options_of(cls, record: Mapping[str, Any]) -> dict[str, Any]:
        options: dict[str, Any] = dict(record["options"])
        options["auth"] = None if options["auth"] is None else tuple(options["auth"])
        return options

    def _start_all(self) -> None:
        if self._auth is not None:
            self._write_secrets(self._auth)
        self._progress(f"starting {len(self._nodes)} servers")
        for node in self._nodes:
            self._spawn(node)
        self._await_answers(self._nodes, timeout_s=START_TIMEOUT_S)
        if self._initiate:
            self._make_set()
        if self._auth is not None and (self._initiate or self._replica_set is None):
            self._make_user(self._auth)

    def _make_set(self) -> None:
        first = self._nodes[0]
        settings = {"electionTimeoutMillis": self._election_ms, "heartbeatIntervalMillis": _HEARTBEAT_MS}
        members = [
            {"_id": place, "host": node.address, "arbiterOnly": node.is_arbiter}
            for place, node in enumerate(self._nodes)
        ]
        config = {"_id": self._replica_set, "members": members, "settings": settings}
        self.command(first, {"replSetInitiate": config})
        deadline_s = time.monotonic() + START_TIMEOUT_S
        self._progress("electing a primary")
        elect(self, first, deadline_s=deadline_s)
        self._progress("waiting until every node is well")
        self.wait_healthy(max(0.0, deadline_s - time.monotonic()))

    def _write_secrets(self, auth: tuple[str, str]) -> None:
        assert self._place is not None  # noqa: S101
        for name, content in (("key", secrets.token_hex(48)), ("password", auth[1])):
            handle = os.open(self._place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)

    def _cluster_key(self) -> str:
        if self._key is None:
            assert self._place is not None  # noqa: S101
            self._key = (self._place / "key").read_text(encoding="utf-8")
        return self._key

    def _make_user(self, auth: tuple[str, str]) -> None:
        concern = {"w": self._count} if self._replica_set is not None else {"w": 1}
        user = {"createUser": auth[0], "pwd": auth[1], "roles": ["root"], "writeConcern": concern}
        self.command("primary", user)

    def _answering(self, nodes: Sequence[LabNode]) -> Mapping[str, hello.Hello]:
        return hello.ask(nodes, timeout_s=_HELLO_TIMEOUT_S)


def _term(answer: hello.Hello) -> tuple[Any, ...]:
    """What orders two nodes that both say they are primary."""
    found = answer.get("electionId")
    return (found,) if found is not None else ()
