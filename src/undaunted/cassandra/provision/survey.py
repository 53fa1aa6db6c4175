"""Reads the nodes of a cluster and its keyspaces. Changes nothing."""

from __future__ import annotations

import ipaddress
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cassandra import InvalidRequest

from undaunted.cassandra.provision.access import Denied, Unanswered
from undaunted.cassandra.provision.greet import Silence, host_and_port
from undaunted.cassandra.provision.state import EVERYWHERE, NETWORK, SIMPLE, Keyspace, Node, State
from undaunted.core.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from undaunted.cassandra.provision.access import Access
    from undaunted.core.clock import Clock

__all__ = ["keyspaces_at", "members_at", "survey"]

_LOCAL = "SELECT data_center, rack, release_version, schema_version FROM system.local WHERE key='local'"
_PEERS = "SELECT native_address, native_port, data_center, rack, release_version, schema_version FROM system.peers_v2"
_PEERS_BEFORE_4 = "SELECT rpc_address, data_center, rack, release_version, schema_version FROM system.peers"
_KEYSPACES = "SELECT keyspace_name, replication, durable_writes FROM system_schema.keyspaces"
_POLL_S = 0.25
_PACKAGE = "org.apache.cassandra.locator."


def survey(
    addresses: Sequence[str],
    access: Access,
    *,
    patience_s: float = 10.0,
    clock: Clock = SYSTEM_CLOCK,
    sleep: Callable[[float], None] = time.sleep,
) -> State:
    """Ask every node of the settings, and every other one of their cluster, whether it is there; one tells the rest.

    Args:
        addresses: The nodes of the settings.
        access: Opens connections.
        patience_s: How long nodes that have different schemas are given to agree. Default 10 s.
        clock: Tells the time.
        sleep: Waits.

    Raises:
        ConfigurationError: The driver refuses the settings.
    """
    greeted = access.greet(addresses)
    for asked in [address for address in addresses if greeted[address] is None]:
        try:
            members = members_at(asked, access)
            keyspaces = keyspaces_at(asked, access)
        except Denied as error:
            return State(nodes=tuple(_silent(addresses, greeted)), denied=str(error))
        except Unanswered as error:
            greeted[asked] = _lost(error)
            continue
        state = _state(addresses, members, greeted, access, keyspaces)
        deadline_s = clock.monotonic() + patience_s
        while len(state.schemas()) > 1 and clock.monotonic() < deadline_s:
            sleep(_POLL_S)
            state = replace(state, nodes=_with_schemas(state.nodes, asked, access))
        return state
    return State(nodes=tuple(_silent(addresses, greeted)))


def members_at(asked: str, access: Access) -> list[Node]:
    """The nodes of a cluster by the word of one of them, which is the first.

    Raises:
        Unanswered: It gave no answer.
        Denied: The login was refused.
    """
    (local,) = access.run(asked, _LOCAL)
    found = [_node(asked, local)]
    _, port = host_and_port(asked)
    try:
        peers = access.run(asked, _PEERS)
    except InvalidRequest:  # Cassandra 3 has no such table
        peers = [
            {**row, "native_address": row["rpc_address"], "native_port": port}
            for row in access.run(asked, _PEERS_BEFORE_4)
        ]
    for row in peers:
        if row["data_center"] is None or row["native_address"] is None:
            continue  # a node that is only just coming, or the trace of one that has gone
        found.append(_node(_written(str(row["native_address"]), row["native_port"]), row))
    return [found[0], *sorted(found[1:], key=lambda node: (node.datacenter or "", node.address))]


def keyspaces_at(asked: str, access: Access) -> dict[str, Keyspace]:
    """All keyspaces, by name.

    Raises:
        Unanswered: It gave no answer.
        Denied: The login was refused.
    """
    rows = access.run(asked, _KEYSPACES)
    return {row["keyspace_name"]: _keyspace(row) for row in rows}


def _node(address: str, row: Mapping[str, Any]) -> Node:
    schema = row["schema_version"]
    return Node(
        address=address,
        datacenter=row["data_center"],
        rack=row["rack"],
        version=row["release_version"],
        schema=None if schema is None else str(schema),
    )


def _keyspace(row: Mapping[str, Any]) -> Keyspace:
    replication = dict(row["replication"])
    strategy = str(replication.pop("class", "")).removeprefix(_PACKAGE)
    factors: dict[str, int] = {}
    is_plain = True
    for name, text in replication.items():
        where = EVERYWHERE if strategy == SIMPLE and name == "replication_factor" else name
        if str(text).isdigit():
            factors[where] = int(text)
        else:
            is_plain = False  # such as "3/1", of which one is transient
    return Keyspace(
        name=row["keyspace_name"],
        strategy=strategy,
        # A datacenter with a factor of 0 is one without.
        factors={name: factor for name, factor in sorted(factors.items()) if factor or strategy != NETWORK},
        durable_writes=bool(row["durable_writes"]),
        is_plain=is_plain,
    )


def _state(
    addresses: Sequence[str],
    members: list[Node],
    greeted: dict[str, Silence | None],
    access: Access,
    keyspaces: Mapping[str, Keyspace],
) -> State:
    """Put together what the node said, what the settings name, and who answers."""
    named: dict[str, str] = {}
    for address in addresses:
        for ip in _ips(address):
            named.setdefault(ip, address)
    placed = [members[0], *(replace(node, address=named.get(node.address, node.address)) for node in members[1:])]
    known = {node.address for node in placed}
    greeted |= access.greet([address for address in known if address not in greeted])
    order = {address: place for place, address in enumerate(addresses)}
    placed += [Node(address=address) for address in addresses if address not in known]
    placed.sort(key=lambda node: (order.get(node.address, len(order)), node.datacenter or "", node.address))
    return State(
        nodes=tuple(_heard(node, greeted[node.address]) for node in placed),
        keyspaces=keyspaces,
        home=members[0].datacenter,
    )


def _with_schemas(nodes: Sequence[Node], asked: str, access: Access) -> tuple[Node, ...]:
    """The same nodes with the schemas that they have now; as they were, when nobody tells."""
    try:
        found = {node.address: node.schema for node in members_at(asked, access)}
    except (Unanswered, Denied):  # the plan says that they did not agree
        return tuple(nodes)
    by_ip = {ip: schema for address, schema in found.items() for ip in _ips(address)}
    return tuple(
        replace(node, schema=next((by_ip[ip] for ip in _ips(node.address) if ip in by_ip), node.schema))
        for node in nodes
    )


def _silent(addresses: Iterable[str], greeted: Mapping[str, Silence | None]) -> list[Node]:
    return [_heard(Node(address=address), greeted[address]) for address in addresses]


def _heard(node: Node, silence: Silence | None) -> Node:
    if silence is None:
        return node
    return replace(node, reason=silence.reason, is_frozen=silence.is_frozen)


def _lost(error: Unanswered) -> Silence:
    return Silence(reason=str(error).partition(" ")[2])


def _written(host: str, port: int) -> str:
    """An address in the form of the settings."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ips(address: str) -> list[str]:
    """An address by its numbers, as the nodes know each other; nothing for a name that cannot be looked up."""
    host, port = host_and_port(address)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            return []
        return list(dict.fromkeys(_written(str(entry[4][0]), port) for entry in found))
    return [_written(host, port)]
