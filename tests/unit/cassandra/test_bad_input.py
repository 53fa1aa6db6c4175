"""What is wrong in settings and surroundings is told in a sentence or two: where, what was found, what to do."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import socket
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import cassandra
import pytest
from cassandra.cluster import NoHostAvailable
from cassandra.cqlengine import connection
from tests.unit.cassandra.conftest import Hits, Product, Seat

import undaunted
from undaunted.cassandra import (
    BatchQuery,
    CredentialsRefused,
    ImpossibleConsistency,
    UnknownKeyspace,
    UnusableCluster,
    sync_table,
)
from undaunted.registry import REGISTRY
from undaunted.testing.cql import BadCredentials, FakeCassandra, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IS_SCYLLA = importlib.util.find_spec("cassandra.scylla") is not None
SECRET = "h0rse-staple"  # what must never be seen


@pytest.fixture(scope="module")
def well() -> Iterator[FakeCassandra]:
    """A cluster with which all is well; what is wrong is in the settings."""
    with FakeCassandra(nodes=3) as made:
        made.create_keyspace("shop")
        made.execute("CREATE KEYSPACE lonely WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        yield made


def configure(nodes: Any, **more: Any) -> None:
    if isinstance(nodes, FakeCassandra):
        nodes = [f"{address}:{nodes.port}" for address in nodes.contact_points]
    base = {
        "backend": "cassandra",
        "nodes": nodes,
        "keyspace": "shop",
        "timeout": "300ms",
        "heartbeat": {"timeout": "300ms"},
        "retry": {"deadline": "700ms"},
    }
    undaunted.configure({"clusters": {"catalog": {**base, **more}}})


def read() -> None:
    list(Product.objects(sku=1))


def told(error: BaseException) -> str:
    """The message, which is short and shows no secret."""
    message = str(error)
    assert SECRET not in message
    assert SECRET not in repr(error)
    return message


class Stranger:
    """Listens where a node is thought to be, and is none."""

    def __init__(self, answer: bytes | None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._answer = answer
        self._accepted: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self._accepted.append(accepted)
            if self._answer is not None:
                accepted.recv(1000)
                accepted.sendall(self._answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for accepted in self._accepted:
            accepted.close()
        self._thread.join(5.0)


HTTP = b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HTTP, "speaks another protocol"),
        (b"\x84\x00\x00", "does not answer in time"),
        (None, "does not answer in time"),
    ],
    ids=["http", "half an answer", "silence"],
)
def test_a_port_where_something_else_listens(answer: bytes | None, words: str) -> None:
    with contextlib.closing(Stranger(answer)) as stranger:
        configure([stranger.address])
        began_s = time.monotonic()
        with pytest.raises(undaunted.DeadlineExceeded) as caught:
            read()
        assert time.monotonic() - began_s < 3.0
        said = f"clusters.catalog.nodes: no contact point answers as Cassandra does ({stranger.address} {words}). "
        assert said in told(caught.value)
        assert "correct host and port" in told(caught.value)
        undaunted.close()


def test_a_port_where_nothing_listens_and_a_name_without_address() -> None:
    configure(["127.0.0.1:1"])
    with pytest.raises(undaunted.DeadlineExceeded, match=r"127\.0\.0\.1:1 refuses connections") as caught:
        read()
    assert isinstance(caught.value, cassandra.OperationTimedOut)
    assert isinstance(caught.value.__cause__, NoHostAvailable)
    configure(["nowhere.invalid"])
    with pytest.raises(undaunted.DeadlineExceeded, match=r"clusters\.catalog\.nodes.*no name has an address"):
        read()


def test_one_wrong_contact_point_of_two_harms_nobody(well: FakeCassandra) -> None:
    configure(["127.0.0.1:1", f"{well.contact_points[0]}:{well.port}"])
    sync_table(Product)
    read()


def test_a_wrong_datacenter_is_told_with_the_right_ones(well: FakeCassandra) -> None:
    configure(well, local_datacenter="dc7")
    with pytest.raises(UnusableCluster) as caught:
        read()
    assert told(caught.value) == (
        "clusters.catalog.local_datacenter: there is no datacenter 'dc7'; the nodes stand in dc1. Give one of these."
    )
    assert isinstance(caught.value, NoHostAvailable)
    assert isinstance(caught.value, undaunted.ConfigurationError)
    with pytest.raises(UnusableCluster):  # and again, at once
        read()


def test_a_wrong_datacenter_is_told_although_another_one_could_serve(well: FakeCassandra) -> None:
    configure(well, local_datacenter="dc7", remote_datacenters={"dc1": {}})
    with pytest.raises(UnusableCluster, match="there is no datacenter 'dc7'"):
        read()


def test_a_remote_datacenter_that_is_not_there_is_warned_of(
    well: FakeCassandra, caplog: pytest.LogCaptureFixture
) -> None:
    configure(well, local_datacenter="dc1", remote_datacenters={"dc8": {}})
    with caplog.at_level(logging.WARNING, logger="undaunted"):
        connection.execute("SELECT * FROM system.local", connection="catalog")
    assert "clusters.catalog.remote_datacenters: there is no datacenter 'dc8'; the nodes stand in dc1." in caplog.text


def test_an_unknown_keyspace_is_told_with_those_that_are_there(well: FakeCassandra) -> None:
    configure(well, keyspace="shopp")
    with pytest.raises(UnknownKeyspace) as caught:
        read()
    assert told(caught.value) == (
        "clusters.catalog.keyspace: there is no keyspace 'shopp'; the cluster has lonely, shop. "
        "Correct the setting or the model's __keyspace__, or make the keyspace: `undaunted provision`."
    )
    assert isinstance(caught.value, cassandra.InvalidRequest)
    assert isinstance(caught.value.__cause__, cassandra.InvalidRequest)
    for write in (
        lambda: Product.create(sku=1),
        lambda: Hits.objects(page="x").update(count=1),
        lambda: Seat.if_not_exists().create(number=1, holder="ada"),
        lambda: connection.execute("TRUNCATE nowhere.t", connection="catalog"),
    ):
        with pytest.raises(cassandra.InvalidRequest):
            write()
    with pytest.raises(UnknownKeyspace), BatchQuery() as batch:
        Product.batch(batch).create(sku=1)
        Product.batch(batch).create(sku=2)


def test_an_unknown_table_is_told_by_the_server(well: FakeCassandra) -> None:
    configure(well)
    with pytest.raises(cassandra.InvalidRequest) as caught:
        connection.execute("SELECT * FROM shop.nothing", connection="catalog")
    assert not isinstance(caught.value, undaunted.UndauntedError)


# -- credentials -----------------------------------------------------------------------------------------------------


def logins(fake: FakeCassandra) -> list[int]:
    """The node of each login."""
    return [request.node for request in fake.traffic if request.opcode == "AUTH_RESPONSE"]


def test_wrong_credentials_are_tried_once_at_each_node_and_never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    with FakeCassandra(nodes=2, user="app", password="another") as fake:
        fake.create_keyspace("shop")
        configure(fake, credentials={"username": "app", "password": {"env": "SHOP_PASSWORD"}})
        errors: list[Exception] = []

        def ask() -> None:
            try:
                read()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10.0)
        assert [type(error) for error in errors] == [CredentialsRefused] * 8
        assert told(errors[0]) == (
            "clusters.catalog.credentials: the nodes refuse the login of user 'app'. Correct username and password."
        )
        assert isinstance(errors[0], cassandra.AuthenticationFailed)
        assert SECRET not in repr(undaunted.status())
        tried = logins(fake)
        ends_s = time.monotonic() + 1.5  # three times the pause between two tries to connect
        while time.monotonic() < ends_s:
            with pytest.raises(CredentialsRefused):
                Product.create(sku=1)
            time.sleep(0.05)
        assert logins(fake) == tried
        # One connect asks each contact point once; in scylla-driver once more, after it has looked up their names anew.
        assert max(tried.count(node) for node in (1, 2)) <= (2 if IS_SCYLLA else 1)
        undaunted.close()


def test_a_login_that_a_node_cannot_look_up_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the users have replicas too, and while these are away nobody can log in."""
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    with FakeCassandra(nodes=1, user="app", password=SECRET) as fake:
        fake.create_keyspace("shop")
        busy = BadCredentials("Unable to perform authentication: Cannot achieve consistency level LOCAL_ONE")
        fake.script(opcode="AUTH_RESPONSE", times=2).error(busy)
        configure(
            fake, credentials={"username": "app", "password": {"env": "SHOP_PASSWORD"}}, retry={"deadline": "10s"}
        )
        connection.execute("SELECT * FROM system.local", connection="catalog")
        undaunted.close()


