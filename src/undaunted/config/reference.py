"""The reference of all settings, as Markdown, out of the schema: ``python -m undaunted.config.reference``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from undaunted.config.schema import BACKENDS, Settings, cluster_class
from undaunted.config.sections import ModelSettings, ProfileSettings
from undaunted.config.shapes import Duration
from undaunted.config.show import duration
from undaunted.config.structure import Info, Section, Table, infos
from undaunted.config.web import WebSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["markdown"]

_HEAD = """\
| key | type | default | required | per model | meaning |
|---|---|---|---|---|---|
"""
_LEVELS = ("retry", "budget", "breaker", "hedge")
"""Sections that stand at several levels; they are printed once."""

_INTRODUCTION = """\
# Settings

The same lower-case keys hold in `undaunted.toml`, below `[tool.undaunted]` in `pyproject.toml`, in a framework's
settings and in `undaunted.configure({...})`. Where several set the same key, the nearer one holds: defaults, file,
framework, environment (`UNDAUNTED__CLUSTERS__ORDERS__RETRY__DEADLINE=5s`), code. A duration is `"50ms"`, `"5s"`, `"2m"`
or a number of seconds. A secret is only ever `{ env = "NAME" }` or `{ file = "PATH" }`. *Per model* says whether the
key may also stand in `[models."shop.models.Order"]` and in a model's `__undaunted__`.
"""


def markdown() -> str:
    """Return the whole reference."""
    parts = [_INTRODUCTION, _section("For all clusters", Settings, leave=("clusters", "profiles", "models", "web"))]
    for backend in BACKENDS:
        title = f'`[clusters.NAME]` with `backend = "{backend}"`'
        parts.append(_section(title, cluster_class(backend), leave=_LEVELS, also=_LEVELS))
    parts.append(_section("`[profiles.NAME]`", ProfileSettings, leave=_LEVELS, also=("retry",)))
    parts.append(
        _section('`[models."DOTTED.PATH"]` and `__undaunted__`', ModelSettings, leave=_LEVELS, also=("retry",))
    )
    parts.append(_section("`[web]`, for Django and Flask", WebSettings, leave=()))
    return "\n".join(parts)


def _section(title: str, cls: type[Section], *, leave: tuple[str, ...], also: tuple[str, ...] = ()) -> str:
    rows = [row for name, info in infos(cls).items() if name not in leave for row in _rows(name, info)]
    note = f"Besides these: {', '.join(f'`{name}.*`' for name in also)}, as for all clusters.\n\n" if also else ""
    return f"## {title}\n\n{note}{_HEAD}" + "".join(rows)


def _rows(key: str, info: Info) -> Iterator[str]:
    if isinstance(info.shape, Table):
        for name, below in infos(info.shape.cls).items():
            yield from _rows(f"{key}.{name}", below)
        return
    cells = (
        f"`{key}`",
        info.shape.kind,
        _default(info),
        "yes" if info.required else "no",
        "yes" if key in _per_model() else "no",
        info.doc,
    )
    yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _default(info: Info) -> str:
    if info.required or info.default in (None, "", (), {}):
        return "none"
    if isinstance(info.shape, Duration) and isinstance(info.default, float):
        return f"`{duration(info.default)}`"
    if isinstance(info.default, bool):
        return f"`{str(info.default).lower()}`"
    if isinstance(info.default, str):
        return info.default
    default = info.default
    if isinstance(default, tuple):
        return ", ".join(f"`{one}`" for one in cast("tuple[object, ...]", default))
    return f"`{info.default:g}`" if isinstance(info.default, (int, float)) else "none"


def _per_model() -> set[str]:
    def keys(prefix: str, cls: type[Section]) -> Iterator[str]:
        for name, info in infos(cls).items():
            if isinstance(info.shape, Table):
                yield from keys(f"{prefix}{name}.", info.shape.cls)
            else:
                yield f"{prefix}{name}"

    return set(keys("", ModelSettings))


if __name__ == "__main__":
    sys.stdout.write(markdown())
