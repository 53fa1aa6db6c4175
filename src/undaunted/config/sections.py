"""The sections of the settings that stand at several levels, and how a nearer level is laid over a farther one.

None means "not set at this level". Durations are held in seconds.
"""

# ruff: noqa: RUF009  (`setting` makes a dataclass field)

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args

from undaunted.config.shapes import Choice, Duration, Number, Switch, Text, Whole
from undaunted.config.structure import Key, Reader, Section, Table, setting
from undaunted.core.policy import Backoff, BreakerPolicy, BudgetPolicy, HedgePolicy, Policy, Reads

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BackoffSettings",
    "BreakerSettings",
    "BudgetSettings",
    "HedgeSettings",
    "ManyWrites",
    "ModelSettings",
    "OpenSettings",
    "ProfileSettings",
    "RetrySettings",
]

T = TypeVar("T")
ManyWrites = Literal["transaction", "plain"]

_POLICY, _BUDGET, _BREAKER, _HEDGE = Policy(), BudgetPolicy(), BreakerPolicy(), HedgePolicy()

READS: Choice[Reads] = Choice(get_args(Reads))
MANY_WRITES: Choice[ManyWrites] = Choice(get_args(ManyWrites))

READS_DOC = (
    'Where reads go: "primary"; "fallback" (the primary, and a replica while there is none); "replica"; '
    '"any" (whichever is nearest).'
)
MANY_WRITES_DOC = (
    'How a write to many documents runs: "transaction" makes it safe to run again, "plain" is a little faster, and '
    "its outcome is unknown after a failure."
)


