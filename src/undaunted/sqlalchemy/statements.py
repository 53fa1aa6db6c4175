"""What a statement tells about itself: whether it reads only, and which class of an application it is about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from undaunted.sqlalchemy.models import DECLARED_BY

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_change", "is_plain_select", "is_reading", "mapped_class"]

_READS = re.compile(r"\s*(?:select|values|table|show|explain|with)\b", re.IGNORECASE)
_PLAIN = re.compile(r"\s*(?:select|values|table|show)\b(?!.*\b(?:for|into)\b)", re.IGNORECASE | re.DOTALL)


def is_plain_select(clause: Any) -> bool:
    """Whether it is a SELECT that neither changes nor locks anything, as far as it tells.

    A function that it calls may do both; that shows nowhere.
    """
    text = _text_of(clause)
    if text is not None:
        return _PLAIN.match(text) is not None
    return bool(getattr(clause, "is_select", False)) and getattr(clause, "_for_update_arg", None) is None


def is_reading(clause: Any) -> bool:
    """Whether it leaves nothing behind in its transaction, such as a setting made by ``SET LOCAL``."""
    text = _text_of(clause)
    return bool(getattr(clause, "is_select", False)) if text is None else _READS.match(text) is not None


def _text_of(clause: Any) -> str | None:
    """The text that an application has written itself; None where SQLAlchemy makes the statement."""
    if isinstance(clause, sa.Select):
        return None  # by far the most frequent, and soon told
    while not isinstance(clause, sa.TextClause):
        clause = getattr(clause, "element", None)  # of text(...).columns(...), and of select(X).from_statement(...)
        if clause is None:
            return None
    return clause.text


def is_change(clause: Any) -> bool:
    """Whether it is an INSERT, UPDATE or DELETE of SQLAlchemy's; text tells nothing."""
    return bool(getattr(clause, "is_dml", False))


def mapped_class(clause: Any) -> type | None:
    """The class that a statement is about; None where that cannot be told.

    Where it names tables alone, that is the class of one of them, else the base that has declared where they live.
    """
    attributes: Any = getattr(clause, "_propagate_attrs", None) or {}
    mapper: Any = getattr(attributes.get("plugin_subject"), "mapper", None)
    if mapper is not None:
        found: type = mapper.class_
        return found
    for element in visitors.iterate(clause):
        if isinstance(element, sa.Table):
            base: type | None = element.metadata.info.get(DECLARED_BY)
            if base is not None:
                mappers: Any = getattr(getattr(base, "registry", None), "mappers", ())
                classes: Iterator[type] = (mapper.class_ for mapper in mappers if mapper.local_table is element)
                return next(classes, base)
    return None
