"""Run the tests without node faults on every Python found, on the oldest and the newest of what we stand on.

Both are cassandra-driver; its fork scylla-driver has the same package name, and so a third environment, in which only
what concerns Cassandra is run. The integrations meet Django 4.2, 5.2 and the newest, Flask 3.0 and the newest: the
oldest in the oldest cells, and the newest Django on the newest Pythons.

Each cell of the matrix is a virtual environment of its own under ``.matrix/``, kept for the next run and renewed when
its requirement file or pyproject.toml changes. A Python that is not on this machine is told, not failed. Standard
library only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SUITES = ("tests/unit", "tests/contract", "tests/frameworks")
CASSANDRA = ("tests/unit/cassandra", "tests/unit/testing/cql", "tests/contract")


@dataclass(frozen=True)
class Kind:
    """What is installed in a cell, and what is run there; `instead` comes in the place of the package `of`."""

    name: str
    pins: str
    suites: tuple[str, ...] = SUITES
    of: str = ""
    instead: str = ""


KINDS = (
    Kind("oldest", "requirements/oldest.txt"),
    Kind("newest", "requirements/test.txt"),
    Kind("scylla-driver", "requirements/test.txt", CASSANDRA, of="cassandra-driver", instead="requirements/scylla.txt"),
)
_ASK = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2], sys.executable)"


def candidates(version: str) -> list[Path]:
    """Every place where an interpreter of this version may stand: on PATH, then as pyenv keeps it, the newest first."""
    on_path = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    kept = sorted(pyenv.glob(f"{version}.*/bin/python"), key=lambda path: path.parts[-3].split("."), reverse=True)
    return [*([Path(on_path)] if on_path else []), *kept]


def find(version: str) -> Path | None:
    """The first candidate that is what its name says and can make a virtual environment; a shim may lead nowhere."""
    for path in candidates(version):
        answer = subprocess.run([path, "-c", _ASK], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.split()[0] == version:
            return Path(answer.stdout.split(maxsplit=1)[1].strip())
    return None


def prepare(python: Path, folder: Path, kind: Kind) -> Path:
    """Make the virtual environment of one cell unless it is there and as its files say; return its interpreter."""
    files = [ROOT / name for name in ("pyproject.toml", kind.pins, kind.instead) if name]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in files) + str(python).encode()).hexdigest()
    stamp, inside = folder / "made-from", folder / "bin" / "python"
    if stamp.exists() and stamp.read_text() == wanted:
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    pip = [inside, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    replacing = [
        [*pip, "uninstall", "--yes", kind.of],
        [*pip, "install", "--require-hashes", "-r", ROOT / kind.instead],
    ]
    for command in (
        [python, "-m", "venv", folder],
        [*pip, "install", "--require-hashes", "-r", ROOT / kind.pins],
        *(replacing if kind.instead else []),
        [*pip, "install", "--no-deps", "--no-build-isolation", "--no-index", "-e", ROOT],
    ):
        subprocess.run(command, check=True)
    stamp.write_text(wanted)
    return inside


def main(arguments: list[str]) -> int:
    """Run every cell and print one line each; `arguments` go to pytest. Returns 1 when a cell failed, 0 otherwise."""
    results: list[tuple[str, str, float]] = []
    for version in VERSIONS:
        python = find(version)
        if python is None:
            results.append((f"Python {version}", "not on this machine", 0.0))
            continue
        for kind in KINDS:
            cell = f"Python {version}, {kind.name}"
            print(f"\n=== {cell} ({python})", flush=True)
            began = time.monotonic()
            try:
                inside = prepare(python, ROOT / ".matrix" / f"{version}-{kind.name}", kind)
            except subprocess.CalledProcessError as error:
                results.append((cell, f"cannot be installed (pip said {error.returncode})", time.monotonic() - began))
                continue
            tests = subprocess.run(
                [inside, "-m", "pytest", "-q", "--timeout=120", "-p", "no:cacheprovider", *kind.suites, *arguments],
                cwd=ROOT,
                check=False,
            )
            verdict = "passed" if tests.returncode == 0 else f"FAILED (pytest said {tests.returncode})"
            results.append((cell, verdict, time.monotonic() - began))
    print("\n=== matrix")
    for cell, verdict, took in results:
        print(f"{cell:26} {verdict}" + (f", {took:.0f} s" if took else ""))
    return int(any(took and verdict != "passed" for _, verdict, took in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
