"""Draw what a command prints on a terminal as an SVG, for the README and the docs.

    python tools/terminal_picture.py docs/pictures/status.svg 'undaunted status' undaunted status --file lab.toml

The first argument is the file, the second the title, the rest the command. It runs on a terminal of its own, so it
prints its colours and tables. What it says on stderr, such as its progress, is left out; its exit code does not matter.
"""

from __future__ import annotations

import io
import os
import pty
import re
import struct
import subprocess
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

COLUMNS, LINES = 84, 60
_FONT_FACES = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
"""Fonts that rich would have a browser load from elsewhere."""


def printed(command: list[str]) -> str:
    """What the command prints, with its colours."""
    leader, follower = pty.openpty()
    ioctl(follower, TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(command, stdout=follower, stderr=subprocess.DEVNULL, stdin=follower, env=environment)
    os.close(follower)
    chunks: list[bytes] = []
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # how Linux tells that nobody holds the other end any more
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(leader)
    print(f"{' '.join(command)}: exit code {process.wait()}", file=sys.stderr)
    return b"".join(chunks).decode()


def main() -> None:
    """Draw it."""
    target, title, *command = sys.argv[1:]
    text = Text.from_ansi(printed(command).replace("\r\n", "\n").rstrip())
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(text)
    drawn = console.export_svg(title=title, code_format=_FONT_FACES.sub("", CONSOLE_SVG_FORMAT), unique_id="terminal")
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(drawn, encoding="utf-8")


main()