def _over(base: T, **changes: object) -> T:
    given: Any = {name: value for name, value in changes.items() if value is not None}
    return cast("T", replace(cast("Any", base), **given))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class BackoffSettings(Section):
    """Waits between executions: full jitter, ``U(0, min(max, initial * multiplier ** n))``."""

    initial: float | None = setting(
        Duration(), "Upper bound of the first wait.", default=None, effective=_POLICY.backoff.initial_s
    )
    max: float | None = setting(Duration(), "Upper bound of every wait.", default=None, effective=_POLICY.backoff.max_s)
    multiplier: float | None = setting(
        Number(1), "Growth of the upper bound.", default=None, effective=_POLICY.backoff.multiplier
    )

    def over(self, base: Backoff) -> Backoff:
        """Lay these over `base`."""
        return _over(base, initial_s=self.initial, max_s=self.max, multiplier=self.multiplier)

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the fields."""
        if self.initial is not None and self.max is not None and self.initial > self.max:
            yield ("initial",), f"{self.initial:g} s is longer than max, {self.max:g} s; lower it, or raise max."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RetrySettings(Section):
    """How often and how long a call is tried."""

    attempts: int | None = setting(
        Whole(1),
        "Executions that may have reached a server, the first one counted.",
        default=None,
        effective=_POLICY.attempts,
        also=("retries", "max_attempts", "max_retries"),
    )
    deadline: float | None = setting(
        Duration(),
        "Time for the whole call, every wait included.",
        default=None,
        effective=_POLICY.deadline_s,
        also=("timeout", "total_timeout"),
    )
    backoff: BackoffSettings = setting(Table(BackoffSettings), "Waits between executions.", default=BackoffSettings())
    fail_fast_after: float | None = setting(
        Duration(),
        "Age of a total outage after which calls fail at once, until a node is back.",
        default=None,
        effective="the larger of 15s and the deadline",
    )
    idempotent: bool | None = setting(
        Switch(),
        "Whether writes may run again although an earlier execution may have happened; declare it only where "
        "running a write twice does no harm.",
        default=None,
        effective="decided for each write",
    )

    def over(self, base: Policy) -> Policy:
        """Lay these over `base`."""
        return _over(
            base,
            attempts=self.attempts,
            deadline_s=self.deadline,
            backoff=self.backoff.over(base.backoff),
            fail_fast_after_s=self.fail_fast_after,
            idempotent=self.idempotent,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class BudgetSettings(Section):
    """The tokens that retries cost, one bucket for each cluster, so that a failing cluster is not stormed."""

    capacity: float | None = setting(
        Number(1),
        "Tokens at the start and at most; choose more than there are concurrent callers.",
        default=None,
        effective=_BUDGET.capacity,
    )
    deposit: float | None = setting(Number(0), "Tokens added by each success.", default=None, effective=_BUDGET.deposit)
    refill_per_second: float | None = setting(
        Number(0), "Tokens added each second.", default=None, effective=_BUDGET.refill_per_s
    )

    def over(self, base: BudgetPolicy) -> BudgetPolicy:
        """Lay these over `base`."""
        return _over(base, capacity=self.capacity, deposit=self.deposit, refill_per_s=self.refill_per_second)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class OpenSettings(Section):
    """How long a breaker stays open."""

    initial: float | None = setting(
        Duration(), "The first time; doubled each time after.", default=None, effective=_BREAKER.open_initial_s
    )
    max: float | None = setting(Duration(), "At most.", default=None, effective=_BREAKER.open_max_s)

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the fields."""
        if self.initial is not None and self.max is not None and self.initial > self.max:
            yield ("initial",), f"{self.initial:g} s is longer than max, {self.max:g} s; lower it, or raise max."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class BreakerSettings(Section):
    """When a node is left alone for a while."""

    consecutive_failures: int | None = setting(
        Whole(1), "Failures in a row that open it.", default=None, effective=_BREAKER.consecutive_failures
    )
    failure_rate: float | None = setting(
        Number(0, 1, above=True),
        "Share of failed calls within the window that opens it.",
        default=None,
        effective=_BREAKER.failure_rate,
    )
    minimum_calls: int | None = setting(
        Whole(1),
        "Calls within the window before the rate counts.",
        default=None,
        effective=_BREAKER.minimum_calls,
    )
    window: float | None = setting(Duration(), "Length of the window.", default=None, effective=_BREAKER.window_s)
    open: OpenSettings = setting(Table(OpenSettings), "How long it stays open.", default=OpenSettings())

    def over(self, base: BreakerPolicy) -> BreakerPolicy:
        """Lay these over `base`."""
        return _over(
            base,
            consecutive_failures=self.consecutive_failures,
            failure_rate=self.failure_rate,
            minimum_calls=self.minimum_calls,
            window_s=self.window,
            open_initial_s=self.open.initial,
            open_max_s=self.open.max,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class HedgeSettings(Section):
    """A second read sent when the first is slower than usual."""

    enabled: bool | None = setting(Switch(), "Whether reads are hedged.", default=None, effective=_HEDGE.enabled)
    quantile: float | None = setting(
        Number(0.5, 0.999), "Which of the recent reads counts as slow.", default=None, effective=_HEDGE.quantile
    )

    def over(self, base: HedgePolicy) -> HedgePolicy:
        """Lay these over `base`."""
        return _over(base, enabled=self.enabled, quantile=self.quantile)


class _SwitchOrTable(Table[HedgeSettings]):
    """The table, or just whether: ``hedge = true``."""

    kind = "true, false or table"

    def _read(self, value: object, at: Key, reader: Reader) -> HedgeSettings | None:
        return super()._read({"enabled": value} if isinstance(value, bool) else value, at, reader)


HEDGE = _SwitchOrTable(HedgeSettings)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ProfileSettings(Section):
    """A named bundle of settings that a cluster, a model or a call may choose."""

    retry: RetrySettings = setting(
        Table(RetrySettings), "How often and how long a call is tried.", default=RetrySettings()
    )
    reads: Reads | None = setting(READS, READS_DOC, default=None, effective=_POLICY.reads)
    many_writes: ManyWrites | None = setting(MANY_WRITES, MANY_WRITES_DOC, default=None, effective=_POLICY.many_writes)

    def over(self, base: Policy) -> Policy:
        """Lay these over `base`."""
        return _over(self.retry.over(base), reads=self.reads, many_writes=self.many_writes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ModelSettings(ProfileSettings):
    """What one model wants otherwise; the keys of `__undaunted__` in a class, and of `[models."its.dotted.Path"]`."""

    cluster: str | None = setting(
        Text(),
        "The cluster where the model lives.",
        default=None,
        effective="what the class declares",
        also=("alias", "db_alias", "connection", "using"),
    )
    profile: str | None = setting(Text(), "The profile of its calls.", default=None, effective="the cluster's")
    idempotent: bool | None = setting(
        Switch(), "The same as `retry.idempotent`.", default=None, effective="decided for each write"
    )

    def over(self, base: Policy) -> Policy:
        """Lay these over `base`; the profile that it names has been laid beneath."""
        return _over(ProfileSettings.over(self, base), idempotent=self.idempotent)
