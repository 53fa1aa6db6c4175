"""What only a lab of Cassandra can do: a node that refuses clients while the other nodes see it up."""

from __future__ import annotations

from undaunted.cli.lab.chosen import a_node, ring, which_lab
from undaunted.cli.lab.faults import fault, undone
from undaunted.cli.options import as_json, ours

__all__ = ["disable_binary", "enable_binary"]


@ours("disable-binary", example="lab disable-binary n1")
@a_node("NODE")
@which_lab
@as_json
def disable_binary(node: str, *, name: str | None, as_json: bool) -> None:
    """Make a node of Cassandra refuse clients, while the other nodes see it up."""
    found = ring(name)
    fault(found.name, node, "closed to clients", lambda _found, chosen: found.disable_binary(chosen), as_json=as_json)


@ours("enable-binary", example="lab enable-binary n1")
@a_node("NODE")
@which_lab
@as_json
def enable_binary(node: str, *, name: str | None, as_json: bool) -> None:
    """Let clients of Cassandra in again."""
    undone([ring(name).enable_binary(node)], "lets clients in", as_json=as_json)
