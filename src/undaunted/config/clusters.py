"""What every cluster has, and the clusters of Cassandra and SQLAlchemy."""

# ruff: noqa: RUF009  (`setting` makes a dataclass field)

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from undaunted.config.sections import (
    HEDGE,
    READS,
    READS_DOC,
    BreakerSettings,
    BudgetSettings,
    HedgeSettings,
    RetrySettings,
)
from undaunted.config.shapes import Choice, Duration, FilePath, SecretText, Switch, Text
from undaunted.config.structure import Key, Section, Table, setting
from undaunted.core.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from undaunted.config.secrets import Secret
    from undaunted.core.policy import Reads

__all__ = ["ClusterSettings", "CredentialSettings", "HeartbeatSettings", "TlsSettings", "Verify"]

Verify = Literal["full", "ca", "none"]
_VERIFY: Choice[Verify] = Choice(get_args(Verify))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CredentialSettings(Section):
    """Who the application is to the database."""

    username: str | None = setting(Text(), "Name of the user.", default=None, also=("user",))
    password: Secret | None = setting(SecretText(), "Password of the user.", default=None)

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the fields."""
        if self.password is not None and self.username is None:
            yield ("username",), "is missing, although there is a password; give it."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TlsSettings(Section):
    """Encryption of the connections; the table's presence switches it on."""

    enabled: bool = setting(Switch(), "Whether connections are encrypted.", default=True)
    ca: str | None = setting(
        FilePath(),
        "Certificates that sign the nodes'.",
        default=None,
        effective="the system's",
        also=("cafile", "ca_file"),
    )
    certificate: str | None = setting(
        FilePath(), "The client's own certificate and key, in one PEM file.", default=None, also=("cert", "certfile")
    )
    key_password: Secret | None = setting(SecretText(), "Password of that key.", default=None)
    verify: Verify = setting(
        _VERIFY,
        'What is checked: "full"; "ca" (the certificate, not the host name); "none".',
        default="full",
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class HeartbeatSettings(Section):
    """How quickly a lost node is noticed."""

    interval: float = setting(
        # pymongo refuses a shorter one
        Duration(at_least_s=0.5),
        "Time between two checks of a node.",
        default=1.0,
    )
    timeout: float = setting(
        Duration(), "Time after which an unanswered check, or an attempt to connect, has failed.", default=2.0
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ClusterSettings(Section):
    """What every cluster has.

    Attributes:
        name: The cluster's name, the key of its table.
        nodes: The addresses of its nodes as ``"host:port"``; a setting of each backend's own.
    """

    name: str = ""
    backend: str = setting(
        Text(),
        'What keeps it: "mongodb", "cassandra" or "sqlalchemy".',
        default="",
        required=True,
        also=("engine", "type"),
    )
    profile: str | None = setting(Text(), "Profile beneath the cluster's own settings.", default=None, effective="none")
    default: bool = setting(Switch(), "Whether models that name no cluster live here; one for each ORM.", default=False)
    required: bool = setting(
        Switch(), "Whether the application counts as not ready while this cluster is down.", default=True
    )
    reads: Reads | None = setting(READS, READS_DOC, default=None, effective="primary", also=("read_preference",))
    retry: RetrySettings = setting(
        Table(RetrySettings), "How often and how long a call is tried.", default=RetrySettings()
    )
    budget: BudgetSettings = setting(Table(BudgetSettings), "What retries cost.", default=BudgetSettings())
    breaker: BreakerSettings = setting(Table(BreakerSettings), "When a node is left alone.", default=BreakerSettings())
    hedge: HedgeSettings = setting(HEDGE, "A second read for a slow one.", default=HedgeSettings())
    nodes: tuple[str, ...] = ()

    default_port: ClassVar[int] = 0
    base: ClassVar[Policy] = Policy()
    """What bounds a call where nothing is set."""
    one_of: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Keys of which at least one must be given."""

    def completed(self) -> ClusterSettings:
        """The same with what follows from its settings filled in, such as the nodes that its URL names."""
        return self

    def over(self, base: Policy) -> Policy:
        """Lay what this cluster says of its calls over `base`."""
        policy = self.retry.over(base)
        return policy if self.reads is None else replace(policy, reads=self.reads)