def test_a_missing_login_is_told() -> None:
    with FakeCassandra(nodes=1, user="app", password="another") as fake:
        configure(fake)
        with pytest.raises(CredentialsRefused, match="refuse a connection without a login"):
            read()
        undaunted.close()


def test_right_credentials_are_shown_by_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    with FakeCassandra(nodes=1, user="app", password=SECRET) as fake, caplog.at_level(logging.DEBUG):
        fake.create_keyspace("shop")
        configure(fake, credentials={"username": "app", "password": {"env": "SHOP_PASSWORD"}})
        sync_table(Product)
        read()
        handle = REGISTRY.handle("catalog")
        for shown in (undaunted.status(), handle, handle.connection, handle.connection.session, handle.settings):
            assert SECRET not in repr(shown)
            assert SECRET not in str(shown)
        undaunted.close()
    assert SECRET not in caplog.text


# -- consistency -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "path", "words"),
    [
        ({"consistency": {"read": "LOCAL_QUORM"}}, "consistency.read", "did you mean 'LOCAL_QUORUM'"),
        ({"consistency": {"write": "SERIAL"}}, "consistency.write", "found 'SERIAL'"),
        ({"consistency": {"serial": "QUORUM"}}, "consistency.serial", "found 'QUORUM'"),
        ({"consistency": {"read": "ANY"}}, "consistency.read", "for writes only"),
        ({"consistency": {"read": "EACH_QUORUM"}}, "consistency.read", "refused for reads"),
        ({"consistency": {"reed": "ONE"}}, "consistency.reed", "read"),
        ({"consistency": "ONE"}, "consistency", "found"),
        ({"timeout": "0s"}, "timeout", "longer than nothing"),
        ({"timeout": "-1s"}, "timeout", "found"),
        ({"timeout": "soon"}, "timeout", "found 'soon'"),
        ({"timeout": True}, "timeout", "found"),
        ({"failback_after": "-5s"}, "failback_after", "found"),
        ({"hedge": "yes, please"}, "hedge", "found"),
        ({"hedge": {"enabled": True, "quantile": 1.5}}, "hedge.quantile", "1.5"),
        ({"hedge": {"speed": 1}}, "hedge.speed", "enabled"),
        ({"remote_datacenters": {"dc2": {}}}, "local_datacenter", "is missing, although remote_datacenters"),
        (
            {"local_datacenter": "dc1", "remote_datacenters": {"dc1": {}}},
            "remote_datacenters.dc1",
            "is the local datacenter itself",
        ),
        ({"local_datacenter": "dc1", "remote_datacenters": ["dc2"]}, "remote_datacenters", "found"),
        (
            {"local_datacenter": "dc1", "remote_datacenters": {"dc2": {"consistency": {"read": "NEAR"}}}},
            "remote_datacenters.dc2.consistency.read",
            "found 'NEAR'",
        ),
        ({"nodes": "127.0.0.1"}, "nodes", "expected a list"),
        ({"nodes": []}, "nodes", "names no node"),
        ({"nodes": ["127.0.0.1:99999"]}, "nodes[0]", "no usable port"),
        ({"credentials": {"username": "app", "password": SECRET}}, "credentials.password", "never written"),
        ({"options": {"contact_points": ["x"]}}, "options.contact_points", "set clusters.catalog.nodes instead"),
        ({"options": {"default_retry_policy": 1}}, "options.default_retry_policy", "set clusters.catalog.retry"),
        ({"options": {"execution_profiles": {}}}, "options.execution_profiles", "set clusters.catalog.consistency"),
        ({"tls": {"ca": "/no/such/file.pem"}}, "tls.ca", "cannot read the file"),
    ],
)
def test_each_mistake_in_the_settings_names_its_setting(more: dict[str, Any], path: str, words: str) -> None:
    nodes = more.pop("nodes", ["127.0.0.1"])
    with pytest.raises(undaunted.ConfigurationError) as caught:
        configure(nodes, **dict(more))
    assert told(caught.value)
    assert [f"clusters.catalog.{path}"] == [problem.path for problem in caught.value.problems]
    assert words in caught.value.problems[0].message
    more["nodes"] = nodes  # the parameters are used again by another run of this process


