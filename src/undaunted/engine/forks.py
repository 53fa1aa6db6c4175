"""What must begin anew in a forked process: its locks may be held by threads that do not exist there, and so on."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_forked_child"]


def in_forked_child(renew: Callable[[], object]) -> None:
    """Have `renew` called in each process that is forked off this one, before the application goes on there.

    It may be called twice there: uWSGI forks without telling Python of it, unless ``py-call-uwsgi-fork-hooks`` is set,
    but has a hook of its own.
    """
    os.register_at_fork(after_in_child=renew)
    uwsgi: Any = sys.modules.get("uwsgi")  # there is none but in a process of uWSGI
    if uwsgi is None:
        return
    with suppress(Exception):  # which it raises where uWSGI has no master
        importlib.import_module("uwsgidecorators")  # it sets the hook when it is imported, and would replace ours
    earlier: Callable[[], object] | None = getattr(uwsgi, "post_fork_hook", None)

    def forked() -> None:
        renew()
        if earlier is not None:
            earlier()

    uwsgi.post_fork_hook = forked
