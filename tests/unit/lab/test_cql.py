"""The few frames of CQL that the lab speaks, against a node of the test's own."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from undaunted.lab import LabNode, cql

READY, AUTHENTICATE, SUPPORTED, RESULT, AUTH_SUCCESS, ERROR = 2, 3, 6, 8, 16, 0


def text(value):
    return struct.pack(">H", len(value)) + value.encode()


def rows(columns, values, *, is_global=True):
    """A result: columns as (name, the bytes of its type), values as bytes or None."""
    body = struct.pack(">iii", 2, 1 if is_global else 0, len(columns))
    table = text("system") + text("peers")
    body += table if is_global else b""
    for name, kind in columns:
        body += (b"" if is_global else table) + text(name) + kind
    body += struct.pack(">i", len(values))
    for row in values:
        for value in row:
            body += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return RESULT, body


def error(code, said):
    return ERROR, struct.pack(">i", code) + text(said)


@pytest.fixture
def node():
    """Starts a node that gives these answers, one a request; `sent` holds what it was asked."""
    listeners, threads, sent = [], [], []

    def start(*answers, name="n1"):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve():
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                for kind, body, *flags in answers:
                    head = lines.read(9)
                    if len(head) < 9:
                        return
                    sent.append((head[4], lines.read(struct.unpack(">i", head[5:])[0])))
                    connection.sendall(struct.pack(">BBhBi", 0x84, sum(flags), 0, kind, len(body)) + body)

        thread = threading.Thread(target=serve, daemon=True)
        threads.append(thread)
        thread.start()
        return LabNode(None, name=name, host="127.0.0.1", port=listener.getsockname()[1])

    start.sent = sent
    yield start
    for listener in listeners:
        listener.close()


def test_a_query_and_its_rows(node):
    inet, uuid, names = b"\0\x10", b"\0\x0c", b"\0\x22\0\x0d"
    at = node((READY, b""), rows([("peer", inet), ("host_id", uuid), ("tokens", names)], [(b"\x7f\0\0\1", None, b"x")]))
    with cql.Connection(at, credentials=None, timeout_s=5) as connection:
        assert connection.query("SELECT 1", consistency=cql.ALL) == [
            {"peer": b"\x7f\0\0\1", "host_id": None, "tokens": b"x"}
        ]
    assert node.sent[0][0] == 1
    assert b"CQL_VERSION" in node.sent[0][1]
    assert node.sent[1] == (7, struct.pack(">i", 8) + b"SELECT 1" + b"\0\5" + b"\0")


@pytest.mark.parametrize(
    "kind",
    [
        b"\0\x00" + text("org.apache.Type"),
        b"\0\x20\0\x09",
        b"\0\x21\0\x09\0\x22\0\x0d",
        b"\0\x30" + text("shop") + text("address") + b"\0\2" + text("a") + b"\0\x09" + text("b") + b"\0\x20\0\x09",
        b"\0\x31\0\2\0\x09\0\x0d",
    ],
    ids=["custom", "list", "map of sets", "user type", "tuple"],
)
def test_every_type_is_passed_over(node, kind):
    at = node((READY, b""), rows([("a", kind), ("b", b"\0\x0d")], [(b"1", b"2"), (b"3", b"4")], is_global=False))
    with cql.Connection(at, credentials=None, timeout_s=5) as connection:
        assert connection.query("SELECT") == [{"a": b"1", "b": b"2"}, {"a": b"3", "b": b"4"}]


def test_a_result_without_rows(node):
    at = node((READY, b""), (RESULT, struct.pack(">i", 1)))
    with cql.Connection(at, credentials=None, timeout_s=5) as connection:
        assert connection.query("INSERT") == []


def test_warnings_are_passed_over(node):
    kind, body = rows([("found", b"\0\2")], [(b"\0\0\0\0\0\0\0\7",)])
    warned = struct.pack(">H", 2) + text("slow") + text("very slow") + body
    at = node((READY, b""), (kind, warned, 0x08))
    with cql.Connection(at, credentials=None, timeout_s=5) as connection:
        assert connection.query("SELECT") == [{"found": b"\0\0\0\0\0\0\0\7"}]


def test_a_login(node):
    at = node((AUTHENTICATE, text("Password")), (AUTH_SUCCESS, b""))
    cql.Connection(at, credentials=("shop", "päss"), timeout_s=5).close()
    token = "\0shop\0päss".encode()
    assert node.sent[1] == (15, struct.pack(">i", len(token)) + token)


def test_a_login_that_is_refused_tells_no_password(node):
    at = node((AUTHENTICATE, text("Password")), error(0x0100, "Provided username shop is wrong"))
    with pytest.raises(cql.Refused, match="n1 answered with error 0x0100: Provided username") as caught:
        cql.Connection(at, credentials=("shop", "secret"), timeout_s=5)
    assert caught.value.code == 0x0100
    assert "secret" not in str(caught.value)


def test_a_login_that_nobody_has(node):
    with pytest.raises(cql.Refused, match="it demands a login, and the lab has none"):
        cql.Connection(node((AUTHENTICATE, text("Password"))), credentials=None, timeout_s=5)


def test_an_error_leaves_the_connection_usable(node):
    at = node((READY, b""), error(0x2200, "unconfigured table"), (RESULT, struct.pack(">i", 1)))
    with cql.Connection(at, credentials=None, timeout_s=5) as connection:
        with pytest.raises(cql.Refused, match="unconfigured table"):
            connection.query("SELECT")
        assert connection.query("SELECT") == []


def test_a_node_that_is_silent_or_gone(node):
    at = node((READY, b""))
    with cql.Connection(at, credentials=None, timeout_s=5) as connection, pytest.raises(OSError, match=r"closed|reset"):
        connection.query("SELECT")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = LabNode(None, name="n1", host="127.0.0.1", port=silent.getsockname()[1])
        with pytest.raises(TimeoutError):
            cql.Connection(mute, credentials=None, timeout_s=0.05)


def test_who_answers(node):
    well, foreign = node((SUPPORTED, b"\0\0"), name="n1"), node((ERROR, b"\0\0\0\0\0\0"), name="n3")
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        mute = LabNode(None, name="n2", host="127.0.0.1", port=silent.getsockname()[1])
        gone = LabNode(None, name="n4", host="127.0.0.1", port=bound.getsockname()[1])
        assert cql.answering([well, mute, foreign, gone], timeout_s=0.3) == {"n1": True}
