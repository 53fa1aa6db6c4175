"""What the servers themselves say of sessions, and how a test takes a connection away from one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from undaunted.lab import PostgresLab

__all__ = ["address_in", "end_backend", "whom"]

WHO = sa.text("SELECT host(inet_server_addr()) || ':' || inet_server_port(), pg_backend_pid()")


def whom(session: Session) -> tuple[str, int]:
    """The node that answers this session, and the process there."""
    found: Any = session.execute(WHO).one()
    return found[0], found[1]


def address_in(lab: PostgresLab, role: str) -> set[str]:
    """The addresses of the nodes in this role."""
    return {node.address for node in lab.nodes if lab.role(node) == role}


def end_backend(lab: PostgresLab, address: str, pid: int) -> None:
    """End one connection on its server, and wait until it has gone; everything else there goes on."""
    node = next(node for node in lab.nodes if node.address == address)
    with lab.operator(node) as server:
        assert server.execute("SELECT pg_terminate_backend(%s, 10000)", [pid]).fetchone() == (True,)
