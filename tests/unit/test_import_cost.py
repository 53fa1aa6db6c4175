"""`import undaunted` is light: it stands in every start of every process of an application."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LIMIT_S = 0.060
ROUNDS = 15
HEAVY = {
    *("asyncio", "cassandra", "click", "django", "dns", "flask", "gevent"),
    *(
        "matplotlib",
        "mongoengine",
        "psycopg",
        "pymongo",
        "rich",
        "sqlalchemy",
        "tenacity",
        "undaunted.lab",
        "undaunted.mongodb",
        "undaunted.registry",
    ),
}


def took(statement: str) -> float:
    """Seconds of processor time: those of the wall are the machine's, which has other work to do."""
    process = subprocess.Popen([sys.executable, "-c", statement])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_costs_at_most_60_ms_over_the_bare_interpreter() -> None:
    took("import undaunted")  # writes the bytecode
    bare, ours = [], []
    for _ in range(ROUNDS):  # in turns, and the least of each: a busy machine only ever adds
        bare.append(took("pass"))
        ours.append(took("import undaunted"))
        if len(ours) > 3 and min(ours) - min(bare) <= LIMIT_S:
            break
    assert min(ours) - min(bare) <= LIMIT_S


@pytest.mark.parametrize(
    "statement",
    ["import undaunted", "import undaunted; undaunted.options, undaunted.deadline", "from undaunted import *"],
    ids=["bare", "options", "star"],
)
def test_imports_no_driver_no_framework_and_no_tenacity(statement: str) -> None:
    program = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded = set(shown.stdout.split())
    assert "undaunted.errors" in loaded
    assert not loaded & HEAVY
