"""Workers that are forked off an application in use: each connects afresh by itself, at once."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from tests.integration.speed import within

from undaunted.sqlalchemy import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.sqlalchemy.tables import Tables

    from undaunted.lab import PostgresLab

pytestmark = [pytest.mark.integration, pytest.mark.alone]

PROGRAM = Path(__file__).parent / "programs" / "prefork.py"
WORKERS = 2
NOISE_S = 0.5
"""Two workers connect at once, beside three busy threads of their parent."""


def run(settings: str, side: str) -> tuple[list[dict[str, Any]], str]:
    arguments = [sys.executable, str(PROGRAM), settings, side, str(WORKERS)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=100, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    failures = [what["error"] for what in told if what["step"] == "failed"]
    assert not failures, failures[0]
    assert done.returncode == 0, done.stderr[-5000:]
    return told, done.stderr[-5000:]


def test_plain_workers_talk_into_each_other(lab: PostgresLab) -> None:
    """An engine that was used before the fork: one connection for three processes, and answers of each other."""
    told, _ = run(lab.url, "plain")
    wrong = sum(what["wrong"] for what in told)
    errors = sum(len(what["errors"]) + (what.get("first") is not None) for what in told)
    hung = next(what["hung"] for what in told if what["step"] == "parent")
    print(f"plain: {wrong} wrong answers, {errors} errors, {hung} of {WORKERS + 1} processes hung")
    assert wrong + errors + hung > 0


def close(session: Session) -> None:
    session.close()


def use(session: Session) -> None:
    with pytest.raises(exc.OperationalError):
        session.execute(sa.text("SELECT 1"))


def throw_away(session: Session) -> None:
    session.invalidate()


@pytest.mark.parametrize("in_child", [close, use, throw_away])
def test_a_session_that_is_open_at_the_fork_stays_its_parent_s(
    ledger: Tables, in_child: Callable[[Session], None]
) -> None:
    """On one socket the child's ROLLBACK would undo what the parent's COMMIT is then told to have been applied."""
    mark = uuid.uuid4().hex
    with Session(ledger.Base) as session:
        session.add(ledger.Entry(mark=mark))
        session.flush()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                in_child(session)
                with Session(ledger.Base) as own:  # which has a connection of its own
                    status = len(own.scalars(sa.select(ledger.Entry).where(ledger.Entry.mark == mark)).all())
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        session.commit()
    with Session(ledger.Base) as session:
        assert len(session.scalars(sa.select(ledger.Entry).where(ledger.Entry.mark == mark)).all()) == 1


@pytest.mark.parametrize("how", ["undaunted", "unused"])
def test_workers(settings: Callable[..., dict[str, Any]], how: str) -> None:
    """While threads of the parent use the engines, so that their locks are held at the fork."""
    told, complaints = run(json.dumps(settings()), how)
    (parent,) = [what for what in told if what["step"] == "parent"]
    worked = [what for what in told if what["step"] == "worked"]
    assert parent["hung"] == 0, complaints
    assert len(worked) == WORKERS
    print(f"{how}: first unit of work of a worker: " + ", ".join(f"{what['took_s']:.3f} s" for what in worked))
    assert parent["hammer"] == []
    for what in (*worked, parent):
        assert (what["wrong"], what["errors"]) == (0, [])
    for what in worked:
        assert what["first"] is None
        within(what["took_s"], 0.5 + NOISE_S)
    for one, other in itertools.combinations((*worked, parent), 2):
        assert not set(one["servers"]) & set(other["servers"]), "two processes have sent on one connection"
