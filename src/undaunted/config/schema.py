"""Every setting there is: its type, its default, its meaning. The reference in the docs is made from this."""

# ruff: noqa: RUF009  (`setting` makes a dataclass field)

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from undaunted.config.clusters import ClusterSettings
from undaunted.config.raw import as_table, found
from undaunted.config.sections import (
    HEDGE,
    BreakerSettings,
    BudgetSettings,
    HedgeSettings,
    ModelSettings,
    ProfileSettings,
    RetrySettings,
)
from undaunted.config.structure import Key, Reader, Section, Shape, Table, Tables, infos, near, setting
from undaunted.config.web import WebSettings
from undaunted.core.policy import BreakerPolicy, BudgetPolicy, HedgePolicy, Policy
from undaunted.errors import ConfigurationError, Problem

__all__ = ["BACKENDS", "Settings", "cluster_class"]

BACKENDS: Mapping[str, tuple[str, str]] = {
    "cassandra": ("undaunted.config.cassandra", "CassandraSettings"),
    "mongodb": ("undaunted.config.mongodb", "MongoDBSettings"),
    "sqlalchemy": ("undaunted.config.sqlalchemy", "SQLAlchemySettings"),
}
"""Where the settings of each backend's clusters are; imported when the first such cluster is read."""

_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9-]*(_[A-Za-z0-9-]+)*")


def cluster_class(backend: str) -> type[ClusterSettings]:
    """Return the dataclass of a backend's clusters."""
    module, name = BACKENDS[backend]
    return cast("type[ClusterSettings]", getattr(import_module(module), name))


class Clusters(Shape[Mapping[str, ClusterSettings]]):
    """The clusters by name; `backend` says which keys each of them has."""

    kind = "table by name"

    def _read(self, value: object, at: Key, reader: Reader) -> Mapping[str, ClusterSettings] | None:
        tables = as_table(value)
        if tables is None:
            reader.problem(at, f"expected a table for each cluster, found {found(value)}.")
            return None
        clusters: dict[str, ClusterSettings] = {}
        for name, table in tables.items():
            here = (*at, name)
            if not _ALIAS.fullmatch(name):
                reader.problem(
                    here,
                    "a cluster's name must be usable as an alias: a letter, then letters, digits, - and single _.",
                )
            before = len(reader.problems)
            cluster = self._cluster(name, table, here, reader)
            if cluster is not None:
                clusters[name] = cluster.completed() if len(reader.problems) == before else cluster
        return clusters

    @staticmethod
    def _cluster(name: str, value: object, at: Key, reader: Reader) -> ClusterSettings | None:
        given = as_table(value)
        if given is None:
            return Table(ClusterSettings).read(value, at, reader)
        table = dict(given)
        cls = _class_of(table, at, reader)
        if cls is ClusterSettings:
            table = {key: one for key, one in table.items() if key in infos(ClusterSettings)}
        made = Table(cls, name=name).read(table, at, reader)
        for keys in cls.one_of:
            if not any(table.get(key) is not None or reader.is_meant(at, key) for key in keys):
                reader.problem((*at, keys[0]), f"is missing; give {' or '.join(keys)}.")
        return made


def _class_of(table: dict[str, object], at: Key, reader: Reader) -> type[ClusterSettings]:
    """The dataclass for a cluster; of what was probably meant, or of what all have in common, when that is unclear."""
    backend = table.get("backend")
    if isinstance(backend, str) and backend in BACKENDS:
        return cluster_class(backend)
    hint = near(backend, BACKENDS) if backend is not None else ""
    what = "is missing; " if backend is None else f"unknown backend {found(backend)}; "
    reader.problem((*at, "backend"), f"{what}{hint}Give one of {', '.join(BACKENDS)}.")
    table["backend"] = "unknown"  # reported; the rest is looked at all the same
    return next((cluster_class(known) for known in BACKENDS if f"'{known}'" in hint), ClusterSettings)


