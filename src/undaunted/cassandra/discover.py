"""The settings of a cluster by the word of its nodes, for `undaunted config init`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undaunted.cassandra import seams
from undaunted.cassandra.provision.access import Access
from undaunted.cassandra.provision.survey import survey
from undaunted.config.discovered import Discovered, choose
from undaunted.errors import Problem

if TYPE_CHECKING:
    from undaunted.cassandra.provision.state import State
    from undaunted.config import CassandraSettings

__all__ = ["discover"]


def discover(settings: CassandraSettings) -> Discovered:
    """Ask the nodes of the settings who belongs to them, where they stand and what keyspaces there are.

    Raises:
        ConfigurationError: The driver cannot be used, or refuses the settings.
    """
    seams.check_driver()
    path = f"clusters.{settings.name}"
    with Access(settings) as access:
        state = survey(settings.nodes, access)
    if state.denied is not None:
        at = f"{path}.credentials"
        return Discovered(problems=(Problem(at, state.denied.removeprefix(f"{at}: ")),))
    if not state.datacenters:
        silent = [Problem(f"{path}.nodes", f"{node.address} {node.reason}.") for node in state.nodes]
        return Discovered(problems=tuple(silent))
    own = [name for name in state.keyspaces if not name.startswith("system")]
    found, remarks = _places(state)
    chosen, remark = choose("keyspace", settings.keyspace, own)
    warnings = tuple(f"{node.address} {node.reason}." for node in state.nodes if node.reason)
    return Discovered(settings=found | chosen, remarks=remarks | remark, warnings=warnings)


def _places(state: State) -> tuple[dict[str, Any], dict[str, str]]:
    """The nodes of the datacenter of whoever told, and where else there are some."""
    home = state.home
    nodes = [node.address for node in state.nodes if node.datacenter == home]
    others = [name for name in state.datacenters if name != home]
    remarks = {"local_datacenter": f"of the node that was asked; there is also {', '.join(others)}"} if others else {}
    if others:
        remarks["remote_datacenters"] = ", ".join(others)
    return {"nodes": nodes, "local_datacenter": home}, remarks
