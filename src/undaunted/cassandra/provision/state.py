"""What is wanted of the keyspaces of a cluster, and what was found: plain values that the planner compares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["EVERYWHERE", "NETWORK", "SIMPLE", "Keyspace", "Node", "State", "Use", "Wanted", "WantedKeyspace"]

SIMPLE = "SimpleStrategy"
NETWORK = "NetworkTopologyStrategy"
_USUAL = 3
EVERYWHERE = ""
"""Stands for a datacenter where the strategy knows none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyspace:
    """A keyspace, as it is or as it is to be.

    Attributes:
        name: Its name, as it is written within quotes.
        strategy: Short name of the class that places its replicas.
        factors: Replicas by datacenter; of SimpleStrategy under `EVERYWHERE`.
        durable_writes: Whether writes go through the commit log.
        is_plain: False where its replication says more than numbers, such as transient replicas.
    """

    name: str
    strategy: str = NETWORK
    factors: Mapping[str, int] = field(default_factory=dict[str, int])
    durable_writes: bool = True
    is_plain: bool = True

    @property
    def total(self) -> int:
        """How many nodes hold a row, all datacenters together."""
        return sum(self.factors.values())

    def factor(self, datacenter: str | None) -> int:
        """How many nodes of a datacenter hold a row; of SimpleStrategy, which knows none, how many at all."""
        return self.factors.get(EVERYWHERE, self.factors.get(datacenter or EVERYWHERE, 0))

    def said(self) -> str:
        """Its replication in words, such as ``"NetworkTopologyStrategy, dc1 3"``."""
        factors = ", ".join(f"{name} {factor}".strip() for name, factor in self.factors.items())
        return f"{self.strategy}, {factors}{'' if self.durable_writes else ', without durable writes'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedKeyspace:
    """A keyspace that the settings ask for; None where they leave it as it is.

    Attributes:
        name: Its name.
        strategy: `SIMPLE` or `NETWORK`; of a new one `NETWORK`.
        factor: Replicas by datacenter, or in each datacenter that there is; of a new one 3.
        durable_writes: Whether writes go through the commit log; of a new one they do.
    """

    name: str
    strategy: str | None = None
    factor: int | Mapping[str, int] | None = None
    durable_writes: bool | None = None

    def beside(self, was: Keyspace | None, datacenters: tuple[str, ...]) -> Keyspace:
        """The keyspace that is wanted in a cluster of these datacenters, where there is this one or none."""
        found = was or Keyspace(name=self.name)
        # A table of datacenters asks for the strategy that knows them.
        asked = NETWORK if isinstance(self.factor, Mapping) else found.strategy
        strategy = self.strategy or asked
        durable_writes = found.durable_writes if self.durable_writes is None else self.durable_writes
        factors = self._factors(strategy, datacenters)
        if self.factor is None and was is not None and strategy == was.strategy:
            factors = was.factors
        return Keyspace(name=self.name, strategy=strategy, factors=factors, durable_writes=durable_writes)

    def _factors(self, strategy: str, datacenters: tuple[str, ...]) -> Mapping[str, int]:
        if isinstance(self.factor, Mapping):
            return dict(sorted(self.factor.items()))
        names = datacenters if strategy == NETWORK else (EVERYWHERE,)
        return dict.fromkeys(names, _USUAL if self.factor is None else self.factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How the application uses the cluster.

    Attributes:
        keyspace: The keyspace of models that name none.
        home: The local datacenter; None where the settings leave it to the first node.
        remote: Datacenters to go on in.
        read: Consistency of reads.
        write: Consistency of writes.
        serial: Consistency of conditional writes.
    """

    keyspace: str | None = None
    home: str | None = None
    remote: tuple[str, ...] = ()
    read: str = "LOCAL_QUORUM"
    write: str = "LOCAL_QUORUM"
    serial: str = "LOCAL_SERIAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the settings ask for.

    Attributes:
        cluster: Name of the cluster in the settings.
        keyspaces: In the order of the settings.
        use: How the application uses them.
    """

    cluster: str
    keyspaces: tuple[WantedKeyspace, ...]
    use: Use = field(default_factory=Use)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node, as the cluster and its own answers show it.

    Attributes:
        address: Where it is reached, as ``"host:port"``.
        datacenter: Where it stands; None for a contact point of which the cluster tells nothing.
        rack: Its rack.
        version: The server's version.
        schema: The version of the schema that it has.
        reason: Why it gave no answer, as the end of a sentence; empty when it gave one.
        is_frozen: Whether it takes connections and then says nothing.
    """

    address: str
    datacenter: str | None = None
    rack: str | None = None
    version: str | None = None
    schema: str | None = None
    reason: str = ""
    is_frozen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that was found.

    Attributes:
        nodes: The nodes of the settings in their order, then all others of the cluster.
        keyspaces: By name; empty when no node could be asked.
        home: The datacenter of the first node that answered.
        denied: Why the nodes tell nothing to our user; None when they did.
    """

    nodes: tuple[Node, ...] = ()
    keyspaces: Mapping[str, Keyspace] = field(default_factory=dict[str, Keyspace])
    home: str | None = None
    denied: str | None = None

    @property
    def datacenters(self) -> tuple[str, ...]:
        """All of them, by name."""
        return tuple(sorted({node.datacenter for node in self.nodes if node.datacenter is not None}))

    @property
    def racks(self) -> int:
        """The number of racks in the datacenter that has most."""
        pairs = {(node.datacenter, node.rack) for node in self.nodes if node.datacenter is not None}
        return max(Counter(datacenter for datacenter, _ in pairs).values(), default=0)

    def count(self, datacenter: str) -> int:
        """The number of nodes of a datacenter; of all for `EVERYWHERE`."""
        known = [node for node in self.nodes if node.datacenter is not None]
        return sum(datacenter in {EVERYWHERE, node.datacenter} for node in known)

    def schemas(self) -> dict[str, list[str]]:
        """Versions of the schema, each with the nodes that have it, of all nodes that answer."""
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            if node.schema is not None and not node.reason:
                found.setdefault(node.schema, []).append(node.address)
        return found