def test_a_consistency_that_cannot_be_had_is_told_at_once(well: FakeCassandra) -> None:
    configure(well, keyspace="lonely", consistency={"read": "TWO", "write": "ONE"}, retry={"deadline": "20s"})
    sync_table(Product)
    began_s = time.monotonic()
    with pytest.raises(ImpossibleConsistency) as caught:
        read()
    assert time.monotonic() - began_s < 5.0
    assert told(caught.value) == (
        "clusters.catalog.consistency.read: TWO needs 2 replicas, and keyspace 'lonely' has 1. "
        "Ask for less, or raise its replication factor."
    )
    assert isinstance(caught.value, cassandra.Unavailable)
    assert (caught.value.required_replicas, caught.value.alive_replicas) == (2, 1)
    with pytest.raises(ImpossibleConsistency, match="consistency of the statement or its model: THREE needs 3"):
        Product.objects(sku=1).consistency(cassandra.ConsistencyLevel.THREE).update(name="x")
    with pytest.raises(ImpossibleConsistency), BatchQuery(consistency=cassandra.ConsistencyLevel.TWO) as batch:
        Product.batch(batch).create(sku=1)
        Product.batch(batch).create(sku=2)
    with pytest.raises(ImpossibleConsistency):
        connection.execute("SELECT * FROM lonely.product", connection="catalog")


