"""A process may start before its cluster: imports and documents work, and the first call waits as long as it may."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.speed import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.lab import MongoLab

pytestmark = pytest.mark.integration

APPLICATION = textwrap.dedent("""
    import json, sys, time

    began_s = time.monotonic()
    import undaunted
    from undaunted.mongodb import Document, OutcomeUnknown, fields

    class Order(Document):
        __undaunted__ = {"cluster": "shop"}
        meta = {"indexes": ["k"]}
        k = fields.IntField(unique=True)

    undaunted.configure(json.loads(sys.argv[1]))
    orders = [Order(k=k) for k in range(3)]
    orders[0].k = 7
    orders[0].validate()

    def tell(**what):
        print(json.dumps(what), flush=True)

    tell(step="imported", took_s=time.monotonic() - began_s)
    began_s = time.monotonic()
    try:
        with undaunted.deadline("1s"):
            orders[0].save()
    except undaunted.UndauntedError as error:
        tell(step="refused", error=type(error).__name__, unknown=isinstance(error, OutcomeUnknown),
             took_s=time.monotonic() - began_s)
    began_s = time.monotonic()
    try:
        with undaunted.deadline("1s"):
            Order.objects.count()
    except undaunted.UndauntedError as error:
        tell(step="refused", error=type(error).__name__, unknown=isinstance(error, OutcomeUnknown),
             took_s=time.monotonic() - began_s)
    tell(step="waiting")
    for order in orders:
        order.save()
    tell(step="saved", at_s=time.monotonic(), keys=sorted(order.k for order in Order.objects))
    assert "k_1" in Order._get_collection().index_information()
    sys.stdin.read()
    for order in Order.objects:
        order.update(inc__k=100)
    tell(step="done", keys=sorted(order.k for order in Order.objects))
""")


@pytest.mark.alone
def test_before_its_cluster(lab: MongoLab, settings: Callable[..., dict[str, Any]]) -> None:
    for node in lab.nodes:
        lab.kill(node)
    process = subprocess.Popen(
        [sys.executable, "-c", APPLICATION, json.dumps(settings(retry={"deadline": "60s"}))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None

        def told(step: str) -> dict[str, Any]:
            what: dict[str, Any] = json.loads(process.stdout.readline() or "{}")  # type: ignore[union-attr]
            assert what.get("step") == step, what
            return what

        told("imported")
        for _ in range(2):
            refused = told("refused")
            assert not refused["unknown"]
            within(refused["took_s"], 1.0 + 0.1 + 0.5)
        told("waiting")
        lab.start()
        visible_s = lab.wait_primary()
        saved = told("saved")
        assert saved["keys"] == [1, 2, 7]
        print(f"first save {saved['at_s'] - visible_s:.3f} s after the first primary")
        within(saved["at_s"], visible_s + 2.0 + 0.5)
        lab.step_down()
        process.stdin.close()  # type: ignore[union-attr]
        assert told("done")["keys"] == [101, 102, 107]
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def test_import_touches_no_network(settings: Callable[..., dict[str, Any]], lab: MongoLab) -> None:
    """Settings and models alone open no socket and start no thread."""
    program = textwrap.dedent("""
        import json, socket, sys, threading
        def refuse(*args, **kwargs):
            raise SystemExit("a connection was opened")
        socket.socket.connect = refuse
        import undaunted
        from undaunted.mongodb import Document, fields
        class Order(Document):
            __undaunted__ = {"cluster": "shop"}
            k = fields.IntField()
        undaunted.configure(json.loads(sys.argv[1]))
        Order(k=1).validate()
        undaunted.status()
        assert threading.active_count() == 1, threading.enumerate()
    """)
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(settings())], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert time.monotonic() - began_s < 30
