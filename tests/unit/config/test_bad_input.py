"""Each mistake that can be found without asking a server: one message that names the setting and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from undaunted.config import load
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

NODES = ["mongo1.example.com", "mongo2.example.com", "mongo3.example.com"]


def problems(settings: dict[str, Any], **environ: str) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        load(settings, environ=environ)
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert len(found) == len(caught.value.problems), "a setting is reported once"
    for path, message in found.items():
        assert f"{path}: {message}" in str(caught.value)
    return found


def cluster(**settings: Any) -> dict[str, Any]:
    return {"clusters": {"orders": {"backend": "mongodb", "nodes": NODES, **settings}}}


def only(settings: dict[str, Any], **environ: str) -> tuple[str, str]:
    [(path, message)] = problems(settings, **environ).items()
    return path, message


TEN = """
retry.dedline = "5s"
budgets = { capacity = 10 }

[clusters.orders]
backend = "mongo"
nodes = ["a", "b", "a:27017"]
replicaset = "rs0"
retry.deadline = "five seconds"
credentials = { username = "shop", password = "hunter2" }

[clusters.catalog]
backend = "cassandra"
nodes = "c1, c2"
profile = "wbe"

[models.Order]
cluster = "orders"
"""


def test_a_file_with_ten_mistakes_reports_ten(tmp_path: Path) -> None:
    (tmp_path / "undaunted.toml").write_text(TEN)
    with pytest.raises(ConfigurationError) as caught:
        load(start=tmp_path, environ={})
    lines = {problem.path: problem.message for problem in caught.value.problems}
    assert set(lines) == {
        "retry.dedline",
        "budgets",
        "clusters.orders.backend",
        "clusters.orders.nodes[2]",
        "clusters.orders.replicaset",
        "clusters.orders.retry.deadline",
        "clusters.orders.credentials.password",
        "clusters.catalog.nodes",
        "clusters.catalog.profile",
        "models.Order",
    }
    assert "did you mean 'deadline'?" in lines["retry.dedline"]
    assert "did you mean 'budget'?" in lines["budgets"]
    assert "did you mean 'mongodb'?" in lines["clusters.orders.backend"]
    assert "did you mean 'replica_set'?" in lines["clusters.orders.replicaset"]
    assert "did you mean 'web'?" in lines["clusters.catalog.profile"]
    assert "undaunted.toml:8]" in lines["clusters.orders.replicaset"]
    assert "hunter2" not in str(caught.value)
    assert str(caught.value).startswith("10 mistakes in the settings:")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("replicaSet", "replica_set"),
        ("hosts", "nodes"),
        ("db", "database"),
        ("uri", "url"),
        ("ssl", "tls"),
        ("deadline", "retry.deadline"),
        ("max_retries", "retry.attempts"),
        ("password", "credentials.password"),
        ("NODES", "nodes"),
    ],
)
def test_an_unknown_key_names_the_one_that_was_meant(key: str, meant: str) -> None:
    path, message = only(cluster(**{key: "x"}))
    assert path == f"clusters.orders.{key}"
    assert message.startswith(f"unknown setting; did you mean '{meant}'? Allowed here: backend, ")


def test_an_unknown_backend() -> None:
    path, message = only({"clusters": {"orders": {"backend": "mongdb", "nodes": NODES, "replica_set": "rs0"}}})
    assert path == "clusters.orders.backend"
    assert message == "unknown backend 'mongdb'; did you mean 'mongodb'? Give one of cassandra, mongodb, sqlalchemy."


def test_a_backend_that_resembles_none_leaves_the_other_keys_unjudged() -> None:
    assert only({"clusters": {"x": {"backend": "oracle", "service": "y"}}})[0] == "clusters.x.backend"


def test_no_backend() -> None:
    assert only({"clusters": {"orders": {"nodes": NODES}}})[1].startswith("is missing; ")


def test_a_cluster_that_is_no_table() -> None:
    path, message = only({"clusters": {"orders": "mongodb://u:geheim@h"}})
    assert path == "clusters.orders"
    assert "geheim" not in message


def test_a_misspelt_key_is_not_missing_as_well() -> None:
    assert only({"clusters": {"o": {"backend": "mongodb", "nodse": ["a"]}}})[0] == "clusters.o.nodse"
    assert (
        only({"clusters": {"o": {"backend": "cassandra", "contact_points": ["a"]}}})[0] == "clusters.o.contact_points"
    )


def test_neither_nodes_nor_url() -> None:
    path, message = only({"clusters": {"orders": {"backend": "mongodb"}}})
    assert (path, message) == ("clusters.orders.nodes", "is missing; give nodes or url.")


def test_an_empty_list_of_nodes() -> None:
    path, message = only(cluster(nodes=[]))
    assert path == "clusters.orders.nodes"
    assert message == 'names no node; give at least one address, such as "host:27017".'


@pytest.mark.parametrize("twin", ["a", "a:27017", "A", "A:27017"])
def test_a_node_listed_twice(twin: str) -> None:
    path, message = only(cluster(nodes=["a", "b", twin]))
    assert path == "clusters.orders.nodes[2]"
    assert "is the same node as nodes[0] (a:27017); list each node once." in message


def test_the_same_host_on_two_ports_is_two_nodes() -> None:
    assert load(cluster(nodes=["a:1", "a:2"]), environ={}).settings.clusters["orders"].nodes == ("a:1", "a:2")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no host"),
        (":27017", "has no host"),
        ("[]:27017", "has no host"),
        ("a:", "has no usable port"),
        ("a:0", "has no usable port"),
        ("a:65536", "has no usable port"),
        ("a:mongo", "has no usable port"),
        ("a:-1", "has no usable port"),
        ("a:27017/db", "has no usable port"),
        ("mongodb://a", "is a URL"),
        ("my host", "has characters that no host name has"),
        ("a/b", "has characters that no host name has"),
        ("-a", "has characters that no host name has"),
        ("::1", "looks like IPv6 without brackets"),
        ("[::1", "is not an address"),
        ("[::1]27017", "is not an address"),
        ("[zz]:1", "has characters that no host name has"),
        ("u:geheim@a", "has no usable port"),
        ("geheim@a", "has characters that no host name has"),
    ],
)
def test_a_malformed_address(text: str, why: str) -> None:
    path, message = only(cluster(nodes=[text]))
    assert path == "clusters.orders.nodes[0]"
    assert why in message
    assert "geheim" not in message


@pytest.mark.parametrize("text", ["[", "[::1"])
def test_an_unclosed_bracket_is_no_address(text: str) -> None:
    assert only(cluster(nodes=[text]))[0] == "clusters.orders.nodes[0]"


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("[::1]:27017", "[::1]:27017"),
        ("[::1]", "[::1]:27017"),
        ("[fe80::1%eth0]:1", "[fe80::1%eth0]:1"),
        ("10.0.0.1", "10.0.0.1:27017"),
        ("Mongo-1.Example.com.", "mongo-1.example.com.:27017"),
        ("my_service", "my_service:27017"),
    ],
)
def test_a_good_address(text: str, node: str) -> None:
    assert load(cluster(nodes=[text]), environ={}).settings.clusters["orders"].nodes == (node,)


def test_nodes_given_as_a_string() -> None:
    assert only(cluster(nodes="a, b"))[1] == 'expected a list of addresses, found a string; write ["a", "b"].'


@pytest.mark.parametrize("nodes", [{"a": 1}, 3])
def test_nodes_that_are_no_list(nodes: object) -> None:
    assert only(cluster(nodes=nodes))[1].startswith("expected a list of addresses, found ")


def test_a_node_that_is_no_string() -> None:
    assert only(cluster(nodes=["a", 7]))[0] == "clusters.orders.nodes[1]"


def test_a_direct_connection_with_several_nodes() -> None:
    path, message = only(cluster(options={"directConnection": True}))
    assert path == "clusters.orders.options.directConnection"
    assert message == "directConnection means one node, and 3 are named; leave it out to use the replica set."
    assert only({"clusters": {"o": {"backend": "mongodb", "url": "mongodb://a,b/?directConnection=true"}}})[0] == (
        "clusters.o.url"
    )


def test_a_direct_connection_to_one_node_is_allowed() -> None:
    load(cluster(nodes=["a"], options={"directConnection": True}), environ={})
    load(cluster(options={"directConnection": False}), environ={})


def test_nodes_and_url_that_disagree() -> None:
    path, message = only(cluster(nodes=["a", "b"], url="mongodb://a,c"))
    assert path == "clusters.orders.nodes"
    assert "names a:27017, b:27017, but the url names a:27017, c:27017" in message
    load(cluster(nodes=["b", "a:27017"], url="mongodb://a,b"), environ={})


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost", "is not a URL"),
        ("postgresql://a/db", "expected 'mongodb'"),
        ("mongodb://a:x", "has as host number 1 what is not an address"),
        ("mongodb://a,a:27017", "names the node a:27017 twice"),
        ("mongodb://a/?serverSelectionTimeoutMS=5", "set retry.deadline instead"),
        ("mongodb://u:p@h", "has a password in it"),
        ("mongodb://u:p/q@h", "write @ as %40"),
        ("mongodb://u:p@q@h", "write @ as %40"),
        ("mongodb://a/?tlsCertificateKeyFilePassword=p", "has a password in it"),
        (7, "expected a URL"),
        ({"env": "UNSET"}, "the environment variable UNSET is not set"),
    ],
)
def test_a_wrong_url(url: object, message: str) -> None:
    path, found = only({"clusters": {"orders": {"backend": "mongodb", "url": url}}})
    assert path == "clusters.orders.url"
    assert message in found


def test_what_settings_and_url_both_say() -> None:
    both = cluster(
        nodes=None,
        url={"env": "URL"},
        replica_set="rs0",
        credentials={"username": "x", "password": {"env": "P"}},
        tls={},
    )
    found = problems(both, URL="mongodb://u:geheim@a/?replicaSet=rs1&tls=true", P="p")
    assert set(found) == {
        "clusters.orders.replica_set",
        "clusters.orders.credentials.username",
        "clusters.orders.tls",
    }
    assert "geheim" not in str(found)
    srv = cluster(url="mongodb+srv://cluster.example.com/shop")
    assert "looks the nodes up in DNS" in only(srv)[1]


def test_a_wrong_url_from_a_variable_is_named_and_not_shown() -> None:
    path, message = only({"clusters": {"o": {"backend": "mongodb", "url": {"env": "URL"}}}}, URL="user:geheim")
    assert path == "clusters.o.url"
    assert message.startswith("the URL from environment variable URL is not a URL")
    assert "geheim" not in message


def test_two_default_clusters_of_one_orm() -> None:
    two = {
        "clusters": {
            "a": {"backend": "mongodb", "nodes": ["a"], "default": True},
            "b": {"backend": "mongodb", "nodes": ["b"], "default": True},
            "c": {"backend": "cassandra", "nodes": ["c"], "default": True},
        }
    }
    path, message = only(two)
    assert path == "clusters.b.default"
    assert message == "mongodb has a default already, the cluster 'a'; leave default = true in one of them."


def test_a_cluster_called_default_is_the_default() -> None:
    two = {
        "clusters": {
            "default": {"backend": "mongodb", "nodes": ["a"]},
            "b": {"backend": "mongodb", "nodes": ["b"], "default": True},
        }
    }
    assert only(two)[0] == "clusters.b.default"


@pytest.mark.parametrize("name", ["b.c", "1st", "a b", "", "a__b", "_a", "a_", "ü/"])
def test_a_cluster_name_that_is_no_alias(name: str) -> None:
    path, message = only({"clusters": {name: {"backend": "mongodb", "nodes": ["a"]}}})
    assert path.startswith("clusters.")
    assert "usable as an alias" in message


def test_an_unknown_profile_and_an_unknown_cluster() -> None:
    settings = cluster(profile="workr") | {"models": {"shop.models.Order": {"profile": "web1", "cluster": "order"}}}
    found = problems(settings)
    assert found["clusters.orders.profile"].startswith(
        "there is no profile 'workr'; did you mean 'worker'? Configured:"
    )
    assert "did you mean 'web'?" in found['models."shop.models.Order".profile']
    assert "did you mean 'orders'?" in found['models."shop.models.Order".cluster']


@pytest.mark.parametrize("value", ["-5s", "0s", 0, -1, "5 parsecs", "", True, [], float("nan"), float("inf")])
def test_a_wrong_duration(value: object) -> None:
    path, message = only({"retry": {"deadline": value}})
    assert path == "retry.deadline"
    assert "duration" in message


def test_a_heartbeat_that_the_driver_refuses() -> None:
    assert only(cluster(heartbeat={"interval": "100ms"}))[1] == "found '100ms'; it must be 0.5 s or more."


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("retry.attempts", 0),
        ("retry.attempts", "3"),
        ("retry.attempts", True),
        ("retry.attempts", 2.5),
        ("retry.backoff.multiplier", 0.5),
        ("retry.backoff.multiplier", float("nan")),
        ("retry.backoff.multiplier", 10**400),
        ("retry.idempotent", "yes"),
        ("budget.capacity", 0),
        ("budget.deposit", -1),
        ("breaker.failure_rate", 0),
        ("breaker.failure_rate", 1.1),
        ("hedge.quantile", 1),
    ],
)
def test_a_value_out_of_bounds(path: str, value: object) -> None:
    assert only({path: value})[0] == path


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"retry.backoff": {"initial": "3s", "max": "1s"}}, "retry.backoff.initial"),
        ({"breaker.open": {"initial": "3s", "max": "1s"}}, "breaker.open.initial"),
        (cluster(pool={"min": 5, "max": 2}), "clusters.orders.pool.min"),
        (cluster(credentials={"username": "u"}), "clusters.orders.credentials.password"),
        (cluster(credentials={"password": {"env": "P"}}), "clusters.orders.credentials.username"),
        (cluster(credentials={"username": "u", "password": "geheim"}), "clusters.orders.credentials.password"),
        (cluster(reads="secondary"), "clusters.orders.reads"),
        (cluster(many_writes="none"), "clusters.orders.many_writes"),
        (cluster(tls={"ca": "/nowhere/ca.pem"}), "clusters.orders.tls.ca"),
        (cluster(tls={"ca": 5}), "clusters.orders.tls.ca"),
        (cluster(database=" "), "clusters.orders.database"),
        (cluster(default="true"), "clusters.orders.default"),
        ({"clusters": [1]}, "clusters"),
        ({"models": {"Order": {}}}, "models.Order"),
        ({"profiles": 3}, "profiles"),
        ({"retry": "5s"}, "retry"),
    ],
)
def test_what_does_not_fit_together(settings: dict[str, Any], path: str) -> None:
    found_path, message = only(settings, P="x")
    assert found_path == path
    assert "geheim" not in message


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("serverSelectionTimeoutMS", "retry.deadline"),
        ("timeoutMS", "retry.deadline"),
        ("heartbeatFrequencyMS", "heartbeat.interval"),
        ("connectTimeoutMS", "heartbeat.timeout"),
        ("replicaSet", "replica_set"),
        ("password", "credentials.password"),
        ("readPreference", "reads"),
        ("maxPoolSize", "pool.max"),
        ("tlsCAFile", "tls.ca"),
    ],
)
def test_an_option_that_undaunted_sets_itself(option: str, setting: str) -> None:
    path, message = only(cluster(options={option: "geheim"}))
    assert path == f"clusters.orders.options.{option}"
    assert message == f"this option is set by undaunted itself; set clusters.orders.{setting} instead."


def test_options_that_hold_secrets() -> None:
    secret = "AWS_SESSION_TOKEN:geheim"
    path, message = only(cluster(options={"authMechanismProperties": secret}))
    assert path == "clusters.orders.options.authMechanismProperties"
    assert "geheim" not in message
    given = load(cluster(options={"authMechanismProperties": {"env": "X"}}), environ={"X": secret})
    assert secret not in repr(given.settings)


def test_retry_writes_may_be_switched_off() -> None:
    settings = load(cluster(options={"retryWrites": False, "appName": "shop"}), environ={}).settings
    orders: Any = settings.clusters["orders"]
    assert orders.options == {"retryWrites": False, "appName": "shop"}


@pytest.mark.parametrize(
    ("member", "path"),
    [
        ({"hidden": True, "priority": 1}, "priority"),
        ({"arbiter": True, "priority": 2}, "priority"),
        ({"votes": 0, "priority": 1}, "priority"),
        ({"votes": 2}, "votes"),
        ({"arbiter": True, "hidden": True}, "hidden"),
        ({"arbiter": True, "votes": 0}, "votes"),
        ({"priority": 1001}, "priority"),
    ],
)
def test_a_member_that_mongodb_would_refuse(member: dict[str, Any], path: str) -> None:
    settings = cluster(provision={"members": {"mongo3.example.com": member}})
    assert only(settings)[0] == f'clusters.orders.provision.members."mongo3.example.com".{path}'


def test_members_by_address() -> None:
    members = {"mongo3.example.com": {"hidden": True}, "arbiter.example.com:1": {"arbiter": True}}
    made: Any = load(cluster(provision={"members": members}), environ={}).settings.clusters["orders"]
    assert [(n, m.effective_priority) for n, m in made.provision.members.items()] == [
        ("mongo3.example.com:27017", 0.0),
        ("arbiter.example.com:1", 0.0),
    ]
    twice = cluster(provision={"members": {"a": {}, "a:27017": {}}})
    assert "is given twice" in only(twice)[1]
    assert only(cluster(provision={"members": {"mongodb://a": {}}}))[0].endswith('"mongodb://a"')
