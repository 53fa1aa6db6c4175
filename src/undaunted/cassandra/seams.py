"""Every private name of cassandra-driver that this backend touches, in one place and checked at start-up.

cqlengine has no public way to register a connection of one's own class, and the driver none to leave an inherited
cluster alone. ``tests/contract`` holds these few names against every supported version.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import Any, NoReturn

from undaunted.errors import ConfigurationError, Problem

__all__ = [
    "abandon",
    "abandon_loop",
    "check_driver",
    "connections",
    "is_defining_model",
    "put",
    "registered",
    "set_default_keyspace",
]

MINIMUM_DRIVER = (3, 29)


@lru_cache(maxsize=1)
def check_driver() -> None:
    """Make sure that the installed driver has what this backend stands on.

    Raises:
        ConfigurationError: It is too old, cannot do I/O on this Python, or its inner parts have changed.
    """
    import cassandra  # noqa: PLC0415  # only once it is wanted

    try:
        import cassandra.cluster as driver  # noqa: PLC0415
        from cassandra.cqlengine import connection  # noqa: PLC0415
    except cassandra.DependencyException as error:
        _refuse(
            "cassandra-driver finds no event loop for this Python (asyncore is gone since 3.12). Install a release "
            "whose wheel brings libev: pip install --upgrade 'cassandra-driver>=3.29.3'.",
            error,
        )
    version = tuple(int(part) for part in cassandra.__version__.split(".")[:2])
    if version < MINIMUM_DRIVER:
        _refuse(f"cassandra-driver {cassandra.__version__} is too old. Install 3.29 or newer.")
    missing = [
        name
        for holder, name in ((connection, "_connections"), (driver, "_discard_cluster_shutdown"))
        if not hasattr(holder, name)
    ]
    if missing:
        _refuse(
            f"cassandra-driver {cassandra.__version__} has no {' and no '.join(missing)}, which undaunted needs. "
            "Install the newest release that its documentation names."
        )


def _refuse(message: str, cause: Exception | None = None) -> NoReturn:
    raise ConfigurationError(problems=[Problem("clusters", message)]) from cause


def put(name: str, made: Any) -> None:
    """Register a connection of a class of our own with cqlengine."""
    from cassandra.cqlengine import connection  # noqa: PLC0415

    connection._connections[name] = made  # noqa: SLF001


def connections() -> dict[Any, Any]:
    """Cqlengine's connections by name, and the default one by a key of its own; the very dictionary, not a copy."""
    from cassandra.cqlengine import connection  # noqa: PLC0415

    known: dict[Any, Any] = connection._connections  # noqa: SLF001
    return known


def registered(name: Any) -> Any:
    """The connection that cqlengine has under this name, its default one for None; None where there is none."""
    from cassandra.cqlengine import connection  # noqa: PLC0415

    return connections().get(name or connection.DEFAULT_CONNECTION)


def is_defining_model() -> bool:
    """Whether the caller was called by cqlengine while that makes a class of models: it registers the types it uses."""
    from cassandra.cqlengine.models import ModelMetaClass  # noqa: PLC0415

    asked = sys._getframe(1).f_back  # noqa: SLF001  # there is no public name for the frame of a caller
    return asked is not None and asked.f_code is ModelMetaClass.__new__.__code__


def set_default_keyspace(name: str | None) -> None:
    """The keyspace of models that name none and have no base of ours."""
    from cassandra.cqlengine import models  # noqa: PLC0415

    models.DEFAULT_KEYSPACE = name


def abandon(cluster: Any) -> None:
    """Have the driver forget a cluster that belongs to the parent process, without closing it at exit."""
    from cassandra.cluster import _discard_cluster_shutdown  # noqa: PLC0415

    _discard_cluster_shutdown(cluster)


_ABANDONED: list[Any] = []
"""Loops of parent processes: their watchers must not be freed here, where nobody runs them."""


def abandon_loop() -> None:
    """Have the driver begin with an event loop of its own in a forked child, and let go of the parent's sockets.

    The driver would close the inherited connections one by one with their own locks, which a thread of the parent may
    have held at the moment of the fork; then the child waits for ever. So nothing of theirs is locked or called here.
    Closing a descriptor sends nothing while the parent has it open.
    """
    reactor = sys.modules.get("cassandra.io.libevreactor")
    loop = getattr(reactor, "_global_loop", None)
    if reactor is None or loop is None or loop._pid == os.getpid():  # noqa: SLF001
        return
    _ABANDONED.append(loop)
    reactor._global_loop = None  # type: ignore[attr-defined]  # noqa: SLF001
    for connection in loop._live_conns | loop._new_conns:  # noqa: SLF001
        connection.is_closed = connection.is_defunct = True  # who still has it is told so
        if connection._socket is not None:  # noqa: SLF001
            connection._socket.close()  # noqa: SLF001


def forget(name: str, made: Any) -> None:
    """Have cqlengine forget a connection of ours, also as the default one; another of that name is left alone."""
    from cassandra.cqlengine import connection  # noqa: PLC0415

    known = connection._connections  # noqa: SLF001
    for key in (name, connection.DEFAULT_CONNECTION):
        if known.get(key) is made:
            del known[key]
            if key is connection.DEFAULT_CONNECTION:
                connection.cluster = connection.session = None


def default_keyspace() -> str | None:
    """The keyspace of models that name none and have no base of ours."""
    from cassandra.cqlengine import models  # noqa: PLC0415

    found: str | None = models.DEFAULT_KEYSPACE
    return found