def test_a_keyspace_without_replicas_at_home_is_told_at_once() -> None:
    with FakeCassandra(datacenters={"dc1": 1, "dc2": 1}) as fake:
        fake.execute("CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'dc2': 1}")
        configure(fake, local_datacenter="dc1", retry={"deadline": "20s"})
        sync_table(Product)
        with pytest.raises(ImpossibleConsistency) as caught:
            read()
        assert told(caught.value) == (
            "clusters.catalog.consistency.read: LOCAL_QUORUM needs 1 replica, and keyspace 'shop' has none in "
            "datacenter 'dc1'. Ask for less, or raise its replication factor."
        )
        undaunted.close()


def test_too_few_that_are_alive_are_waited_for(well: FakeCassandra) -> None:
    """With enough replicas in all, it is a matter of time."""
    configure(well)
    sync_table(Product)
    well.script("SELECT", times=3).error(Unavailable(consistency="QUORUM", required=2, alive=1))
    read()


# -- the driver's own ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (6, "the nodes do not speak version 6. Leave it out"),
        (66, "the nodes do not speak version 66. Leave it out"),
        (2, "found 2, and write timestamps need a number from 3 up"),
        ("five", "found 'five', and write timestamps need a number from 3 up"),
    ],
)
def test_a_protocol_version_that_is_not_spoken(well: FakeCassandra, version: Any, words: str) -> None:
    configure(well, options={"protocol_version": version})
    with pytest.raises(UnusableCluster) as caught:
        read()
    assert told(caught.value).startswith(f"clusters.catalog.options.protocol_version: {words}")


def test_a_protocol_version_too_new_for_an_old_server_and_none_given() -> None:
    with FakeCassandra(nodes=1, protocol=4) as fake:
        fake.create_keyspace("shop")
        configure(fake, options={"protocol_version": 5})
        with pytest.raises(UnusableCluster, match="do not speak version 5"):
            read()
        configure(fake)
        sync_table(Product)
        read()
        assert REGISTRY.handle("catalog").connection.cluster.protocol_version == 4
        undaunted.close()