class Models(Tables[ModelSettings]):
    """Models by the dotted path of their class."""

    def _read(self, value: object, at: Key, reader: Reader) -> Mapping[str, ModelSettings] | None:
        table = as_table(value)
        for name in table or ():
            if "." not in name:
                message = 'is not the dotted path of a class; write it in quotes, as in [models."shop.models.Order"].'
                reader.problem((*at, name), message)
        return super()._read(value if table is None else {n: m for n, m in table.items() if "." in n}, at, reader)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Settings(Section):
    """All settings of an application. The nearer level holds; within a table, its own keys over its profile's."""

    clusters: Mapping[str, ClusterSettings] = setting(
        Clusters(), "The clusters, by name.", default={}, also=("databases",)
    )
    profiles: Mapping[str, ProfileSettings] = setting(
        Tables(Table(ProfileSettings)), "Named bundles that clusters, models and calls choose.", default={}
    )
    models: Mapping[str, ModelSettings] = setting(
        Models(Table(ModelSettings)), "What single models want otherwise, by their dotted path.", default={}
    )
    retry: RetrySettings = setting(
        Table(RetrySettings), "How often and how long a call is tried.", default=RetrySettings()
    )
    budget: BudgetSettings = setting(Table(BudgetSettings), "What retries cost.", default=BudgetSettings())
    breaker: BreakerSettings = setting(Table(BreakerSettings), "When a node is left alone.", default=BreakerSettings())
    hedge: HedgeSettings = setting(HEDGE, "A second read for a slow one.", default=HedgeSettings())
    web: WebSettings = setting(Table(WebSettings), "What the parts for Django and Flask do.", default=WebSettings())

    def policy_for(
        self,
        cluster: str | ClusterSettings,
        profile: str | None = None,
        model: str | None = None,
        *,
        declared: ModelSettings | None = None,
    ) -> Policy:
        """Return what bounds a call: defaults < `retry` < cluster < profile < model.

        Args:
            cluster: The cluster, or its name.
            profile: The profile that the call asks for; else the model's, else the cluster's own holds.
            model: The model's dotted path, as in ``[models."shop.models.Order"]``.
            declared: What the model's class declares itself; `models` in the settings stands over it.

        Raises:
            ConfigurationError: There is no such profile or cluster.
        """
        found_cluster = self.cluster(cluster)
        configured = self.models.get(model) if model is not None else None
        levels = [level for level in (declared, configured) if level is not None]
        chosen = profile or next((level.profile for level in reversed(levels) if level.profile), None)
        policy = self.retry.over(found_cluster.base)
        if found_cluster.profile and not chosen:
            policy = self._profile(found_cluster.profile).over(policy)
        policy = found_cluster.over(policy)
        if chosen:
            policy = self._profile(chosen).over(policy)
        for level in levels:
            policy = level.over(policy)
        return policy

    def deadline_of(self, profile: str) -> float:
        """Return the seconds that a profile gives to everything within it together, such as a whole request.

        Raises:
            ConfigurationError: There is no such profile.
        """
        own = self._profile(profile).retry.deadline
        return own or self.retry.deadline or Policy().deadline_s

    def budget_for(self, cluster: str | ClusterSettings) -> BudgetPolicy:
        """Return the budget of a cluster: defaults < `budget` < the cluster's."""
        return self.cluster(cluster).budget.over(self.budget.over(BudgetPolicy()))

    def breaker_for(self, cluster: str | ClusterSettings) -> BreakerPolicy:
        """Return the breakers' numbers in a cluster: defaults < `breaker` < the cluster's."""
        return self.cluster(cluster).breaker.over(self.breaker.over(BreakerPolicy()))

    def hedge_for(self, cluster: str | ClusterSettings) -> HedgePolicy:
        """Return how reads are hedged in a cluster: defaults < `hedge` < the cluster's."""
        return self.cluster(cluster).hedge.over(self.hedge.over(HedgePolicy()))

    def cluster(self, cluster: str | ClusterSettings) -> ClusterSettings:
        """Return a cluster by its name.

        Raises:
            ConfigurationError: No cluster has this name.
        """
        if isinstance(cluster, ClusterSettings):
            return cluster
        if cluster not in self.clusters:
            raise ConfigurationError(problems=[Problem("cluster", _unknown("cluster", cluster, self.clusters))])
        return self.clusters[cluster]

    def _profile(self, name: str) -> ProfileSettings:
        if name not in self.profiles:
            raise ConfigurationError(problems=[Problem("profile", _unknown("profile", name, self.profiles))])
        return self.profiles[name]

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the clusters, profiles and models."""
        yield from self._defaults()
        for section, users in (("clusters", self.clusters), ("models", self.models)):
            for name, user in users.items():
                if user.profile is not None and user.profile not in self.profiles:
                    yield (section, name, "profile"), _unknown("profile", user.profile, self.profiles)
        for name, model in self.models.items():
            if model.cluster is not None and model.cluster not in self.clusters:
                yield ("models", name, "cluster"), _unknown("cluster", model.cluster, self.clusters)

        for at, profile in self.web.named_profiles():
            if self.profiles and profile not in self.profiles:  # without any, that they are wrong has been told
                yield ("web", *at), _unknown("profile", profile, self.profiles)

    def _defaults(self) -> Iterator[tuple[Key, str]]:
        """Each ORM has one default; its own name for it is ``default``, so a cluster of that name is it."""
        for backend in BACKENDS:
            names = [n for n, c in self.clusters.items() if c.backend == backend and (c.default or n == "default")]
            for name in names[1:]:
                yield (
                    ("clusters", name, "default"),
                    f"{backend} has a default already, the cluster {names[0]!r}; leave default = true in one of them.",
                )


def _unknown(what: str, name: str, names: Mapping[str, Any]) -> str:
    known = ", ".join(names) or "none"
    return f"there is no {what} {found(name)}; {near(name, names)}Configured: {known}."
