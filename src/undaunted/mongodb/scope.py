"""The policy of the model whose operation is running, where it has one of its own."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from undaunted.backend import directory
from undaunted.engine.context import current_options

if TYPE_CHECKING:
    from collections.abc import Generator

    from undaunted.core.policy import Policy
    from undaunted.engine.guard import Guard

__all__ = ["MODEL_POLICY", "policy_in_force", "policy_of_collection", "under"]

MODEL_POLICY: ContextVar[Policy | None] = ContextVar("undaunted_mongodb_model_policy", default=None)


@contextmanager
def under(policy: Policy | None) -> Generator[None]:
    """Run the block's operations under a model's own policy; None leaves what is in force."""
    if policy is None:
        yield
        return
    token = MODEL_POLICY.set(policy)
    try:
        yield
    finally:
        MODEL_POLICY.reset(token)


def policy_in_force(guard: Guard) -> Policy:
    """What bounds an operation now: per-call options over the model's policy over the cluster's."""
    policy = MODEL_POLICY.get() or guard.policy
    declared = current_options()
    if declared is None:
        return policy
    if declared.profile is not None:
        policy = directory().policy(guard.cluster, profile=declared.profile)
    return declared.overlay(policy)


def policy_of_collection(guard: Guard, name: str) -> Policy | None:
    """The policy that ``[models]`` gives to the document class of a collection, for classes without a base of ours."""
    found = directory()
    for path in found.models(guard.cluster):
        module, _, class_name = path.rpartition(".")
        document_class = getattr(sys.modules.get(module), class_name, None)
        named = getattr(document_class, "_get_collection_name", None)
        if named is not None and named() == name:
            return found.policy(guard.cluster, model=path)
    return None
