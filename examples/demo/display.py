"""What is seen while the demo runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from undaunted.lab.timeline import rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from script import Faults, Sightings
    from sides import Side
    from typing_extensions import Self

TURN_S = 0.25
LINE_S = 2.0
SILENT_S = 1.5
BARS = " ▁▂▃▄▅▆▇█"
WELL, HUNG, GONE = "green", "bold cyan", "bold red"
COLOURS = {"primary": "bold green", "secondary": WELL, "replica": WELL, "up": WELL, "frozen": HUNG, "down": GONE}


class Pulse:
    """What a side did lately; reads each line of the ledger once."""

    def __init__(self, side: Side) -> None:
        self.title = side.title
        self._kinds = side.kinds
        self._ledger = side.ledger
        self._read = 0
        self._writes: list[float] = []
        self._reads: list[float] = []
        self._raised = 0
        self._last_error = ""

    def refresh(self) -> None:
        """Read what is new."""
        fresh = self._ledger.ended(since=self._read)
        self._read += len(fresh)
        for entry in fresh:
            if entry.error is not None:
                self._raised += 1
                self._last_error = f"{entry.operation}: {entry.error}"
            elif entry.ended_s is not None and entry.operation in self._kinds.writes:
                self._writes.append(entry.ended_s)
            elif entry.ended_s is not None and entry.operation in self._kinds.reads:
                self._reads.append(entry.ended_s)

    def cells(self, now_s: float) -> list[Text]:
        """A row of the live table."""
        silent_s = self._silent_s(now_s)
        raised = Text(str(self._raised), style="bold red" if self._raised else "green")
        silence = Text(f"{silent_s:4.1f} s", style="bold red") if silent_s > SILENT_S else Text("", style="dim")
        return [
            Text(self.title, style="bold"),
            Text(str(_lately(self._writes, now_s))),
            Text(str(_lately(self._reads, now_s))),
            raised,
            silence,
            Text(_bars(self._writes, now_s), style="red" if silent_s > SILENT_S else "green"),
            Text(self._last_error, style="red"),
        ]

    def line(self, now_s: float) -> str:
        """The same in plain words."""
        silent_s = self._silent_s(now_s)
        silence = f", {silent_s:.1f} s without a write" if silent_s > SILENT_S else ""
        writes, reads = _lately(self._writes, now_s), _lately(self._reads, now_s)
        return f"{self.title}: {writes} writes/s, {reads} reads/s, {self._raised} raised{silence}"

    def _silent_s(self, now_s: float) -> float:
        return now_s - self._writes[-1] if self._writes else 0.0


def _lately(moments: Sequence[float], now_s: float) -> int:
    """How many there were in the last second."""
    return round(rates(moments[-2000:], started_s=now_s - 1.0, ended_s=now_s, width_s=1.0)[0])


def _bars(moments: Sequence[float], now_s: float, *, seconds: int = 30) -> str:
    """The last half minute, a bar a second."""
    curve = rates(moments[-20_000:], started_s=now_s - seconds, ended_s=now_s, width_s=1.0)
    top = max([1.0, *curve])
    return "".join(BARS[round(rate / top * (len(BARS) - 1))] for rate in curve)


class Display:
    """Shows both sides, the nodes and the fault."""

    def __init__(self, console: Console, sides: Sequence[Side], faults: Faults, sightings: Sightings) -> None:
        self._console = console
        self._pulses = [Pulse(side) for side in sides]
        self._faults = faults
        self._sightings = sightings
        self._opened_s = time.monotonic()
        self._next_line_s = self._opened_s
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        self._opened_s = self._next_line_s = time.monotonic()
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._console.print(
            f"{time.monotonic() - self._opened_s:6.1f} s  {line}", highlight=False, markup=False, soft_wrap=True
        )

    def turn(self) -> None:
        """Show the state of things as it is now."""
        now_s = time.monotonic()
        for pulse in self._pulses:
            pulse.refresh()
        if self._live is not None:
            self._live.update(self._table(now_s), refresh=True)
        elif now_s >= self._next_line_s:
            self._next_line_s = now_s + LINE_S
            sides = "; ".join(pulse.line(now_s) for pulse in self._pulses)
            self.say(f"{sides}; {self._sightings.line()}, fault: {self._faults.current}")

    def _table(self, now_s: float) -> Group:
        table = Table(expand=True)
        for name in ("", "writes/s", "reads/s", "raised", "no write for", "writes, last 30 s", "last error"):
            table.add_column(name, no_wrap=True)
        for pulse in self._pulses:
            table.add_row(*pulse.cells(now_s))
        head = Text(f"{now_s - self._opened_s:5.1f} s   fault: ")
        head.append(self._faults.current, style="dim" if self._faults.current == "none" else "bold red")
        head.append("   nodes: ")
        for name, role in sorted(self._sightings.roles.items()):
            head.append(f"{name} {role}  ", style=COLOURS.get(role, "yellow"))
        return Group(head, table)
