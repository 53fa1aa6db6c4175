"""A process may start before its cluster: models work, the first call waits as long as it may, and later ones too."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.cassandra.conftest import KEYSPACE
from tests.integration.cassandra.watch import usable
from tests.integration.speed import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.lab import CassandraLab

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.slow]

NOISE_S = 1.0
"""What a busy machine may add: three servers start on it while these calls end."""

APPLICATION = textwrap.dedent("""
    import json, sys, time

    import undaunted
    from undaunted.cassandra import Model, OutcomeUnknown, columns

    class Item(Model):
        __undaunted__ = {"cluster": "shop"}
        __table_name__ = "item"
        key = columns.Text(primary_key=True)
        n = columns.Integer()

    undaunted.configure(json.loads(sys.argv[1]))
    items = [Item(key=f"{sys.argv[2]}-{n}", n=n) for n in range(3)]
    items[0].validate()

    def tell(**what):
        print(json.dumps(what), flush=True)

    for call in (items[0].save, Item.objects(key=items[1].key).first):
        began_s = time.monotonic()
        try:
            with undaunted.deadline("1s"):
                call()
        except undaunted.UndauntedError as error:
            tell(step="refused", error=type(error).__name__, unknown=isinstance(error, OutcomeUnknown),
                 took_s=time.monotonic() - began_s, said=str(error))
    tell(step="waiting")
    for item in items:
        item.save()
    tell(step="saved", at_s=time.monotonic(), found=[Item.objects.get(key=item.key).n for item in items])
    undaunted.close()
    tell(step="done")
""")


def test_before_its_cluster(lab: CassandraLab, settings: Callable[..., dict[str, Any]]) -> None:
    for node in lab.nodes:
        lab.kill(node)
    declared = json.dumps(settings(retry={"deadline": "90s"}))
    arguments = [sys.executable, "-c", APPLICATION, declared, f"start-{time.monotonic()}"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    told: list[dict[str, Any]] = []
    usable_s = 0.0
    try:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(json.loads(line))
            if told[-1]["step"] == "waiting":
                lab.start()
                usable_s = usable(lab, KEYSPACE)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    assert process.returncode == 0, errors
    refused = [what for what in told if what["step"] == "refused"]
    assert len(refused) == 2, told
    for what in refused:
        assert not what["unknown"], "nothing was sent, so nothing is unknown"
        within(what["took_s"], 1.1 + NOISE_S, what)
        assert "setup" not in what["said"], what
        assert "registry" not in what["said"], what
    (saved,) = [what for what in told if what["step"] == "saved"]
    print(f"saved {saved['at_s'] - usable_s:.3f} s after the first usable node; refused: {refused[0]['said']}")
    assert saved["found"] == [0, 1, 2]
    within(saved["at_s"], usable_s + 2.0 + NOISE_S)
    assert told[-1] == {"step": "done"}
