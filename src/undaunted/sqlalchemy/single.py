"""One database behind one URL, asked once: nobody watches what is no PostgreSQL, and only its own driver can ask it."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["why_not"]


def why_not(url: sa.URL, connect_args: Mapping[str, Any], *, timeout_s: float) -> str | None:
    """Why a database cannot be used, in a few words; None when it answers. Changes nothing there.

    Args:
        url: Its URL.
        connect_args: What its driver is given besides.
        timeout_s: How long it is waited for, in seconds; not every driver knows an end.
    """
    if url.get_backend_name() == "sqlite" and url.database and not os.path.exists(url.database):  # noqa: PTH110
        if ":" in url.database:  # in memory, or SQLite's own kind of URL
            return None
        folder = os.path.dirname(url.database) or "."  # noqa: PTH120
        return None if os.path.isdir(folder) else "its folder is not there"  # noqa: PTH112  # the first use makes a file
    told: list[str | None] = []
    asking = threading.Thread(
        target=lambda: told.append(_asked(url, connect_args)), name="undaunted-asking", daemon=True
    )
    asking.start()
    asking.join(timeout_s)
    return told[0] if told else f"no answer within {timeout_s:g} s"


def _asked(url: sa.URL, connect_args: Mapping[str, Any]) -> str | None:
    given: dict[str, Any] = {"poolclass": NullPool, "connect_args": dict(connect_args)}
    try:
        if url.get_dialect().is_async:
            asyncio.run(_ask_async(url, given))
        else:
            with sa.create_engine(url, **given).connect() as connection:
                _look(connection)
    except exc.DBAPIError as error:
        return _without_password(f"{type(error.orig).__name__}: {error.orig}", url)
    except ImportError as error:
        return f"its driver is missing: {error.name or error}"
    except Exception as error:  # noqa: BLE001  # a driver's own mistake is an answer, too
        return _without_password(f"{type(error).__name__}: {error}", url)
    return None


async def _ask_async(url: sa.URL, given: Mapping[str, Any]) -> None:
    engine = create_async_engine(url, **given)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_look)
    finally:
        await engine.dispose()


def _look(connection: sa.Connection) -> None:
    """Read something, since a file is not looked into before."""
    sa.inspect(connection).has_table("undaunted_keys")


def _without_password(text: str, url: sa.URL) -> str:
    line = text.partition("\n")[0]
    return line.replace(str(url.password), "***") if url.password else line
