"""Several applications in one process: the union of their settings, or what stands against it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from undaunted.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from undaunted.config.schema import Settings
    from undaunted.config.structure import Section

__all__ = ["joined"]

_BY_NAME = ("clusters", "profiles", "models")
_OF_EACH_APPLICATION = ("web",)
_REMEDY = "In tests, call undaunted.close() between two applications."


def joined(present: Settings, more: Settings) -> Settings:
    """Return `present` with the clusters, profiles and models of `more` besides its own.

    What both have by one name must be the same; so must the sections that hold for all clusters. How an application
    answers requests, ``[web]``, is its own affair; the first one's is kept here.

    Raises:
        ConfigurationError: They contradict each other; lists every contradiction, by setting, without any value.
    """
    problems = [*_contradictions(present, more)]
    if problems:
        raise ConfigurationError(problems=problems)
    union: dict[str, Any] = {name: {**getattr(present, name), **getattr(more, name)} for name in _BY_NAME}
    both = replace(present, **union)
    for key, message in both.mistakes():
        problems.append(Problem(".".join(key), message))
    if problems:
        raise ConfigurationError(problems=problems)
    return both


def _contradictions(present: Settings, more: Settings) -> Iterator[Problem]:
    for section in _BY_NAME:
        ours: Mapping[str, Section] = getattr(present, section)
        theirs: Mapping[str, Section] = getattr(more, section)
        for name in theirs:
            if name in ours and ours[name] != theirs[name]:
                differing = _differing(ours[name], theirs[name])
                yield Problem(
                    f"{section}.{name}",
                    f"another application of this process has it with other settings ({differing}); give one of the "
                    f"two another name, or the same settings to both. {_REMEDY}",
                )
    for each in fields(present):
        if each.name in (*_BY_NAME, *_OF_EACH_APPLICATION) or getattr(present, each.name) == getattr(more, each.name):
            continue
        differing = _differing(getattr(present, each.name), getattr(more, each.name))
        yield Problem(
            each.name,
            f"it holds for every cluster of this process, and another application of it says otherwise ({differing});"
            f" say the same in both, or below the clusters that it is for: [clusters.NAME.{each.name}]. {_REMEDY}",
        )


def _differing(one: Section, other: Section) -> str:
    """The names of the settings in which two sections differ; a value may be a secret."""
    if type(one) is not type(other):
        return "backend"
    return ", ".join(f.name for f in fields(one) if getattr(one, f.name) != getattr(other, f.name))  # type: ignore[arg-type]
