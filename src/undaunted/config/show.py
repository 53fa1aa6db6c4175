"""Settings as rows: path, value, source. Secrets are masked by their own text, durations written as people do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from undaunted.config.raw import as_table
from undaunted.config.secrets import Secret
from undaunted.config.sections import BreakerSettings, BudgetSettings, HedgeSettings, RetrySettings
from undaunted.config.shapes import Duration
from undaunted.config.sources import dotted
from undaunted.config.structure import Info, Key, Section, Table, infos

if TYPE_CHECKING:
    from collections.abc import Iterator

    from undaunted.config.loading import Loaded

__all__ = ["Row", "duration", "rows"]

_INHERITED = (RetrySettings, BudgetSettings, BreakerSettings, HedgeSettings)


@dataclass(frozen=True, slots=True)
class Row:
    """One setting, as it is shown.

    Attributes:
        path: Its dotted path, as TOML writes it.
        value: Its value: text, number, true or false, or a list of these.
        origin: Where it was set, such as ``"undaunted.toml:12"`` or ``"default"``.
    """

    path: str
    value: Any
    origin: str


def rows(loaded: Loaded) -> list[Row]:
    """All settings that hold; what a cluster, profile or model leaves to a level above it is not repeated."""
    return list(_of_section(loaded.settings, (), loaded))


def _of_section(section: Section, at: Key, loaded: Loaded) -> Iterator[Row]:
    for name, info in infos(type(section)).items():
        yield from _of_value(getattr(section, name), info, (*at, name), loaded)


def _of_value(value: object, info: Info | None, at: Key, loaded: Loaded) -> Iterator[Row]:
    table = as_table(value)
    if isinstance(value, Section):
        yield from _of_section(value, at, loaded)
    elif table is not None:
        for name, one in table.items():
            yield from _of_value(one, None, (*at, name), loaded)
    elif at in loaded.origins:
        yield Row(dotted(at), _shown(value, info), loaded.origins[at].at(at))
    elif value is not None and info is not None and value != info.default:
        yield Row(dotted(at), _shown(value, info), dotted((*at[:-1], "url")))  # taken out of the URL
    elif not _is_inherited(at, loaded):
        default = None if info is None or isinstance(info.shape, Table) else info.default
        if default is not None:
            yield Row(dotted(at), _shown(default, info), "default")


def _is_inherited(at: Key, loaded: Loaded) -> bool:
    """Whether a setting that nothing sets at its level is shown at the level above, or not at all."""
    if at[0] in ("profiles", "models"):
        return True
    return at[0] == "clusters" and isinstance(getattr(loaded.settings.clusters[at[1]], at[2], None), _INHERITED)


def _shown(value: object, info: Info | None) -> Any:
    if isinstance(value, Secret):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_shown(one, None) for one in cast("list[object]", value)]
    if info is not None and isinstance(info.shape, Duration) and isinstance(value, float):
        return duration(value)
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def duration(length_s: float) -> str:
    """Write a duration as the settings do: ``"50ms"``, ``"5s"``."""
    return f"{length_s * 1000:g}ms" if length_s < 1 else f"{length_s:g}s"
