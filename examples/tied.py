"""Becomes another Python program, which ends when the process that started it ends, however that one ends.

``python tied.py PARENT -m gunicorn ...``, with the process id of the one who starts it. Linux only, as the labs are.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for a SIGTERM at the parent's end, and become the program."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(sys.argv[1]):
        return  # it ended in the meantime
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])  # noqa: S606  # a program of the caller's choice


if __name__ == "__main__":
    main()
