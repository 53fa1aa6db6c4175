"""How a broken scan goes on: which documents are still to come, as a filter. Pure; no I/O.

A cursor dies with its node. To go on exactly, each document once and none left out, the new query must exclude
what was delivered, and nothing else. Two ways are exact:

* `after_key`: the last sort key is known and comparable, so what follows is "greater than it", or equal to it and
  not among those already delivered with the same key. Needs memory for one tie only.
* `without_seen`: exclude every ``_id`` delivered so far. Works for any order or none, needs memory for each.

Where neither is exact the scan is not resumed: the error is raised, and raised again. ``skip(n)`` is never used,
since another node may hold another order. MongoDB compares only within one type bracket in queries, but sorts
across all of them; hence the ``$type`` clauses (manual: "Comparison/Sort Order").
"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from bson.int64 import Int64

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["after_key", "delivers", "is_pipeline_resumable", "sort_key", "without_seen"]

MISSING = object()

_ORDER: tuple[tuple[str, ...], ...] = (
    ("minKey",),
    ("null", "undefined"),
    ("number",),
    ("string", "symbol"),
    ("object",),
    ("binData",),
    ("objectId",),
    ("bool",),
    ("date",),
    ("timestamp",),
    ("regex",),
    ("maxKey",),
)
"""Type brackets in sort order. Arrays have none of their own: they sort by their least or greatest element."""

_NULL, _NUMBER, _STRING, _OBJECT_ID, _BOOL, _DATE = 1, 2, 3, 6, 7, 8


def _bracket(value: Any) -> int | None:
    """The place of a value's type in `_ORDER`; None where comparing here and on the server might differ."""
    if value is None:
        return _NULL
    kind = type(value)
    if kind is bool:
        return _BOOL
    if kind is float:
        return None if math.isnan(value) else _NUMBER
    found = {int: _NUMBER, Int64: _NUMBER, str: _STRING, ObjectId: _OBJECT_ID, dt.datetime: _DATE}
    return found.get(kind)


def delivers(projection: Mapping[str, Any] | None, field: str) -> bool:
    """Whether documents under `projection` come with the stored value of `field`.

    A field that the projection leaves out looks like one that is missing, and so like null, in every document; by such
    a key a scan would be resumed at the wrong place. Anything but plain inclusion and exclusion counts as leaving out.
    """
    if not projection:
        return True
    if any(type(value) not in (bool, int, float) for value in projection.values()):
        return False
    if field == "_id" or field.startswith("_id."):
        return bool(projection.get("_id", True)) and not any(key.startswith("_id.") for key in projection)
    others = {key: value for key, value in projection.items() if key != "_id"}
    includes = any(others.values()) or (not others and bool(projection.get("_id")))
    if includes:
        return any(value and (key == field or field.startswith(f"{key}.")) for key, value in others.items())
    return not any(_overlap(key, field) for key in others)


def _overlap(first: str, second: str) -> bool:
    return first == second or first.startswith(f"{second}.") or second.startswith(f"{first}.")


def sort_key(document: Mapping[str, Any], ordering: Sequence[tuple[str, Any]]) -> tuple[Any, ...] | None:
    """The document's values under the sort fields, or None where they do not tell its exact place."""
    key: list[Any] = []
    for field, direction in ordering:
        if direction not in (1, -1):
            return None  # by text score, hashed, and the like
        value: Any = document
        for part in field.split("."):
            if not isinstance(value, dict):
                return None
            value = value.get(part)
        if _bracket(value) is None:
            return None
        key.append(value)
    return tuple(key) if key else None


def same_key(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    """Whether two sort keys are equal to the server (in Python alone True equals 1)."""
    return first == second and all(_bracket(a) == _bracket(b) for a, b in zip(first, second, strict=True))


def _beyond(field: str, value: Any, direction: int) -> list[dict[str, Any]]:
    """The alternatives under which `field` sorts strictly after `value`."""
    bracket = _bracket(value)
    assert bracket is not None  # noqa: S101  # sort_key gave it out
    later = _ORDER[bracket + 1 :] if direction > 0 else _ORDER[:bracket]
    types = [alias for group in later for alias in group]
    found: list[dict[str, Any]] = []
    if bracket != _NULL:
        found.append({field: {"$gt" if direction > 0 else "$lt": value}})
        if direction < 0:
            found.append({field: None})  # a missing field has no type, and sorts with null
    if types:
        found.append({field: {"$type": types}})
    if direction < 0:
        found.append({field: []})  # an empty array sorts before null
    return found


def after_key(ordering: Sequence[tuple[str, Any]], key: Sequence[Any], ties: Iterable[Any]) -> dict[str, Any]:
    """The filter for what sorts after `key`, or level with it and not among `ties`.

    Args:
        ordering: The cursor's sort, as pairs of field and 1 or -1.
        key: The last delivered document's values under these fields, from `sort_key`.
        ties: The ``_id`` of each document delivered with exactly this key.
    """
    alternatives: list[dict[str, Any]] = []
    level: list[dict[str, Any]] = []
    for (field, direction), value in zip(ordering, key, strict=True):
        alternatives.extend({"$and": [*level, beyond]} for beyond in _beyond(field, value, direction))
        level.append({field: {"$eq": value}})
    alternatives.append({"$and": [*level, {"_id": {"$nin": list(ties)}}]})
    return {"$or": alternatives}


def without_seen(seen: Iterable[Any]) -> dict[str, Any]:
    """The filter for everything that has not been delivered."""
    return {"_id": {"$nin": list(seen)}}


_KEEPS_IDENTITY = frozenset({"$match", "$sort", "$lookup", "$graphLookup", "$redact", "$geoNear"})
_MAY_KEEP_IDENTITY = frozenset({"$project", "$addFields", "$set", "$unset"})
_MAKES_IDENTITY = frozenset({"$group", "$bucket", "$bucketAuto", "$sortByCount"})


def is_pipeline_resumable(pipeline: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each result of an aggregation has an ``_id`` of its own, the same when it is run again.

    Then it can be resumed by excluding what was delivered at the end of the pipeline. A stage that multiplies
    documents (``$unwind``), takes some of them (``$limit``, ``$sample``) or renames them (``$replaceRoot``) ends that.
    """
    for stage in pipeline:
        ((name, body),) = stage.items()
        if name in _KEEPS_IDENTITY or name in _MAKES_IDENTITY:
            continue
        if name not in _MAY_KEEP_IDENTITY or _touches_id(body):
            return False
    return True


def _touches_id(body: Any) -> bool:
    if isinstance(body, str):
        return body == "_id"
    if isinstance(body, dict):
        return any(key == "_id" or key.startswith("_id.") for key in body) and body.get("_id") not in (1, True)
    return "_id" in body
