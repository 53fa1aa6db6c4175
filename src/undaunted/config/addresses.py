"""Addresses of nodes, read and put into one form. Asks no name server."""

from __future__ import annotations

import re
from typing import cast

from undaunted.config.raw import found, masked
from undaunted.config.structure import Key, Reader, Shape

__all__ = ["Nodes", "address"]

_HOST = re.compile(r"[^\W_]([\w.-]*\w)?\.?|\[[0-9A-Fa-f:.]+(%[\w.-]+)?\]")


def address(text: str, default_port: int) -> str:
    """Return a node's address as ``"host:port"``, in lower case and with its port.

    Raises:
        ValueError: It is no address; the message says why, and how one is written.
    """
    example = f'write "host:{default_port}", or "[::1]:{default_port}" for IPv6'
    if "://" in text:
        raise ValueError(f"{found(text)} is a URL; leave out what is before the host, or give the whole as `url`")
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host, colon, port = f"{host}]", rest[:1], rest[1:]
        if not bracket or (rest and colon != ":"):
            raise ValueError(f"{found(text)} is not an address; {example}")
    elif text.count(":") > 1:
        raise ValueError(f"{found(text)} looks like IPv6 without brackets; {example}")
    else:
        host, colon, port = text.partition(":")
    if not host or host == "[]":
        raise ValueError(f"{found(text)} has no host; {example}")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{found(text)} has characters that no host name has; {example}")
    if colon and not (port.isascii() and port.isdigit() and len(port) < 6 and 1 <= int(port) <= 65535):
        raise ValueError(f"{found(text)} has no usable port; a port is a number from 1 to 65535")
    return f"{host.lower()}:{int(port) if colon else default_port}"


class Nodes(Shape[tuple[str, ...]]):
    """A list of addresses, each once."""

    kind = "list of addresses"

    def __init__(self, default_port: int) -> None:
        self.default_port = default_port

    def _read(self, value: object, at: Key, reader: Reader) -> tuple[str, ...] | None:
        if isinstance(value, str):
            parts = ", ".join(f'"{part.strip()}"' for part in masked(value).split(","))
            reader.problem(at, f"expected a list of addresses, found a string; write [{parts}].")
            return None
        if not isinstance(value, (list, tuple)):
            reader.problem(at, f"expected a list of addresses, found {found(value)}.")
            return None
        if not value:
            reader.problem(at, f'names no node; give at least one address, such as "host:{self.default_port}".')
            return None
        read: list[str] = []
        for index, one in enumerate(cast("list[object]", value)):
            here = (*at[:-1], f"{at[-1]}[{index}]")
            if not isinstance(one, str):
                reader.problem(here, f'expected an address such as "host:{self.default_port}", found {found(one)}.')
                continue
            try:
                node = address(one, self.default_port)
            except ValueError as error:
                reader.problem(here, f"{error}.")
                continue
            if node in read:
                first = f"{at[-1]}[{read.index(node)}]"
                reader.problem(here, f"{found(one)} is the same node as {first} ({node}); list each node once.")
            read.append(node)
        return tuple(read)
