"""URLs of clusters, taken apart far enough to compare them with the settings beside them; shown without credentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from undaunted.config.addresses import address
from undaunted.config.raw import found, is_reference, masked
from undaunted.config.secrets import Secret, is_secret_name
from undaunted.config.shapes import SecretText
from undaunted.config.structure import EnvironmentText, Key, Reader, Shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Url", "UrlText", "disagreement", "nodes_of_url", "parse_url"]


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
    parts = [part.partition("=") for part in query.replace(";", "&").split("&")]
    options = {name.lower(): value for name, _, value in parts if name}
    if "%" in location or "%" in query:
        from urllib.parse import unquote  # noqa: PLC0415 only such URLs pay for it

        database = unquote(database)
        options = {name: unquote(value) for name, value in options.items()}
    return Url(
        scheme=scheme.lower(),
        hosts=tuple(hosts.split(",")),
        database=database,
        options=options,
        has_user=bool(at),
        has_secret=":" in user or any(is_secret_name(name) for name in options),
    )


class UrlText(Shape[Secret]):
    """A URL: plainly when no password stands in it, else as ``{ env = "X" }`` or ``{ file = "X" }``."""

    kind = 'URL without password, or { env = "NAME" } or { file = "PATH" }'
    is_text = True

    def __init__(self, *schemes: str, instead: str = "") -> None:
        self.schemes = schemes
        self.instead = instead

    def _read(self, value: object, at: Key, reader: Reader) -> Secret | None:
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
                f'{{ env = "VARIABLE" }} or {{ file = "PATH" }}{self.instead}.',
            )
            return None
        return Secret(secret.reveal(), origin=secret.origin, shown=masked(secret.reveal()))


def nodes_of_url(url: Secret | None, default_port: int) -> list[str]:
    """The nodes that a URL names; none for one that names a DNS record, or no host.

    Raises:
        ValueError: One of them is no address; the message does not show it, as it could be a misplaced password.
    """
    if url is None:
        return []
    parts = parse_url(url.reveal())
    if parts.scheme.endswith("+srv") or parts.hosts == ("",):
        return []
    nodes: list[str] = []
    for number, host in enumerate(parts.hosts, 1):
        try:
            node = address(host, default_port)
        except ValueError:
            raise ValueError(
                f'has as host number {number} what is not an address; write "host:{default_port}", after the user and @'
            ) from None
        if node in nodes:
            raise ValueError(f"names the node {node} twice; list each node once")
        nodes.append(node)
    return nodes


def disagreement(nodes: tuple[str, ...], of_url: list[str]) -> Iterator[tuple[Key, str]]:
    """Yield a mistake when nodes and URL are both given and name different nodes."""
    if nodes and of_url and set(nodes) != set(of_url):
        yield (
            ("nodes",),
            f"names {', '.join(nodes)}, but the url names {', '.join(of_url)}; make them agree, or leave one out.",
        )
