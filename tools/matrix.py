"""Run the unit and contract tests on every Python found, on the oldest and the newest of what we stand on.

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
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
PINS = {"oldest": "requirements/oldest.txt", "newest": "requirements/test.txt"}
SUITES = ("tests/unit", "tests/contract")
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


def prepare(python: Path, folder: Path, pins: Path) -> Path:
    """Make the virtual environment of one cell unless it is there and as its files say; return its interpreter."""
    wanted = hashlib.sha256(
        pins.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + str(python).encode()
    ).hexdigest()
    stamp, inside = folder / "made-from", folder / "bin" / "python"
    if stamp.exists() and stamp.read_text() == wanted:
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    pip = [inside, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    for command in (
        [python, "-m", "venv", folder],
        [*pip, "--require-hashes", "-r", pins],
        [*pip, "--no-deps", "--no-build-isolation", "--no-index", "-e", ROOT],
    ):
        subprocess.run(command, check=True)
    stamp.write_text(wanted)
    return inside


def main(arguments: list[str]) -> int:
    """Run every cell and print one line each; `arguments` go to pytest. Returns 1 when a cell failed, 0 otherwise."""
    results: list[tuple[str, str, float]] = []
    suites = [suite for suite in SUITES if any((ROOT / suite).rglob("test_*.py"))]
    for version in VERSIONS:
        python = find(version)
        if python is None:
            results.append((f"Python {version}", "not on this machine", 0.0))
            continue
        for name, pins in PINS.items():
            cell = f"Python {version}, {name}"
            print(f"\n=== {cell} ({python})", flush=True)
            began = time.monotonic()
            try:
                inside = prepare(python, ROOT / ".matrix" / f"{version}-{name}", ROOT / pins)
            except subprocess.CalledProcessError as error:
                results.append((cell, f"cannot be installed (pip said {error.returncode})", time.monotonic() - began))
                continue
            tests = subprocess.run(
                [inside, "-m", "pytest", "-q", "--timeout=120", "-p", "no:cacheprovider", *suites, *arguments],
                cwd=ROOT,
                check=False,
            )
            verdict = "passed" if tests.returncode == 0 else f"FAILED (pytest said {tests.returncode})"
            results.append((cell, verdict, time.monotonic() - began))
    print("\n=== matrix")
    for cell, verdict, took in results:
        print(f"{cell:22} {verdict}" + (f", {took:.0f} s" if took else ""))
    return int(any(took and verdict != "passed" for _, verdict, took in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
