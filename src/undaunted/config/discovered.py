"""What nodes told of themselves, as the settings of their cluster: what `undaunted config init` writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from undaunted.errors import Problem

__all__ = ["Discovered", "choose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What was found by asking.

    Attributes:
        settings: Keys of the cluster's table that the nodes told, and those that were given.
        remarks: A few words on some of these keys; of a key that is not in `settings`, a hint on what to put there.
        warnings: What is weaker than it should be, in sentences.
        problems: Why nothing could be found; empty when something was.
    """

    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    remarks: Mapping[str, str] = field(default_factory=dict[str, str])
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def choose(key: str, given: str | None, there: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Choose the database or keyspace of models that name none: the one that was given, or the only one that is there.

    Args:
        key: The setting, such as ``"database"``.
        given: What its user has named.
        there: What the nodes have, without what is their own.

    Returns:
        The setting, if one was chosen, and a remark on it.
    """
    if given is not None:
        return {key: given}, {} if given in there else {key: "not there yet"}
    if len(there) == 1:
        return {key: there[0]}, {key: "the only one that is there"}
    return {}, {key: f"there are {', '.join(sorted(there))}" if there else "none is there yet"}
