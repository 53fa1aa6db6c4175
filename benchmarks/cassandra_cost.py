"""What undaunted adds to a cqlengine operation that succeeds, paired with plain cqlengine in one run.

``python benchmarks/cassandra_cost.py`` measures twice: on a session that answers at once, where nothing but Python is
left, and on a real cluster of three nodes of the lab, where client CPU is what counts, since the nodes share the cores.
Both sides take turns call by call, so that a slow moment of the machine strikes both. ``--write`` writes the tables to
``docs/_generated/cost-cassandra.md``; ``--real no`` leaves the cluster out, ``--real only`` measures nothing else.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

os.environ["CQLENG_ALLOW_SCHEMA_MANAGEMENT"] = "1"

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, ResponseFuture
from cassandra.cqlengine import columns, connection, models
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy
from cassandra.query import dict_factory

import undaunted
from undaunted.cassandra import Model

if TYPE_CHECKING:
    from collections.abc import Callable


def model_on(base: type, name: str, **where: Any) -> Any:
    """The benchmark's model on a base."""
    fields: dict[str, Any] = {each: columns.Integer(default=0) for each in ("a", "b", "c", "d")}
    body = {"key": columns.Integer(primary_key=True), **fields, "name": columns.Text(default="x"), **where}
    return type(base)(name, (base,), {**body, "__keyspace__": "bench", "__table_name__": "item"})


def operations(model: Any) -> dict[str, Callable[[], Any]]:
    """The operations, each ready to be called again and again."""
    row = model.create(key=1)
    numbers = iter(range(1, 10**9))

    def change() -> None:
        row.a = next(numbers)
        row.save()

    return {
        "get": lambda: model.objects.get(key=1),
        "create": lambda: model.create(key=2, name="new"),
        "save changed": change,
        "update": lambda: model.objects(key=1).update(b=3),
    }


def compare(plain: Any, ours: Any, calls: int) -> list[dict[str, Any]]:
    """For each operation the wall and CPU time of both sides, in microseconds, call by call in turn."""
    sides = (operations(plain), operations(ours))
    gc.collect()
    gc.freeze()
    rows = []
    for name in sides[0]:
        wall: tuple[list[int], list[int]] = ([], [])
        cpu: tuple[list[int], list[int]] = ([], [])
        for turn in range(calls + 50):
            for side in (0, 1) if turn % 2 else (1, 0):
                call = sides[side][name]
                cpu_began, wall_began = time.process_time_ns(), time.perf_counter_ns()
                call()
                wall_ended, cpu_ended = time.perf_counter_ns(), time.process_time_ns()
                if turn >= 50:
                    wall[side].append(wall_ended - wall_began)
                    cpu[side].append(cpu_ended - cpu_began)
        rows.append({"name": name, "wall": wall, "cpu": cpu})
    gc.unfreeze()
    return rows


def added(pair: tuple[list[int], list[int]]) -> tuple[float, float, float, float]:
    """Both medians, the difference of them, and the half-width of its spread (quartiles of paired differences)."""
    theirs, mine = (statistics.median(each) / 1e3 for each in pair)
    differences = statistics.quantiles((mine_ns - theirs_ns) / 1e3 for theirs_ns, mine_ns in zip(*pair, strict=True))
    spread = (differences[2] - differences[0]) / 2
    return theirs, mine, statistics.median(differences), spread


def table(title: str, rows: list[dict[str, Any]], what: str) -> list[str]:
    """One table of Markdown."""
    lines = [f"{title}; microseconds of {'client CPU' if what == 'cpu' else 'wall time'} an operation.", ""]
    lines += ["| operation | plain | undaunted | added (median) | spread | ratio |", "|---|---|---|---|---|---|"]
    for row in rows:
        plain, ours, more, spread = added(row[what])
        lines.append(f"| {row['name']} | {plain:.0f} | {ours:.0f} | {more:+.1f} | {spread:.1f} | {ours / plain:.3f} |")
    return [*lines, ""]