def test_an_option_that_the_driver_has_not(well: FakeCassandra) -> None:
    configure(well, options={"nonsense": 1})
    with pytest.raises(UnusableCluster, match=r"clusters\.catalog\.options: cassandra-driver refuses.*'nonsense'"):
        read()


WITHOUT_LOOP = """
    import sys

    class NoLoop:
        def find_spec(self, name, path=None, target=None):
            if name in {"cassandra.io.libevwrapper", "asyncore"}:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return None

    sys.meta_path.insert(0, NoLoop())
    sys.modules.pop("cassandra.io.libevwrapper", None)
    import undaunted
    try:
        undaunted.configure({"clusters": {"catalog": {"backend": "cassandra", "nodes": ["127.0.0.1"]}}})
    except undaunted.ConfigurationError as error:
        print(error)
    else:
        print("no error")
"""


def test_no_event_loop_for_this_python_is_told_with_what_to_install() -> None:
    """As on Python 3.12 and newer, which have no asyncore, with a driver that was built without libev."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(WITHOUT_LOOP)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if IS_SCYLLA:  # it goes on with the loop of the standard library
        assert done.stdout == "no error\n"
        return
    assert "clusters: cassandra-driver finds no event loop for this Python" in done.stdout
    assert "pip install --upgrade 'cassandra-driver" in done.stdout


# -- names -----------------------------------------------------------------------------------------------------------


def test_two_clusters_under_one_name(tmp_path: Path) -> None:
    file = tmp_path / "undaunted.toml"
    table = '[clusters.catalog]\nbackend = "cassandra"\nnodes = ["127.0.0.1"]\n'
    file.write_text(table + table)
    with pytest.raises(undaunted.ConfigurationError, match=r"catalog") as caught:
        undaunted.configure(file)
    assert f"{file.parent.name}/{file.name}" in told(caught.value)  # by the shorter way from here


def test_a_name_that_cqlengine_has_already(well: FakeCassandra) -> None:
    connection.register_connection("catalog", session=_Session())
    try:
        with pytest.raises(
            undaunted.ConfigurationError, match="cqlengine has a connection named 'catalog' already"
        ) as caught:
            configure(well)
        assert [problem.path for problem in caught.value.problems] == ["clusters.catalog"]
        assert connection.get_connection("catalog").session.mine  # and it is left as it was
    finally:
        connection.unregister_connection("catalog")


class _Session:
    mine = True
    keyspace = None
    hosts: tuple[str, ...] = ()

    class cluster:  # noqa: N801
        _config_mode = None

        @staticmethod
        def shutdown() -> None: ...

        @staticmethod
        def register_user_type(*_: object) -> None: ...

    class encoder:  # noqa: N801
        mapping: dict[type, Any] = {}
        cql_encode_tuple = None


def test_one_database_by_default_for_each_orm(well: FakeCassandra) -> None:
    node = f"{well.contact_points[0]}:{well.port}"
    one = {"backend": "cassandra", "nodes": [node], "default": True}
    with pytest.raises(undaunted.ConfigurationError, match="default"):
        undaunted.configure({"clusters": {"a": one, "b": one}})


def test_an_unknown_cluster_of_a_model_is_told_with_the_known_ones(well: FakeCassandra) -> None:
    from cassandra.cqlengine import columns

    from undaunted.cassandra import Model

    class Lost(Model):
        __undaunted__ = {"cluster": "catalogue"}
        k = columns.Integer(primary_key=True)

    configure(well)
    with pytest.raises(undaunted.ConfigurationError, match=r"Lost\.__undaunted__: .*catalogue.*catalog"):
        list(Lost.objects(k=1))


def test_mistakes_in_a_models_own_declaration_name_the_model(well: FakeCassandra) -> None:
    from cassandra.cqlengine import columns

    from undaunted.cassandra import Model

    class Wrong(Model):
        __undaunted__ = {"cluster": "catalog", "retry.deadlin": "2s"}
        k = columns.Integer(primary_key=True)

    configure(well)
    with pytest.raises(undaunted.ConfigurationError, match=r"Wrong.*retry\.deadlin"):
        list(Wrong.objects(k=1))
