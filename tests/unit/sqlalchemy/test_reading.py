"""Where a readonly session reads: the choice itself, with a cluster of which everything is known."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from undaunted.sqlalchemy.reading import Reader, preferred
from undaunted.sqlalchemy.sights import Sight
from undaunted.sqlalchemy.tokens import LAST, Token, note_commit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from undaunted.core.policy import Reads


@pytest.mark.parametrize(
    ("reads", "primary", "replicas", "nearest", "expected"),
    [
        ("primary", "p", ["r"], [], "p"),
        ("primary", None, ["r"], [], None),
        ("fallback", "p", ["r"], [], "p"),
        ("fallback", None, ["r"], [], "r"),
        ("fallback", None, [], [], None),
        ("replica", "p", ["r", "s"], [], "r"),
        ("replica", "p", [], [], "p"),
        ("replica", None, [], [], None),
        ("any", "p", ["r", "s"], ["s", "p", "r"], "s"),
        ("any", "p", ["r"], ["s", "p", "r"], "p"),
        ("any", None, ["r"], ["s", "p", "r"], "r"),
        ("any", "p", [], [], "p"),
        ("any", None, [], ["p", "r"], None),
    ],
)
def test_where_reads_go(
    reads: Reads, primary: str | None, replicas: list[str], nearest: list[str], expected: str | None
) -> None:
    assert preferred(reads, primary=primary, replicas=replicas, nearest=nearest) == expected


@dataclass
class Known:
    """A cluster as its monitors tell of it."""

    name: str = "ledger"
    primary: str | None = "p"
    lsns: dict[str, int] = field(default_factory=lambda: {"r": 100, "s": 100})
    timelines: dict[str, int] = field(default_factory=dict)
    asked_s: float = 0.0
    log: int = 100
    suspected: list[str] = field(default_factory=list)

    def readers(self, *, after: Token | None, avoid: Collection[str] = ()) -> list[str]:
        lsn = 0 if after is None else after.lsn
        return [node for node, has in self.lsns.items() if node not in avoid and has >= lsn]

    def token_since(self, committed_s: float) -> Token | None:
        return Token(1, self.log) if self.primary is not None and self.asked_s >= committed_s else None

    def sights(self) -> list[Sight]:
        nodes = ([self.primary] if self.primary else []) + list(self.lsns)
        return [Sight(address=node, timeline=self.timelines.get(node, 1), latency_s=0.001) for node in nodes]

    def suspect(self, address: str) -> None:
        self.suspected.append(address)


@pytest.fixture(autouse=True)
def nothing_written() -> Iterator[None]:
    """What other tests have committed in this thread is nobody's business here."""
    token = LAST.set({})
    yield
    LAST.reset(token)


def reader(cluster: Known, token: Token | None = None) -> Reader:
    known: Any = cluster
    return Reader(known, token)


def test_whoever_has_written_nothing_reads_from_a_replica() -> None:
    assert reader(Known()).choose("replica") == "r"


def test_a_node_that_has_just_failed_is_left_out() -> None:
    cluster = Known()
    assert reader(cluster).choose("replica", avoid={"r"}) == "s"
    assert reader(cluster).choose("replica", avoid={"r", "s"}) == "p"
    assert reader(cluster).choose("replica", avoid={"r", "s", "p"}) is None


def test_behind_a_commit_only_the_primary_will_do_until_its_log_is_known() -> None:
    cluster = Known(asked_s=0.0)
    note_commit("ledger")
    assert reader(cluster).choose("replica") == "p"
    cluster.asked_s, cluster.log = time.monotonic(), 150
    assert reader(cluster).choose("replica") == "p"  # no replica is there
    cluster.lsns["s"] = 150
    cluster.log = 900  # others go on writing, and the replicas run after them
    assert reader(cluster).choose("replica") == "s"


def test_another_cluster_s_commit_says_nothing_here() -> None:
    note_commit("catalog")
    assert reader(Known()).choose("replica") == "r"


def test_without_a_primary_nobody_serves_whoever_has_just_committed() -> None:
    note_commit("ledger")
    assert reader(Known(primary=None)).choose("replica") is None


def test_a_token_is_waited_for_on_the_primary() -> None:
    cluster = Known()
    assert reader(cluster, Token(1, 150)).choose("replica") == "p"
    cluster.lsns["s"] = 150
    assert reader(cluster, Token(1, 150)).choose("replica") == "s"


def test_a_primary_that_has_been_succeeded_serves_nobody_who_knows_it() -> None:
    cluster = Known(timelines={"p": 1})
    assert reader(cluster, Token(2, 150)).choose("primary") is None
    assert cluster.suspected == ["p"]
    cluster.timelines["p"] = 2
    assert reader(cluster, Token(2, 150)).choose("primary") == "p"


def test_a_session_stays_with_the_replica_that_it_has_seen() -> None:
    cluster = Known()
    one = reader(cluster)
    one.node = "s"
    one.saw()
    assert one.choose("replica") == "s"


def test_a_session_that_loses_its_replica_goes_to_one_that_has_caught_up_else_to_the_primary() -> None:
    cluster = Known()
    one = reader(cluster)
    one.node = "s"
    one.saw()
    assert one.choose("replica", avoid={"s"}) == "p"
    cluster.asked_s, cluster.log = time.monotonic(), 150
    assert one.choose("replica", avoid={"s"}) == "p"
    cluster.lsns["r"] = 150
    assert one.choose("replica", avoid={"s"}) == "r"


def test_a_session_that_has_seen_the_lost_primary_waits() -> None:
    cluster = Known()
    one = reader(cluster)
    one.node = "p"
    one.saw()
    cluster.primary = None
    assert one.choose("replica") is None
    assert one.choose("fallback") is None


def test_fallback_uses_a_replica_only_without_a_primary() -> None:
    assert reader(Known()).choose("fallback") == "p"
    assert reader(Known(primary=None)).choose("fallback") == "r"
