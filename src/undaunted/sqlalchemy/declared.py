"""What model classes declare with ``__undaunted__``: their cluster, and the policy of the calls made for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from undaunted.backend import directory
from undaunted.config import model_settings
from undaunted.engine.context import current_options

if TYPE_CHECKING:
    from undaunted.config import ModelSettings
    from undaunted.core.policy import Policy
    from undaunted.engine.guard import Guard

__all__ = ["CLUSTERS", "check", "cluster_declared", "is_only", "path_of", "policy_in_force"]

CLUSTERS: set[str] = set()
"""Every cluster that a class has declared in this process; with one alone nobody needs to look which it is."""

_SETTINGS: WeakKeyDictionary[type, ModelSettings] = WeakKeyDictionary()


def is_only(cluster: str) -> bool:
    """Whether no class of this process has declared any other cluster."""
    return not CLUSTERS or (len(CLUSTERS) == 1 and cluster in CLUSTERS)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A class's policy, and the guard for which it was found; another guard means other settings."""

    guard: Guard
    policy: Policy


_POLICIES: WeakKeyDictionary[type, _Kept] = WeakKeyDictionary()


def path_of(kind: type) -> str:
    """The dotted path of a class, as ``[models]`` names it."""
    return f"{kind.__module__}.{kind.__qualname__}"


def check(kind: type) -> ModelSettings | None:
    """Read what a class itself declares; None where it declares nothing.

    Raises:
        ConfigurationError: A key is unknown or a value wrong; lists every mistake.
    """
    declared: Any = vars(kind).get("__undaunted__")
    if declared is None:
        return None
    found = _SETTINGS.get(kind)
    if found is None:
        found = _SETTINGS[kind] = model_settings(declared, model=path_of(kind))
        if found.cluster:
            CLUSTERS.add(found.cluster)
    return found


def cluster_declared(kind: type) -> str | None:
    """The cluster that a class or the nearest of its bases names; None where none does.

    Raises:
        ConfigurationError: A declaration has a mistake.
    """
    for each in kind.__mro__:
        found = check(each)
        if found is not None and found.cluster:
            return found.cluster
    return None


def policy_in_force(kind: type | None, guard: Guard) -> Policy:
    """What bounds a call made for a class: per-call options over the class's policy over the cluster's.

    Args:
        kind: The class; None where a cluster was named.
        guard: Its cluster's.
    """
    policy = guard.policy if kind is None else _policy_of(kind, guard)
    options = current_options()
    if options is None:
        return policy
    if options.profile is not None:
        policy = directory().policy(guard.cluster, profile=options.profile)
    return options.overlay(policy)


def _policy_of(kind: type, guard: Guard) -> Policy:
    kept = _POLICIES.get(kind)
    if kept is not None and kept.guard is guard:
        return kept.policy
    declared = next((found for each in kind.__mro__ if (found := check(each)) is not None), None)
    policy = directory().policy(guard.cluster, model=path_of(kind), declared=declared)
    _POLICIES[kind] = _Kept(guard, policy)
    return policy
