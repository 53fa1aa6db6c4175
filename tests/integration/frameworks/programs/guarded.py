"""Runs a program; kills it, with all that it has forked, once stdin ends: whoever held the other end is gone.

Usage: guarded.py PROGRAM [ARGUMENT...], as the leader of a process group of its own. SIGTERM goes on to the program.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def watch() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
signal.signal(signal.SIGTERM, lambda *_: program.terminate())
threading.Thread(target=watch, daemon=True).start()
sys.exit(program.wait())