class AtOnce:
    """A session of the driver that answers at once: what is left is Python before and behind it."""

    def __init__(self) -> None:
        self.cluster = Cluster(
            ["127.0.0.1"],
            execution_profiles={
                EXEC_PROFILE_DEFAULT: ExecutionProfile(
                    load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy("dc1")), row_factory=dict_factory
                )
            },
        )
        self.keyspace, self.hosts, self.row_factory = None, [], dict_factory
        self.encoder = SimpleNamespace(mapping={}, cql_encode_tuple=None)

    def execute_async(self, query: Any, parameters: Any = None, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        """As the driver's, but that the answer is there already."""
        future = ResponseFuture.__new__(ResponseFuture)
        future.__dict__.update(_READY)
        future.attempted_hosts = ["node"]
        rows = [{"key": 1, "a": 1, "b": 2, "c": 3, "d": 4, "name": "x"}] if query.query_string[0] == "S" else None
        future._final_result = rows  # noqa: SLF001
        return future

    def execute(self, query: Any, parameters: Any = None, timeout: Any = None, **kwargs: Any) -> Any:  # noqa: ARG002
        """As the driver's."""
        return self.execute_async(query, parameters).result()


_READY = {
    "_event": SimpleNamespace(wait=lambda: None, is_set=lambda: True), "_col_names": [], "_col_types": [],
    "_paging_state": None, "message": SimpleNamespace(timestamp=1), "row_factory": dict_factory, "query": None,
}  # fmt: skip


def on_a_session_that_answers_at_once(calls: int) -> list[str]:
    """Nothing but Python."""
    session = AtOnce()
    connection.register_connection("plain", session=session)
    undaunted.configure({"clusters": {"bench": {"backend": "cassandra", "nodes": ["127.0.0.1:1"]}}})
    link = connection.get_connection("bench").session.link
    link.close()  # it is given a session, and shall look for none
    connection.get_connection("bench").session.guard.outage.reset()
    link.session, link.cluster = session, session.cluster
    link.policy = SimpleNamespace(nearest=lambda _: "node")
    link.profiles = {(True, None): None, (False, None): None}
    plain = model_on(models.Model, "Plain", __connection__="plain")
    sides = {
        "A model with a base of ours": model_on(Model, "Ours", __undaunted__={"cluster": "bench"}),
        "An untouched model, protected by its connection": model_on(models.Model, "Untouched", __connection__="bench"),
    }
    lines = []
    for name, model in sides.items():
        rows = compare(plain, model, calls)
        lines += table(f"{name}, on a session that answers at once, {calls} calls", rows, "wall")
    undaunted.close()
    connection.unregister_connection("plain")
    return lines


def on_a_real_cluster(calls: int, threads: int) -> list[str]:
    """Three nodes of the lab, LOCAL_QUORUM, replication factor 3."""
    from undaunted.lab.cassandra import CassandraLab  # noqa: PLC0415

    with CassandraLab() as lab:
        lab.create_keyspace("bench")
        settings = lab.settings_for("bench", keyspace="bench")
        undaunted.configure(settings)
        profile = ExecutionProfile(
            load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy("dc1")), consistency_level=6,
            row_factory=dict_factory,
        )  # fmt: skip
        addresses = [address.rpartition(":")[0] for address in settings["clusters"]["bench"]["nodes"]]
        connection.register_connection(
            "plain", hosts=addresses, cluster_options={"execution_profiles": {EXEC_PROFILE_DEFAULT: profile}}
        )
        plain = model_on(models.Model, "Plain", __connection__="plain")
        ours = model_on(Model, "Ours", __undaunted__={"cluster": "bench"})
        from cassandra.cqlengine.management import sync_table  # noqa: PLC0415

        sync_table(plain)
        rows = compare(plain, ours, calls)
        lines = table(f"Three real nodes, {calls} calls", rows, "cpu")
        lines += throughput(plain, ours, threads)
        undaunted.close()
        connection.unregister_connection("plain")
    return lines


def throughput(plain: Any, ours: Any, threads: int, *, rounds: int = 30, calls: int = 20) -> list[str]:
    """Operations a second of many threads, and their client CPU, in rounds that take turns."""
    rates: dict[int, list[float]] = {0: [], 1: []}
    cpu_us: dict[int, list[float]] = {0: [], 1: []}
    with ThreadPoolExecutor(threads) as pool:
        for turn in range(rounds + 1):
            for side, model in ((0, plain), (1, ours)) if turn % 2 else ((1, ours), (0, plain)):

                def work(_: int, model: Any = model) -> None:
                    for number in range(calls // 2):
                        model.create(key=number)
                        model.objects.get(key=1)

                began, cpu_began = time.perf_counter(), time.process_time()
                list(pool.map(work, range(threads)))
                if turn:
                    rates[side].append(threads * calls / (time.perf_counter() - began))
                    cpu_us[side].append((time.process_time() - cpu_began) * 1e6 / threads / calls)
    plain_rate, our_rate, plain_us, our_us = (
        statistics.median(each) for each in (rates[0], rates[1], cpu_us[0], cpu_us[1])
    )
    told = (
        f"{threads} threads, {rounds} paired rounds: plain {plain_rate:.0f} operations/s, undaunted {our_rate:.0f}, "
        f"ratio {ratio(rates)}; client CPU an operation {plain_us:.0f} and {our_us:.0f} us, ratio {ratio(cpu_us)}."
    )
    return [told, ""]


def ratio(sides: dict[int, list[float]]) -> str:
    """The median of the rounds' ratios, and its quartiles."""
    ratios = [mine / theirs for theirs, mine in zip(sides[0], sides[1], strict=True)]
    low, _, high = statistics.quantiles(ratios)
    return f"{statistics.median(ratios):.3f} (quartiles {low:.3f} to {high:.3f})"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument(
        "--real",
        choices=("yes", "no", "only"),
        default="yes",
        help="whether the cluster is measured too, or alone",
    )
    parser.add_argument("--write", type=Path, help="write the tables to this file too")
    options = parser.parse_args()
    sys.setswitchinterval(0.005)
    lines = [f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}.", ""]
    if options.real != "only":
        lines += on_a_session_that_answers_at_once(options.calls * 3)
    if options.real != "no":
        lines += on_a_real_cluster(options.calls, options.threads)
    print("\n".join(lines))
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
