"""Runs the same small shop twice on one cluster, on the plain ORM and on undaunted, and breaks the cluster's nodes.

``python examples/demo/run.py`` takes about two minutes for each backend, prints a ledger that is checked against the
database, and draws both timelines. Nothing in it is decided beforehand but the faults.

Ends with 0 when undaunted lost nothing, doubled nothing and raised nothing; with 1 when it did; with 2 when the demo
itself could not run; with 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import report
from backends import BACKENDS, stage_of
from display import TURN_S, Display
from rich.console import Console
from script import QUICK_S, SHORTEST_S, USUAL_S, Faults, Plan, Sightings
from sides import Side

from undaunted.lab import LabError
from undaunted.lab.picture import Track, draw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.stage import Stage

    from undaunted.lab.lab import Lab

CLEAN, BROKEN, COULD_NOT_RUN, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--backend", choices=[*BACKENDS, "all"], default="all", help="which clusters are broken")
    parser.add_argument("--quick", action="store_true", help=f"a load of {QUICK_S:.0f} s instead of {USUAL_S:.0f} s")
    parser.add_argument("--seconds", type=float, help=f"the length of the load, at least {SHORTEST_S:.0f}")
    parser.add_argument("--picture", type=Path, default=Path("build/demo.png"), help="where the picture goes")
    parser.add_argument("--json", type=Path, help="where the ledger goes as JSON")
    found = parser.parse_args(argv)
    if found.seconds is None:
        found.seconds = QUICK_S if found.quick else USUAL_S
    if not SHORTEST_S <= found.seconds <= 3600:
        parser.error(f"--seconds {found.seconds:g}: give {SHORTEST_S:.0f} to 3600, so that each fault has its time")
    backends = list(BACKENDS) if found.backend == "all" else [found.backend]
    for path in (found.picture, found.json):
        for backend in backends if path is not None else []:
            _make_room(parser, _named(path, backend, found))
    return found


def _make_room(parser: argparse.ArgumentParser, path: Path) -> None:
    """Find out before the two minutes, and not after, that a file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        parser.error(f"{path} cannot be written: {error.strerror}")


class Demo:
    """One run, on a lab that is open."""

    def __init__(
        self, console: Console, stage: Stage, lab: Lab, sides: list[Side], *, options: argparse.Namespace
    ) -> None:
        self._stage = stage
        self._lab = lab
        self.sides = sides
        self.sightings = Sightings(lab, has_primary=stage.has_primary)
        plan = Plan.within(options.seconds, is_quick=options.quick)
        self.faults = Faults(stage, lab, plan, wait_until=self._wait_until, say=self._say)
        self._display = Display(console, sides, self.faults, self.sightings)
        self.started_s = self.ended_s = 0.0

    def run(self) -> None:
        """Open both shops, strike by plan, close both shops, mend every node."""
        self.sightings.begin()
        with self._display:
            self.started_s = time.monotonic()
            for side in self.sides:
                side.open()
            self.faults.run(self.started_s)
            self.ended_s = time.monotonic()
            for side in self.sides:
                side.close()
            self._say("closing: everybody finishes what they are at")
        for side in self.sides:
            side.wait_done()
        self.sightings.end()
        self._lab.heal()

    def judge(self) -> dict[str, report.Judgement]:
        """Hold each ledger against its database."""
        return {
            side.name: report.judge(
                self._stage,
                self._lab,
                title=side.title,
                database=side.database,
                entries=side.ledger.entries(),
                started_s=self.started_s,
                ended_s=self.ended_s,
                episodes=self.faults.episodes,
            )
            for side in self.sides
        }

    def draw(self, path: Path) -> Path:
        """Draw both timelines."""
        kinds = self._stage.kinds
        tracks: list[Track] = []
        for side in self.sides:
            entries = side.ledger.entries()
            raised, unknown = report.split_raised(entries, kinds)
            writes, reads = report.moments(entries, kinds.writes), report.moments(entries, kinds.reads)
            tracks.append(Track(name=side.title, writes=writes, reads=reads, raised=raised, unknown=unknown))
        return draw(
            path,
            tracks,
            started_s=self.started_s,
            ended_s=self.ended_s,
            episodes=self.faults.episodes,
            sightings=self.sightings.seen,
        )

    def _wait_until(self, moment_s: float) -> None:
        """Show what happens until then, and notice what goes wrong."""
        while True:
            self._display.turn()
            for side in self.sides:
                side.check()
            if self.sightings.failure is not None:
                raise self.sightings.failure
            left_s = moment_s - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(TURN_S, left_s))

    def _say(self, line: str) -> None:
        self._display.say(line)


def run_all(console: Console, options: argparse.Namespace) -> int:
    """Run the demo on each backend that was asked for; the worst result counts."""
    chosen = list(BACKENDS) if options.backend == "all" else [options.backend]
    worst = CLEAN
    for backend in chosen:
        if len(chosen) > 1:
            console.rule(backend)
        worst = max(worst, run(console, options, backend))
    return worst


def _named(path: Path, backend: str, options: argparse.Namespace) -> Path:
    """The file of one backend, where there are files of several."""
    if options.backend != "all" or not path.name:  # "." is no file, which is told when it is opened
        return path
    return path.with_name(f"{path.stem}-{backend}{path.suffix}")


def run(console: Console, options: argparse.Namespace, backend: str) -> int:
    """Run the demo on one backend and tell how it went."""
    with contextlib.ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="undaunted-demo-")))
        stage = stage_of(backend)
        lab = stage.lab()
        stack.callback(lab.close)
        lab.open(progress=lambda step: console.print(f"lab: {step}", highlight=False, markup=False))
        sides: list[Side] = []
        for name in ("plain", "undaunted"):
            side = Side(name, stage, lab, log=logs / name)
            stack.callback(side.end)
            sides.append(side)
        for side in sides:
            side.wait_ready()
        demo = Demo(console, stage, lab, sides, options=options)
        demo.run()
        judgements = demo.judge()
        report.show(console, list(judgements.values()), demo.faults.episodes)
        if options.json is not None:
            data = report.as_data(judgements, demo.faults.episodes, started_s=demo.started_s)
            _named(options.json, backend, options).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        console.print(
            f"picture: {demo.draw(_named(options.picture, backend, options)).resolve()}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
        if judgements["undaunted"].is_clean:
            unknown = judgements["undaunted"].told_unknown
            but = f" but {unknown} unknown outcomes, of what may not run twice" if unknown else ""
            console.print(f"undaunted lost nothing, applied nothing twice and raised nothing{but}.", highlight=False)
            return CLEAN
        console.print("undaunted did not keep its promise in this run; see the ledger.", style="bold red")
        if (story := sides[1].first_error()) is not None:
            console.print(story, highlight=False, markup=False)
        return BROKEN


def _terminate(_number: int, _frame: object) -> None:
    sys.exit(TERMINATED)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; see the module's docstring for what it returns."""
    options = arguments(argv)
    signal.signal(signal.SIGTERM, _terminate)
    console = Console() if sys.stdout.isatty() else Console(width=100)
    try:
        return run_all(console, options)
    except KeyboardInterrupt:
        console.print("interrupted: every server and both shops are ended", highlight=False)
        return INTERRUPTED
    except (LabError, OSError) as error:
        console.print(f"The demo could not run: {error}", style="bold red", highlight=False, markup=False)
        return COULD_NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
