"""What plain SQLAlchemy does under these faults: what the other tests of this folder must be better than."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from tests.integration.sqlalchemy.cut import committing, cut, freeze_standbys
from tests.integration.sqlalchemy.load import READS, WRITES, Load
from tests.integration.sqlalchemy.watch import Logs, until

if TYPE_CHECKING:
    from tests.integration.sqlalchemy.sides import Plain

    from undaunted.lab import PostgresLab

pytestmark = [pytest.mark.integration, pytest.mark.alone]

DETECTION_S = 1.0
"""How long the standby is not promoted, as by a failover tool, which has to notice the fault first."""
QUIET_S = 0.5
HANGS_S = 3.0
"""How long behind a promotion nothing may come back until it is called a hang."""


def test_kill(lab: PostgresLab, plain: Plain) -> None:
    """Errors by the dozen, and no reads either until the promotion, though both standbys are well."""
    with Load(plain, lab) as load:
        logs = Logs(lab)
        since_s = time.monotonic()
        lab.kill("primary")
        until(lambda: time.monotonic() >= since_s + DETECTION_S)
        promoted_s = logs.writable_s(lab.promote())
        load.go_on(after_s=promoted_s)
    audit = load.audit()
    writes, reads = load.gap(WRITES, since_s=since_s), load.gap(READS, since_s=since_s)
    print(f"kill, promoted after {promoted_s - since_s:.2f} s: {audit}; caught {dict(plain.caught)}")
    print(f"kill: without writes {writes.length_s:.2f} s, without reads {reads.length_s:.2f} s")
    assert plain.caught["OperationalError"] >= 18
    assert reads.length_s >= DETECTION_S


def test_freeze(lab: PostgresLab, plain: Plain) -> None:
    """Nothing is raised and nothing comes back: every thread waits for the frozen node, whoever is primary now."""
    with contextlib.ExitStack() as all_at_once:  # so that nobody is about to connect, and is led on to another node
        for _ in Load.USUAL:
            all_at_once.enter_context(plain.engine.connect())
    with Load(plain, lab) as load:
        logs = Logs(lab)
        frozen = lab.freeze("primary")
        since_s = time.monotonic()
        until(lambda: time.monotonic() > max(e.ended_s for e in load.ledger) + QUIET_S, what="replies sent before it")
        promoted_s = logs.writable_s(lab.promote())
        until(lambda: time.monotonic() >= promoted_s + HANGS_S)
        late = [e for e in load.ledger if e.ended_s > promoted_s]
        lab.kill(frozen)  # so that they come free
        load.go_on()
    print(f"freeze: promoted after {promoted_s - since_s:.2f} s; within {HANGS_S:g} s behind it {len(late)} came back")
    assert not late


def test_a_commit_whose_reply_was_lost(lab: PostgresLab, plain: Plain) -> None:
    """The loop that everybody writes applies it twice."""
    mark = uuid.uuid4().hex
    with freeze_standbys(lab), lab.connect(lab.primary()) as server:
        thread = threading.Thread(target=plain.entry, args=(mark,), daemon=True)
        thread.start()
        lost = until(lambda: committing(server), what="a COMMIT that waits for a standby")
        assert cut(lost) == 1
        until(lambda: set(committing(server)) - set(lost), what="the COMMIT of the second try")
    thread.join(30)
    assert not thread.is_alive()
    with lab.connect(lab.primary()) as server:
        assert server.execute("SELECT count(*) FROM entry WHERE mark = %s", [mark]).fetchone() == (2,)
