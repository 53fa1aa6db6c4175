"""The demo, shortened: it runs the real thing, ends well, and leaves nothing behind however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

RUN = Path(__file__).parents[2] / "examples" / "demo" / "run.py"
WHOLE_S = 240.0
MARK = "UNDAUNTED_DEMO_TEST"

pytestmark = pytest.mark.integration


@contextlib.contextmanager
def demo(tmp_path: Path, *options: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """The demo in a session of its own, and a mark that every process that it starts inherits."""
    mark = f"{MARK}={tmp_path.name}-{os.getpid()}"
    name, _, value = mark.partition("=")
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(RUN), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env={**os.environ, name: value},
            start_new_session=True,
        )
    try:
        yield process, mark
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def marked(mark: str) -> list[int]:
    """Every living process that carries the mark."""
    found: list[int] = []
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdigit() and mark.encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found


def wait_for(condition: object, *, seconds: float) -> bool:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def short_demo(tmp_path: Path, backend: str) -> dict[str, Any]:
    """Run the short demo of one backend to its end; returns its ledger."""
    picture, ledger = tmp_path / "new" / "demo.png", tmp_path / "new" / "demo.json"
    options = ("--backend", backend, "--quick", "--picture", str(picture), "--json", str(ledger))
    with demo(tmp_path, *options) as (process, mark):
        status = process.wait(WHOLE_S)
        output = (tmp_path / "output").read_text()
        assert status == 0, output
        assert wait_for(lambda: not marked(mark), seconds=20), marked(mark)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert str(picture) in output
    assert "\x1b" not in output  # plain lines where there is no terminal
    told: dict[str, Any] = json.loads(ledger.read_text())
    assert told["sides"]["undaunted"]["is_clean"] is True
    for side in told["sides"].values():
        assert min(operation["acknowledged"] for operation in side["operations"].values()) > 0
    return told


def faults(told: dict[str, Any]) -> list[str]:
    return [fault["name"] for fault in told["faults"]]


@pytest.mark.slow
@pytest.mark.timeout(WHOLE_S + 60)
def test_a_short_demo_on_mongodb_ends_clean(tmp_path: Path) -> None:
    told = short_demo(tmp_path, "mongodb")
    assert faults(told) == ["SIGKILL", "SIGSTOP", "step-down"]
    assert all(fault["elected_s"] > fault["started_s"] for fault in told["faults"])
    for side in told["sides"].values():
        assert not any(operation["lost"] or operation["doubled"] for operation in side["operations"].values())
        assert side["longest_without_write_s"] > 0.5  # a killed primary is felt: the faults were real
    assert set(told["sides"]["undaunted"]["operations"]["scan"]["notes"]) == {"exact"}


@pytest.mark.slow
@pytest.mark.timeout(WHOLE_S + 60)
def test_a_short_demo_on_cassandra_tells_what_it_cannot_know_and_keeps_the_rest(tmp_path: Path) -> None:
    told = short_demo(tmp_path, "cassandra")
    assert faults(told) == ["SIGKILL", "SIGSTOP", "clean restart"]
    operations = told["sides"]["undaunted"]["operations"]
    assert {kind for kind, each in operations.items() if each["raised"]} <= {"append", "counter", "conditional"}


@pytest.mark.slow
@pytest.mark.timeout(WHOLE_S + 60)
def test_a_short_demo_on_postgresql_ends_clean_where_the_plain_side_counts_twice(tmp_path: Path) -> None:
    told = short_demo(tmp_path, "postgresql")
    assert faults(told) == ["SIGKILL", "SIGSTOP", "cut at COMMIT"]
    assert all(fault["elected_s"] > fault["started_s"] for fault in told["faults"][:2])
    undaunted, plain = told["sides"]["undaunted"], told["sides"]["plain"]
    assert not any(each["raised"] for each in undaunted["operations"].values())
    assert undaunted["longest_without_write_s"] > 0.5  # a killed primary is felt: the faults were real
    assert set(undaunted["operations"]["scan"]["notes"]) == {"exact"}
    # COMMITs were executed whose replies were lost, so the faults were those that they are said to be.
    assert plain["operations"]["transfer"]["doubled"] or plain["operations"]["deposit"]["applied_though_raised"]


@pytest.mark.timeout(WHOLE_S)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_demo_that_is_interrupted_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, status: int) -> None:
    with demo(tmp_path, "--backend", "mongodb", "--quick") as (process, mark):
        output = tmp_path / "output"
        assert wait_for(lambda: "writes/s" in output.read_text(), seconds=120), output.read_text()
        assert len(marked(mark)) >= 7  # itself, both shops, three servers and their guardian
        os.kill(process.pid, number)
        assert process.wait(60) == status, output.read_text()
        assert "Traceback" not in output.read_text()
        assert wait_for(lambda: not marked(mark), seconds=30), marked(mark)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--seconds", "3"], "give 20 to 3600"),
        (["--picture", "/proc/nowhere/demo.png"], "cannot be written"),
        (["--json", "."], "cannot be written"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_started(tmp_path: Path, options: list[str], says: str) -> None:
    started_s = time.monotonic()
    with demo(tmp_path, *options) as (process, _):
        assert process.wait(60) == 2
    assert says in (tmp_path / "output").read_text()
    assert time.monotonic() - started_s < 30
