"""By which SQLSTATE a node refuses: from libpq's trace where that has it (18 and later), else from its words."""

from __future__ import annotations

import resource
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest
from psycopg import pq

from undaunted.sqlalchemy.wire import Refused, Silent, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRACES = pq.version() >= 180000


def error(code: str, words: str) -> bytes:
    """The server's message of a refusal."""
    body = b"".join(
        kind + value.encode() + b"\0" for kind, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", code), (b"M", words))
    )
    return b"E" + struct.pack("!i", len(body) + 5) + body + b"\0"


@pytest.fixture
def refusing() -> Iterator[Callable[[bytes], int]]:
    """Makes a server that answers whoever comes with these bytes, and hangs up."""
    ends: list[tuple[socket.socket, threading.Thread]] = []

    def make(answer: bytes) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.settimeout(0.05)

        def serve() -> None:
            while listening.fileno() >= 0:
                try:
                    client, _ = listening.accept()
                except TimeoutError:
                    continue
                except OSError:
                    return
                with client:
                    client.settimeout(5.0)
                    client.recv(8192)
                    if answer:
                        client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        ends.append((listening, thread))
        return int(listening.getsockname()[1])

    yield make
    for listening, thread in ends:
        listening.close()
        thread.join()


def refusal(port: int, *, listens: bool = True) -> str | None:
    wire = Wire("127.0.0.1", port, {"user": "app", "dbname": "x", "sslmode": "disable"}, listens=listens)
    with pytest.raises(Refused) as caught:
        wire.connect(time.monotonic() + 5.0)
    wire.close()
    return caught.value.sqlstate


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("28P01", 'password authentication failed for user "app"'),
        ("28000", 'no pg_hba.conf entry for host "10.0.0.1", user "app", database "x", no encryption'),
        ("28000", 'role "app" does not exist'),
        ("28000", 'role "app" is not permitted to log in'),
        ("3D000", 'database "x" does not exist'),
        ("53300", "sorry, too many clients already"),
        ("53300", 'too many connections for role "app"'),
        ("53300", "remaining connection slots are reserved for roles with the SUPERUSER attribute"),
        ("57P03", "the database system is starting up"),
    ],
)
@pytest.mark.parametrize("listens", [True, False])
def test_a_refusal(refusing: Callable[[bytes], int], code: str, words: str, listens: bool) -> None:
    assert refusal(refusing(error(code, words)), listens=listens) == code


def test_a_refusal_in_another_language(refusing: Callable[[bytes], int]) -> None:
    port = refusing(error("28P01", "Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen"))
    assert refusal(port) == ("28P01" if TRACES else None)


def test_a_password_that_is_wanted_and_not_given(refusing: Callable[[bytes], int]) -> None:
    assert refusal(refusing(b"R" + struct.pack("!ii", 8, 3))) == "28P01"


def test_a_server_that_hangs_up(refusing: Callable[[bytes], int]) -> None:
    assert refusal(refusing(b"")) is None


def test_a_port_that_nobody_listens_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    assert refusal(port) is None


def test_a_name_that_is_none() -> None:
    wire = Wire(f"{'x' * 70}.example", 5432, {"user": "app"})  # too long for a name server to be asked
    with pytest.raises(Refused):
        wire.connect(time.monotonic() + 5.0)


@pytest.fixture
def black_hole() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def test_a_server_that_says_nothing(black_hole: int) -> None:
    wire = Wire("127.0.0.1", black_hole, {"user": "app"}, listens=True)
    began_s = time.monotonic()
    with pytest.raises(Silent):
        wire.connect(began_s + 0.1)
    wire.close()
    assert 0.1 <= time.monotonic() - began_s < 2.0


def test_who_waits_can_be_called_off(black_hole: int) -> None:
    bell, button = socket.socketpair()
    with bell, button:
        wire = Wire("127.0.0.1", black_hole, {"user": "app"}, bell=bell.fileno())
        button.send(b"x")
        with pytest.raises(Refused):
            wire.connect(time.monotonic() + 60.0)
        wire.close()


def test_nothing_can_be_asked_of_what_is_not_connected() -> None:
    with pytest.raises(Refused):
        Wire("127.0.0.1", 1, {}).ask(b"SELECT 1", time.monotonic() + 1.0)


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


READY = message(b"Z", b"I")
ROW = (
    message(b"T", struct.pack("!h", 1) + b"x\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0))
    + message(b"D", struct.pack("!hi", 1, 2) + b"42")
    + message(b"C", b"SELECT 1\0")
    + READY
)


def test_a_node_is_asked_where_the_process_has_no_file_descriptors_left() -> None:
    """Else its monitor would take it for lost, and end what everybody does there."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listening.accept()
        with client:
            for answer in (message(b"R", struct.pack("!i", 0)) + READY, ROW):
                client.recv(8192)
                client.sendall(answer)
            client.recv(8192)

    thread = threading.Thread(target=serve)
    thread.start()
    port = listening.getsockname()[1]
    wire = Wire("127.0.0.1", port, {"user": "app", "dbname": "x", "sslmode": "disable", "gssencmode": "disable"})
    try:
        wire.connect(time.monotonic() + 5.0)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # all below are in use
        try:
            with pytest.raises(OSError, match="Too many open files"):
                socket.socket()
            row = wire.ask(b"SELECT 42", time.monotonic() + 5.0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    finally:
        wire.close()
        thread.join(5.0)
        listening.close()
    assert row == ["42"]
