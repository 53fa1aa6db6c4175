"""Ports: free, below the outgoing ones, kept against other labs, and refused in one sentence."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from pathlib import Path

import pytest

from undaunted.lab import LabError
from undaunted.lab.ports import LOOPBACK, choose, is_free, keep


@pytest.fixture
def listener():
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        sock.listen()
        yield sock.getsockname()[1]


@pytest.fixture
def lab():
    """Claims as the guardian of a lab does, for as long as the test lasts; call it for each lab."""
    with contextlib.ExitStack() as held:

        def one():
            def claim(host, port):
                sock = held.enter_context(socket.socket())
                try:
                    sock.bind((host, port))
                except OSError as error:
                    return error.errno
                return None

            return claim

        yield one


def test_chosen_ports_differ_are_free_and_not_ephemeral(lab):
    border = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = choose(20, claim=lab())
    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)
    assert border <= 16_000 or max(ports) < border


def test_labs_that_draw_the_same_lots_get_ports_of_their_own(lab):
    """As two do that are started by tests which seed the random numbers; their servers do not listen yet."""
    random.seed(1)
    first = choose(3, claim=lab())
    random.seed(1)
    assert not set(first) & set(choose(3, claim=lab()))


def test_no_free_port_is_an_error_and_not_an_endless_search(lab, monkeypatch):
    monkeypatch.setattr("undaunted.lab.ports.is_free", lambda *_: False)
    with pytest.raises(LabError, match="No 3 free ports were found"):
        choose(3, claim=lab())


def test_a_port_in_use_is_named(lab, listener):
    assert not is_free(listener)
    with pytest.raises(LabError, match=f"Port {listener} on 127.0.0.1 is in use"):
        keep([listener], claim=lab())


@pytest.mark.parametrize(
    ("ports", "message"),
    [([0], "Port 0 does not exist"), ([70_000], "Port 70000 does not exist"), ([20_001, 20_001], "is named twice")],
)
def test_impossible_ports(lab, ports, message):
    with pytest.raises(LabError, match=message):
        keep(ports, claim=lab())


def test_a_port_of_a_lab_whose_node_is_down_is_refused(lab):
    (port,) = choose(1, claim=lab())
    with pytest.raises(LabError, match="belongs to another lab"):
        keep([port], claim=lab())


def test_a_refusal_that_is_not_of_another_lab_keeps_nobody_from_a_port(lab):
    (port,) = choose(1, claim=lab())
    keep([port], claim=lambda *_: errno.EACCES)
