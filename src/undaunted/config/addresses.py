"""Addresses of nodes and URLs of clusters: read, put into one form, and compared. Asks no name server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from undaunted.config.secrets import Secret, found, is_reference, is_secret_name, masked
from undaunted.config.shapes import SecretText
from undaunted.config.structure import EnvironmentText, Key, Reader, Shape

__all__ = ["Nodes", "Url", "UrlText", "address", "parse_url"]

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
        host, _, rest = text.partition("]")
        host, colon, port = f"{host}]", rest[:1], rest[1:]
        if rest and colon != ":":
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

    def read(self, value: object, at: Key, reader: Reader) -> tuple[str, ...] | None:
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


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of a URL that settings are compared with; it holds no password.

    Attributes:
        scheme: In lower case, such as ``"mongodb+srv"``.
        hosts: As written, without user and password.
        database: What stands after the slash, or an empty string.
        options: The options after the question mark, their names in lower case.
        has_user: Whether a user name stands in it.
        has_secret: Whether a password stands in it.
    """

    scheme: str
    hosts: tuple[str, ...]
    database: str
    options: Mapping[str, str]
    has_user: bool
    has_secret: bool


def parse_url(text: str) -> Url:
    """Take a URL apart.

    Raises:
        ValueError: It cannot be taken apart; the message shows nothing of it.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator or not scheme:
        raise ValueError('is not a URL; it starts with a scheme, such as "mongodb://"')
    location, _, query = rest.partition("?")
    authority, _, database = location.partition("/")
    user, at, hosts = authority.rpartition("@")
    if "@" in user or (not at and "@" in rest):
        raise ValueError("has a special character in its user name or password; write @ as %40, / as %2F and ? as %3F")
    options = dict(part.partition("=")[::2] for part in re.split("[&;]", query) if part)
    return Url(
        scheme=scheme.lower(),
        hosts=tuple(hosts.split(",")),
        database=database,
        options={name.lower(): value for name, value in options.items()},
        has_user=bool(at),
        has_secret=":" in user or any(is_secret_name(name) for name in options),
    )


class UrlText(Shape[Secret]):
    """A URL: plainly when no password stands in it, else as ``{ env = "X" }`` or ``{ file = "X" }``."""

    kind = 'URL without password, or { env = "NAME" } or { file = "PATH" }'
    is_text = True

    def __init__(self, *schemes: str) -> None:
        self.schemes = schemes

    def read(self, value: object, at: Key, reader: Reader) -> Secret | None:
        if isinstance(value, str) and not isinstance(value, EnvironmentText):
            secret: Secret | None = Secret(value, origin="the settings")
        elif is_reference(value) or isinstance(value, EnvironmentText):
            secret = SecretText().read(value, at, reader)
        else:
            reader.problem(at, f'expected a URL, {{ env = "VARIABLE" }} or {{ file = "PATH" }}; found {found(value)}.')
            return None
        if secret is None:
            return None
        whose = "" if secret.origin == "the settings" else f"the URL from {secret.origin} "
        try:
            url = parse_url(secret.reveal())
        except ValueError as error:
            reader.problem(at, f"{whose}{error}.")
            return None
        if self.schemes and url.scheme.partition("+")[0] not in self.schemes:
            reader.problem(at, f"{whose}starts with {url.scheme!r}; expected {' or '.join(map(repr, self.schemes))}.")
            return None
        if url.has_secret and not whose:
            reader.problem(
                at,
                "has a password in it, and a secret is never written in the settings; give the whole URL as "
                '{ env = "VARIABLE" } or { file = "PATH" }, or leave the password to credentials.password.',
            )
            return None
        return Secret(secret.reveal(), origin=secret.origin, shown=masked(secret.reveal()))
