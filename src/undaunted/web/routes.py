"""The addresses that tell of the clusters, as plain answers that any framework can give."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from undaunted.errors import ConfigurationError
from undaunted.registry import REGISTRY
from undaunted.web import metrics
from undaunted.web.health import is_ready, verdicts_of, watch
from undaunted.web.report import report_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from undaunted.config.web import Public, WebSettings
    from undaunted.web.health import Verdict

__all__ = ["NAMES", "Answer", "answer", "is_public"]

_PUBLIC: Mapping[str, tuple[Public, ...]] = {
    "live": ("live",),
    "ready": ("ready",),
    "status.json": ("status", "page"),
    "metrics": ("metrics",),
    "": ("page",),
    "page.css": ("page",),
    "page.js": ("page",),
}
"""What must be declared public for each, any of these; the page is nothing without its JSON."""

NAMES = tuple(_PUBLIC)
"""What stands below the address where an application puts them; the empty one is the page."""

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json; charset=utf-8"
_FIRST_SIGHT_S = 0.8
"""How long ``ready`` waits for the first sight of a cluster: a little less than the second that Kubernetes gives it."""

_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""On every answer: none is to be kept or framed, and a page may load nothing but its own two files and its JSON."""


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
    headers: Mapping[str, str] = field(default_factory=lambda: _HEADERS)


def is_public(name: str, web: WebSettings | None = None) -> bool:
    """Whether anybody may see one of `NAMES`.

    Args:
        name: The name.
        web: The section ``[web]`` of the application; None means that of this process.
    """
    public = (web or REGISTRY.loaded.settings.web).public
    return any(each in public for each in _PUBLIC.get(name, ()))


def answer(name: str, *, is_staff: bool, base: str, web: WebSettings | None = None) -> Answer:
    """Answer a GET for one of `NAMES`. Asks no node; ``ready`` waits for 0.8 s at most, and the others do not wait.

    Args:
        name: What stands behind `base` in the URL's path.
        is_staff: Whether the caller may see everything; else only what ``web.public`` names.
        base: Path below which they stand, with its slashes: ``"/undaunted/"``.
        web: The section ``[web]`` of the application; None means that of this process.

    Returns:
        The answer; 403 for what this caller may not see, 404 for another name, 503 from ``ready`` while a required
        cluster is down, and 500 where the settings are wrong, which ``live`` does not ask for.
    """
    if name not in _PUBLIC:
        return _text(404, "There is no such page.")
    try:
        if not (is_staff or is_public(name, web)):
            return _text(403, "This is for staff. Log in, or have it named in web.public in the settings of undaunted.")
        return _ANSWERS[name](base)
    except ConfigurationError:  # its text tells of the settings, which are nobody's business here
        return _text(200, "live") if name == "live" else _text(500, "The settings of undaunted are wrong; see the log.")


def _text(code: int, text: str) -> Answer:
    return Answer(status=code, content_type=_TEXT, body=f"{text}\n".encode())


def _data(code: int, data: Mapping[str, Any]) -> Answer:
    body = json.dumps(data, separators=(",", ":"), default=str, allow_nan=False).encode()
    return Answer(status=code, content_type=_JSON, body=body)


def _seen(*, at_most_s: float) -> tuple[Mapping[str, Any], dict[str, Verdict]]:
    status = watch(at_most_s=at_most_s)
    return status, verdicts_of(status, REGISTRY.loaded.settings)


def _live(_: str) -> Answer:
    return _text(200, "live")


def _ready(_: str) -> Answer:
    """Only states and names: whoever may ask this may be anybody."""
    verdicts = _seen(at_most_s=_FIRST_SIGHT_S)[1]
    ready = is_ready(verdicts)
    states = {name: {"state": v.state, "required": v.is_required} for name, v in verdicts.items()}
    return _data(200 if ready else 503, {"ready": ready, "clusters": states})


def _status(_: str) -> Answer:
    return _data(200, report_of(*_seen(at_most_s=0.0)))


def _metrics(_: str) -> Answer:
    try:
        body, content_type = metrics.text_of(*_seen(at_most_s=0.0))
    except ImportError:
        return _text(501, "The Prometheus client library is missing: pip install prometheus-client")
    return Answer(status=200, content_type=content_type, body=body)


def _page(base: str) -> Answer:
    below = f"/{base.strip('/')}/".replace("//", "/")  # never two at the start: they would name a host
    text = _asset("page.html").decode().replace("{{base}}", html.escape(below, quote=True))
    return Answer(status=200, content_type="text/html; charset=utf-8", body=text.encode())


def _css(_: str) -> Answer:
    return Answer(status=200, content_type="text/css; charset=utf-8", body=_asset("page.css"))


def _js(_: str) -> Answer:
    return Answer(status=200, content_type="text/javascript; charset=utf-8", body=_asset("page.js"))


@cache
def _asset(name: str) -> bytes:
    return (resources.files("undaunted.web") / "page" / name).read_bytes()


_ANSWERS: Mapping[str, Callable[[str], Answer]] = {
    "live": _live,
    "ready": _ready,
    "status.json": _status,
    "metrics": _metrics,
    "": _page,
    "page.css": _css,
    "page.js": _js,
}
