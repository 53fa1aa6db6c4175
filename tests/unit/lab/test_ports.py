"""Ports: free, below the outgoing ones, and refused in one sentence."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from undaunted.lab import LabError
from undaunted.lab.ports import LOOPBACK, check_free, choose, is_free


@pytest.fixture
def listener():
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        sock.listen()
        yield sock.getsockname()[1]


def test_chosen_ports_differ_are_free_and_not_ephemeral():
    border = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = choose(20, taken=())
    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)
    assert border <= 16_000 or max(ports) < border


def test_ports_of_other_labs_are_not_chosen(monkeypatch):
    monkeypatch.setattr("undaunted.lab.ports._LOWEST", 20_000)
    monkeypatch.setattr("undaunted.lab.ports._first_ephemeral", lambda: 21_001)
    taken = set(range(20_000, 20_900))
    assert min(choose(5, taken=taken)) >= 20_900


def test_no_free_port_is_an_error_and_not_an_endless_search(monkeypatch):
    monkeypatch.setattr("undaunted.lab.ports.is_free", lambda *_: False)
    with pytest.raises(LabError, match="No 3 free ports were found"):
        choose(3, taken=())


def test_a_port_in_use_is_named(listener):
    assert not is_free(listener)
    with pytest.raises(LabError, match=f"Port {listener} on 127.0.0.1 is in use"):
        check_free([listener], taken=())


@pytest.mark.parametrize(
    ("ports", "message"),
    [([0], "Port 0 does not exist"), ([70_000], "Port 70000 does not exist"), ([20_001, 20_001], "is named twice")],
)
def test_impossible_ports(ports, message):
    with pytest.raises(LabError, match=message):
        check_free(ports, taken=())


def test_a_port_of_a_lab_whose_node_is_down_is_refused():
    (port,) = choose(1, taken=())
    with pytest.raises(LabError, match="belongs to another lab"):
        check_free([port], taken={port})
