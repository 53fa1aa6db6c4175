"""One database behind one URL is asked for no longer than was said, whatever its driver does."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from undaunted.sqlalchemy.single import why_not

if TYPE_CHECKING:
    from pathlib import Path


def test_a_database_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    url = sa.make_url(f"sqlite:///{tmp_path}/ledger.db")
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE entry (id INTEGER)")
        assert why_not(url, {}, timeout_s=30) is None
        other.execute("BEGIN EXCLUSIVE")
        began_s = time.monotonic()
        assert why_not(url, {"timeout": 60}, timeout_s=0.2) == "no answer within 0.2 s"
        assert time.monotonic() - began_s < 30
        assert "database is locked" in (why_not(url, {"timeout": 0}, timeout_s=30) or "")
        other.execute("ROLLBACK")
    for thread in threading.enumerate():
        if thread.name == "undaunted-asking":
            thread.join(60)
            assert not thread.is_alive()


@pytest.mark.parametrize("name", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_what_is_in_memory_is_always_there(name: str) -> None:
    assert why_not(sa.make_url(name), {}, timeout_s=30) is None
