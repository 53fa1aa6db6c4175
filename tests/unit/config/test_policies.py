"""Which level holds for a call: defaults < retry < cluster < profile < model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from undaunted.config import load, model_settings
from undaunted.core.policy import BreakerPolicy, BudgetPolicy, HedgePolicy, Policy
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from undaunted.config.schema import Settings


def settings(**more: Any) -> Settings:
    orders = {"backend": "mongodb", "nodes": ["a"], **more.pop("orders", {})}
    return load({"clusters": {"orders": orders}, **more}, environ={}).settings


def test_the_defaults_are_those_of_the_policies() -> None:
    made = settings()
    assert made.policy_for("orders") == Policy()
    assert made.budget_for("orders") == BudgetPolicy()
    assert made.breaker_for("orders") == BreakerPolicy()
    assert made.hedge_for("orders") == HedgePolicy()


def test_built_in_profiles() -> None:
    made = settings()
    assert made.policy_for("orders", "web").deadline_s == 5.0
    assert made.policy_for("orders", "worker").deadline_s == 60.0
    assert made.policy_for("orders", "worker").patience_s == 60.0


def test_a_built_in_profile_can_be_refined() -> None:
    web = settings(profiles={"web": {"retry": {"attempts": 5}}}).policy_for("orders", "web")
    assert (web.attempts, web.deadline_s) == (5, 5.0)


def test_each_level_over_the_one_before() -> None:
    level = {"retry": {"attempts": 2, "deadline": 2, "fail_fast_after": 2, "backoff": {"initial": 2}}}
    cluster = {"retry": {"deadline": 3, "fail_fast_after": 3}, "reads": "fallback", "many_writes": "plain"}
    profiles = {"slow": {"retry": {"fail_fast_after": 4}, "reads": "any"}}
    models = {"shop.Order": {"retry": {"idempotent": True}, "reads": "replica"}}
    made = settings(**level, orders=cluster, profiles=profiles, models=models)
    plain = made.policy_for("orders")
    assert (plain.attempts, plain.deadline_s, plain.fail_fast_after_s) == (2, 3.0, 3.0)
    assert (plain.backoff.initial_s, plain.backoff.max_s) == (2.0, 2.0)
    assert (plain.reads, plain.many_writes) == ("fallback", "plain")
    slow = made.policy_for("orders", "slow")
    assert (slow.deadline_s, slow.fail_fast_after_s, slow.reads) == (3.0, 4.0, "any")
    model = made.policy_for("orders", "slow", "shop.Order")
    assert (model.fail_fast_after_s, model.reads, model.idempotent) == (4.0, "replica", True)
    assert made.policy_for("orders", model="shop.Unknown") == plain


def test_the_profile_of_the_call_then_of_the_model_then_of_the_cluster() -> None:
    made = settings(orders={"profile": "worker"}, models={"shop.Order": {"profile": "web"}})
    assert made.policy_for("orders").deadline_s == 60.0
    assert made.policy_for("orders", model="shop.Order").deadline_s == 5.0
    assert made.policy_for("orders", "worker", "shop.Order").deadline_s == 60.0


def test_in_one_table_its_own_keys_stand_over_its_profile() -> None:
    made = settings(orders={"profile": "web", "retry.deadline": "3s"})
    assert made.policy_for("orders").deadline_s == 3.0
    assert made.policy_for("orders", "web").deadline_s == 5.0


def test_what_a_class_declares_stands_under_the_settings_of_its_model() -> None:
    declared = model_settings({"profile": "web", "idempotent": True, "retry": {"attempts": 9}}, model="shop.Order")
    made = settings(models={"shop.Order": {"retry.attempts": 1}})
    policy = made.policy_for("orders", model="shop.Order", declared=declared)
    assert (policy.attempts, policy.deadline_s, policy.idempotent) == (1, 5.0, True)


def test_budget_breaker_and_hedge_by_cluster() -> None:
    made = settings(
        budget={"capacity": 7, "deposit": 1},
        breaker={"open": {"initial": 1}},
        hedge={"enabled": True},
        orders={"budget": {"capacity": 8}, "breaker": {"window": "3s"}, "hedge": {"quantile": 0.9}},
    )
    assert made.budget_for("orders") == BudgetPolicy(capacity=8, deposit=1)
    assert made.breaker_for("orders") == BreakerPolicy(open_initial_s=1, window_s=3)
    assert made.hedge_for(made.clusters["orders"]) == HedgePolicy(enabled=True, quantile=0.9)


def test_a_profile_or_a_cluster_that_is_not_there() -> None:
    with pytest.raises(ConfigurationError, match="there is no profile 'wbe'; did you mean 'web'"):
        settings().policy_for("orders", "wbe")
    with pytest.raises(ConfigurationError, match="there is no cluster 'order'; did you mean 'orders'"):
        settings().policy_for("order")


def test_settings_are_values() -> None:
    assert settings() == settings()
    assert hash(settings().retry) == hash(settings().retry)
    assert settings() != settings(retry={"attempts": 2})
    assert repr(settings(retry={"attempts": 2}).retry) == "RetrySettings(attempts=2)"
    with pytest.raises(AttributeError):
        settings().retry.attempts = 3  # type: ignore[misc]
