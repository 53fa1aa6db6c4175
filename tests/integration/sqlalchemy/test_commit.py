"""A COMMIT whose reply was lost: settled rightly, once in effect, whatever became of the connection."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.sqlalchemy.cut import committing, cut, freeze_standbys, waiting
from tests.integration.sqlalchemy.load import Load
from tests.integration.sqlalchemy.sides import Undaunted
from tests.integration.sqlalchemy.watch import until

if TYPE_CHECKING:
    from tests.integration.sqlalchemy.tables import Tables

    from undaunted.lab import PostgresLab

pytestmark = pytest.mark.integration

CUTS, COMMITS = 6, 6


@pytest.mark.parametrize("kind", ["entry", "note", "count"])
def test_it_is_done_once(lab: PostgresLab, ledger: Tables, kind: str) -> None:
    """It was applied, and is still under way on the server when the connection is lost."""
    side: Any = Undaunted(ledger)
    mark = uuid.uuid4().hex
    said: list[Any] = []
    with lab.connect(lab.primary()) as server:
        server.execute("INSERT INTO counter (name, n) VALUES (%s, 0)", [mark])
        with freeze_standbys(lab):
            thread = threading.Thread(target=lambda: said.append(getattr(side, kind)(mark)), daemon=True)
            thread.start()
            lost = until(lambda: committing(server), what="a COMMIT that waits for a standby")
            assert cut(lost) == 1
            if kind != "note":  # with a free key nothing is sent that waits for it; it is looked for
                until(lambda: waiting(server), what="the key of the second try, which waits for the first")
        thread.join(30)
        assert not thread.is_alive()
        if kind == "count":
            select = "SELECT n FROM counter WHERE name = %s"
        else:
            select = f"SELECT count(*) FROM {kind} WHERE mark = %s"
        assert server.execute(select, [mark]).fetchone() == (1,)
    assert len(said) == 1
    assert said[0].value == (1 if kind == "count" else None)


@pytest.mark.alone
def test_cut_under_load(lab: PostgresLab, ledger: Tables) -> None:
    """Again and again every COMMIT that is under way loses its connection; then the standbys go on."""
    lost = 0
    with Load(Undaunted(ledger), lab) as load, lab.connect(lab.primary()) as server:
        for _ in range(CUTS):
            with freeze_standbys(lab):
                ports = until(lambda: len(found := committing(server)) >= COMMITS and found, what="COMMITs that wait")
                lost += cut(ports)
            load.go_on()
    audit = load.audit()
    print(f"{lost} COMMITs were applied and lost their reply: {audit}")
    assert lost >= CUTS * COMMITS
    audit.assert_clean()
