"""The settings of a PostgreSQL cluster used through SQLAlchemy."""

# ruff: noqa: RUF009  (`setting` makes a dataclass field)

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from undaunted.config.addresses import Nodes
from undaunted.config.clusters import ClusterSettings
from undaunted.config.structure import Key, setting
from undaunted.config.urls import UrlText, disagreement, nodes_of_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from undaunted.config.secrets import Secret

__all__ = ["SQLAlchemySettings"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SQLAlchemySettings(ClusterSettings):
    """A PostgreSQL primary and its standbys, used through SQLAlchemy."""

    default_port: ClassVar[int] = 5432

    url: Secret | None = setting(
        UrlText("postgresql"),
        "Driver, user and database as a URL of SQLAlchemy; its host may be left out when nodes are given.",
        default=None,
        required=True,
        also=("uri", "dsn"),
    )
    nodes: tuple[str, ...] = setting(
        Nodes(5432),
        "Addresses of the primary and all standbys.",
        default=(),
        effective="that of the url",
        also=("hosts",),
    )

    def completed(self) -> SQLAlchemySettings:
        """The same with the node that the URL names, where `nodes` is left out."""
        return self if self.nodes or self.url is None else replace(self, nodes=tuple(self._url_nodes()))

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the fields."""
        if self.url is None:
            return
        try:
            named = self._url_nodes()
        except ValueError as error:
            yield ("url",), f"{error}."
            return
        if not named and not self.nodes:
            yield ("nodes",), "names no node, and neither does the url; list the primary and its standbys."
        yield from disagreement(self.nodes, [] if set(named) <= set(self.nodes) else named)

    def _url_nodes(self) -> list[str]:
        return nodes_of_url(self.url, self.default_port)
