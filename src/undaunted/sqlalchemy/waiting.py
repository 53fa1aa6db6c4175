"""Waiting in a place that may run in a thread or, beneath SQLAlchemy's asyncio, in a greenlet of an event loop."""

from __future__ import annotations

import asyncio
import sys
import time

from sqlalchemy.util import concurrency

__all__ = ["can_wait", "pause"]


def _is_in_greenlet() -> bool:
    return "greenlet" in sys.modules and concurrency.in_greenlet()  # without the package, asking is an error


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def can_wait(*, is_async: bool) -> bool:
    """Whether `pause` may be called: a coroutine that calls plain functions of an async session must not be held up."""
    return not is_async or _is_in_greenlet()


def pause(seconds: float) -> None:
    """Wait; beneath SQLAlchemy's asyncio the event loop goes on meanwhile."""
    if _is_in_loop() and _is_in_greenlet():
        concurrency.await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)
