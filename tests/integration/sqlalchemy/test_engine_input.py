"""Settings that do not fit the nodes: each mistake is told in a sentence that names the setting and the remedy.

By the first call that meets it, and by `undaunted check`.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from tests.integration.speed import within
from tests.integration.sqlalchemy.engines import opened, timed, until

import undaunted
from undaunted import sqlalchemy as us
from undaunted.cli.group import undaunted as command
from undaunted.config import load
from undaunted.errors import ConfigurationError
from undaunted.lab import PostgresLab
from undaunted.sqlalchemy.check import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

PASSWORD = "correct-horse"
ONE = sa.text("SELECT 1")


@pytest.fixture(scope="module")
def locked_lab() -> Iterator[PostgresLab]:
    """A node that demands a login."""
    with PostgresLab(1, auth=("shop", PASSWORD)) as lab:
        yield lab


@pytest.fixture(scope="module")
def other_lab() -> Iterator[PostgresLab]:
    """A cluster of one node that has nothing to do with the other."""
    with PostgresLab(1) as lab:
        yield lab


def ledger(lab: PostgresLab, **changes: Any) -> dict[str, Any]:
    settings = lab.settings_for("ledger")
    settings["clusters"]["ledger"] |= {"retry": {"deadline": "500ms"}, **changes}
    return settings


def told(settings: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in check(load(settings).settings.clusters["ledger"])]


def at(host: str, user: str = "lab", password: str = "", database: str = "lab") -> str:
    return f"postgresql://{user}{':' if password else ''}{password}@{host}/{database}"


@pytest.fixture
def secret_url(tmp_path: Path) -> Any:
    def write(url: str) -> dict[str, str]:
        path = tmp_path / "url"
        path.write_text(url)
        return {"file": str(path)}

    return write


def test_a_cluster_that_fits_has_no_problem(healthy_postgresql_lab: PostgresLab) -> None:
    assert told(ledger(healthy_postgresql_lab)) == []


def test_a_login_that_fits(locked_lab: PostgresLab) -> None:
    assert told(ledger(locked_lab)) == []
    with opened(ledger(locked_lab)) as cluster, cluster.writer.connect() as connection:
        assert connection.execute(ONE).scalar() == 1


def test_a_wrong_password(locked_lab: PostgresLab, secret_url: Any) -> None:
    """Told at once by every call, and not tried again by them."""
    node = locked_lab.nodes[0].address
    settings = ledger(locked_lab, url=secret_url(at(node, "shop", "tr0ub4dor")))
    expected = (
        f"clusters.ledger.url: {node} refuses its user or password (28P01). Correct them, or the node's pg_hba.conf."
    )
    before = locked_lab.log(locked_lab.nodes[0]).read_text().count("password authentication failed")
    with opened(settings) as cluster:
        for _ in range(10):
            with timed() as waited, pytest.raises(us.CredentialsRefused) as caught:
                cluster.writer.connect()
            within(waited.took_s, 0.5)
            assert str(caught.value) == expected
            assert isinstance(caught.value, (ConfigurationError, sa.exc.OperationalError))
        with pytest.raises(us.CredentialsRefused):
            cluster.engine_of(node).connect()
    tries = locked_lab.log(locked_lab.nodes[0]).read_text().count("password authentication failed") - before
    assert tries <= 2, "a wrong password is tried by a monitor alone, every five seconds"
    assert told(settings) == [expected]
    assert "tr0ub4dor" not in expected


async def test_a_wrong_password_in_a_task(locked_lab: PostgresLab, secret_url: Any) -> None:
    settings = ledger(locked_lab, url=secret_url(at(locked_lab.nodes[0].address, "shop", "tr0ub4dor")))
    with opened(settings) as cluster, timed() as waited, pytest.raises(us.CredentialsRefused):
        async with cluster.async_writer.connect():
            raise AssertionError
    within(waited.took_s, 0.5)


def test_a_password_that_is_changed_while_the_monitors_are_connected(locked_lab: PostgresLab, secret_url: Any) -> None:
    node = locked_lab.nodes[0]
    with locked_lab.operator(node) as operator:
        operator.execute("CREATE ROLE changing LOGIN PASSWORD 'first'")
        with opened(ledger(locked_lab, url=secret_url(at(node.address, "changing", "first")))) as cluster:
            with cluster.writer.connect() as connection:
                assert connection.execute(ONE).scalar() == 1
            operator.execute("ALTER ROLE changing PASSWORD 'second'")
            cluster.writer.dispose()
            with timed() as waited, pytest.raises(us.CredentialsRefused, match="28P01"):
                cluster.writer.connect()
            within(waited.took_s, 1.0)
        operator.execute("DROP ROLE changing")


def test_a_user_that_does_not_exist(other_lab: PostgresLab) -> None:
    settings = ledger(other_lab, url=at(other_lab.nodes[0].address, "nobody_at_all"))
    with opened(settings) as cluster, pytest.raises(us.CredentialsRefused, match="28000"):
        cluster.writer.connect()


def test_a_database_that_does_not_exist(other_lab: PostgresLab) -> None:
    node = other_lab.nodes[0].address
    settings = ledger(other_lab, url=at(node, database="elsewhere"))
    expected = f"clusters.ledger.url: {node} has no database of that name (3D000). Create it, or correct the name."
    with opened(settings) as cluster, pytest.raises(us.UnusableCluster) as caught:
        cluster.writer.connect()
    assert str(caught.value) == expected
    assert told(settings) == [expected]


def test_a_standby_as_the_only_node(healthy_postgresql_lab: PostgresLab) -> None:
    lab = healthy_postgresql_lab
    standby = next(node for node in lab.nodes if node.name != lab.primary().name).address
    settings = ledger(lab, url=at(standby), nodes=[standby])
    expected = (
        f"clusters.ledger.nodes: {standby}, the only one, is a standby and takes no writes. Name the primary, too."
    )
    with opened(settings) as cluster:
        with timed() as waited, pytest.raises(us.NoNodeAvailable) as caught, undaunted.options(deadline="500ms"):
            cluster.writer.connect()
        assert waited.took_s >= 0.5
        within(waited.took_s, 0.7)
        assert expected in str(caught.value)
        with cluster.engine_of(standby).connect() as connection:  # which it can do
            assert connection.execute(ONE).scalar() == 1
    assert told(settings) == [expected]


@pytest.mark.alone
def test_no_node_is_primary(healthy_postgresql_lab: PostgresLab) -> None:
    lab = healthy_postgresql_lab
    leader = lab.kill("primary").address
    standbys = [node.address for node in lab.nodes if node.address != leader]
    with opened(ledger(lab)) as cluster:
        with pytest.raises(us.NoNodeAvailable) as caught, undaunted.options(deadline="500ms"):
            cluster.writer.connect()
        said = str(caught.value)
        assert said.startswith("Cluster 'ledger': no node takes writes. clusters.ledger.nodes: no node takes writes (")
        assert f"{leader} cannot be reached" in said
        assert all(f"{standby} is a standby" in said for standby in standbys)
        assert said.endswith("Promote a standby, start the primary, or name it, if it is not here.")
    silent, none = told(ledger(lab))
    assert silent == f"clusters.ledger.nodes: {leader} cannot be reached. Start the node, or correct its address."
    assert none.startswith("clusters.ledger.nodes: no node takes writes (")


def test_nodes_of_two_clusters(healthy_postgresql_lab: PostgresLab, other_lab: PostgresLab) -> None:
    first, other = healthy_postgresql_lab.primary().address, other_lab.nodes[0].address
    settings = ledger(healthy_postgresql_lab, url="postgresql://lab@/lab", nodes=[first, other])
    (problem,) = told(settings)
    assert problem.startswith(
        "clusters.ledger.nodes: the nodes belong to different clusters, by their system identifiers"
    )
    assert problem.endswith("Name those of one.")
    assert f"{first} to " in problem
    with opened(settings) as cluster:
        with contextlib.suppress(us.NoNodeAvailable, us.UnusableCluster):  # as long as one has been seen alone
            cluster.writer.connect().close()
        assert until(lambda: any(sight.error == "another cluster" for sight in cluster.sights()) or _refused(cluster))


def _refused(cluster: Any) -> bool:
    try:
        cluster.writer.connect().close()
    except us.UnusableCluster as error:
        return "belong to different clusters" in str(error)
    return False


@pytest.mark.alone
def test_a_synchronous_standby_that_is_missing(healthy_postgresql_lab: PostgresLab) -> None:
    lab = healthy_postgresql_lab
    lab.wait_for("nobody")
    node = lab.primary().address
    expected = (
        f"clusters.ledger.nodes: every COMMIT on {node} waits for a standby that its synchronous_standby_names wants, "
        "and none follows it. Start that standby, or take it out of synchronous_standby_names."
    )
    ends_s = time.monotonic() + 10.0
    while (problems := told(ledger(lab))) != [expected]:
        assert time.monotonic() < ends_s, problems
    with opened(ledger(lab)) as cluster:

        @us.unit_of_work("ledger", key="free")
        def write(session: us.Session) -> None:
            session.execute(sa.text("CREATE TABLE never_told (id int)"))

        with pytest.raises((us.DeadlineExceeded, us.OutcomeUnknown)) as caught:
            write()
        assert expected in str(caught.value)
        assert cluster.primary == node
    lab.wait_for(None)


@pytest.mark.alone
def test_an_old_primary_beside_the_new_one(healthy_postgresql_lab: PostgresLab) -> None:
    lab = healthy_postgresql_lab
    old = lab.freeze("primary")
    lab.promote()
    lab.thaw(old)
    problems = told(ledger(lab))
    assert any(f"{old.address} takes writes on timeline" in problem and "pg_rewind" in problem for problem in problems)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"url": "postgresql://lab@pg9/lab", "nodes": ["pg1", "pg2"]}, "but the url names pg9:5432"),
        ({"url": "postgresql://lab@pg1/lab", "nodes": ["pg1"], "pool": {"sise": 3}}, "sise"),
        ({"url": "oracle+nothing://lab@pg1/lab"}, "is no URL that SQLAlchemy understands"),
        ({"url": "sqlite://", "options": {"no_such_option": 1}}, "SQLAlchemy refuses them"),
    ],
    ids=["hosts that disagree", "a word misspelt", "an unknown dialect", "an unknown option"],
)
def test_settings_that_are_wrong_by_themselves(changes: dict[str, Any], expected: str) -> None:
    with (
        pytest.raises(ConfigurationError, match=expected),
        opened({"clusters": {"ledger": {"backend": "sqlalchemy", **changes}}}) as cluster,
    ):
        cluster.writer.connect()


def test_the_command(healthy_postgresql_lab: PostgresLab, tmp_path: Path) -> None:
    lab = healthy_postgresql_lab
    address = lab.primary().address
    path = tmp_path / "undaunted.toml"
    path.write_text(
        f'[clusters.ledger]\nbackend = "sqlalchemy"\nurl = "{at(address)}"\nnodes = ["{address}", "127.0.0.1:9"]\n'
    )
    result = CliRunner().invoke(command, ["check", "ledger", "--file", str(path), "--json"])
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert problem["path"] == "clusters.ledger.nodes"
    assert problem["message"] == "127.0.0.1:9 cannot be reached. Start the node, or correct its address."
