"""What surrounds the engine: what it imports and when, threads, and forks."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from undaunted.core.operation import Kind, Operation
from undaunted.engine.sync import run

if TYPE_CHECKING:
    from undaunted.engine.call import Call
    from undaunted.engine.guard import Guard

READ = Operation(name="find", kind=Kind.READ)

SETUP = """
import sys
from undaunted import errors
from undaunted.core.attempt import Failure
from undaunted.core.budget import Budget
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind, Operation
from undaunted.core.outage import Outage
from undaunted.core.policy import BudgetPolicy, Policy
from undaunted.engine.guard import ErrorClasses, Guard
from undaunted.engine import sync
fault = Fault.PERMANENT
guard = Guard(
    cluster="c", backend="b", policy=Policy(), budget=Budget(BudgetPolicy()), outage=Outage(),
    classify=lambda error, call: Failure(fault=fault),
    errors=ErrorClasses(
        outcome_unknown=errors.OutcomeUnknown, deadline_exceeded=errors.DeadlineExceeded,
        no_node_available=errors.NoNodeAvailable, budget_exhausted=errors.BudgetExhausted, exhausted=errors.Exhausted,
    ),
)
read = Operation(name="find", kind=Kind.READ)
def fail(call):
    raise OSError
"""


def outcome(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SETUP + script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_neither_success_nor_a_wrong_request_imports_tenacity_and_a_retry_does() -> None:
    script = """
loaded = lambda: "tenacity" in sys.modules
print(loaded())
sync.run(guard, read, lambda call: 1)
print(loaded(), "undaunted.engine.recovery" in sys.modules)
try: sync.run(guard, read, fail)
except OSError: print(loaded())
fault = Fault.UNKNOWN
try: sync.run(guard, read, fail)
except errors.Exhausted: print(loaded())
"""
    assert outcome(script).split() == ["False", "False", "False", "False", "True"]


def test_the_engine_for_threads_imports_neither_asyncio_nor_logging() -> None:
    assert outcome(
        "sync.run(guard, read, lambda call: 1); print('asyncio' in sys.modules, 'logging' in sys.modules)"
    ) == ("False False")


def test_64_threads_each_recover_their_own(guard: Guard) -> None:
    wrong: list[object] = []
    gate = threading.Barrier(64)

    def work(number: int) -> None:
        gate.wait()
        for turn in range(10):
            ran = 0

            def body(call: Call, turn: int = turn) -> tuple[int, int]:
                nonlocal ran
                ran += 1
                if ran <= (number + turn) % 4:
                    raise ConnectionResetError
                return number, turn

            found = run(guard, READ, body)
            if found != (number, turn) or ran != (number + turn) % 4 + 1:
                wrong.append((found, ran))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(64)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []


def test_a_forked_child_starts_anew(guard: Guard) -> None:
    guard.budget.pay(9_999)
    guard.outage.all_lost()
    with guard.budget._lock, guard.outage._lock:  # as other threads of the parent would have them
        guard.after_fork_in_child()
        assert guard.outage.is_over
        assert guard.budget.tokens == 10_000
        assert run(guard, READ, lambda call: "served") == "served"


def test_a_real_fork_while_locks_are_held_does_not_hang() -> None:
    script = """
import os, threading, time
held, release = threading.Event(), threading.Event()
def hold():
    with guard.budget._lock, guard.outage._lock:
        held.set(); release.wait()
thread = threading.Thread(target=hold); thread.start(); held.wait()
child = os.fork()
if child == 0:
    guard.after_fork_in_child()
    fault = Fault.UNKNOWN
    try: sync.run(guard, read, fail)
    except errors.Exhausted: os._exit(7)
    os._exit(1)
release.set(); thread.join()
until = time.monotonic() + 30
while True:
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid: print(os.waitstatus_to_exitcode(status)); break
    if time.monotonic() > until: os.kill(child, 9); os.waitpid(child, 0); print("hung"); break
    time.sleep(0.01)
"""
    assert outcome(script) == "7"


def test_a_guard_is_a_value_that_can_be_varied(guard: Guard) -> None:
    other = replace(guard, cluster="other")
    assert other.budget is guard.budget
    assert other.cluster == "other"
