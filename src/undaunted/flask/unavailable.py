"""The answer 503 to a request whose database cannot serve it now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import current_app, jsonify, make_response, request
from werkzeug.exceptions import ServiceUnavailable

from undaunted.flask.state import state_of
from undaunted.web import failure_of

if TYPE_CHECKING:
    from werkzeug.sansio.response import Response

    from undaunted.web import Failure

__all__ = ["answer"]

TEMPLATE = "undaunted/503.html"
"""An application that has a template of this name has its own shown."""


def answer(error: Exception) -> Response:
    """Answer for `undaunted.Exhausted`; the application's own handler of 503, where it has one, goes before.

    Raises:
        Exception: The error itself, where it is none that may be answered so.
    """
    failure = failure_of(error, state_of(current_app).web)
    if failure is None:
        raise error
    # Neither the path nor the error's text, which both may have what a visitor has written.
    current_app.logger.warning("%d for %s: %s", failure.status, request.endpoint, type(error).__name__)
    unavailable = ServiceUnavailable(failure.detail, retry_after=failure.retry_after_s)
    own = current_app.handle_http_exception(unavailable)
    response = make_response(_shown(failure) if own is unavailable else own)
    response.headers.setdefault("Retry-After", str(failure.retry_after_s))
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _shown(failure: Failure) -> Response:
    if request.accept_mimetypes.best_match(("text/html", "application/json")) == "application/json":
        response = jsonify(status=failure.status, title=failure.title, detail=failure.detail)
        response.content_type = "application/problem+json"
    else:
        response = make_response(_page(failure))
    response.status_code = failure.status
    return response


def _page(failure: Failure) -> str:
    """The template, without what the application's context processors would ask the database for that is gone."""
    page: str
    try:
        page = current_app.jinja_env.get_template(TEMPLATE).render(failure=failure)
    except Exception:  # whatever an application's own template does, its visitor is answered
        current_app.logger.exception("the template %s has failed", TEMPLATE)
        page = f"<!doctype html><title>{failure.title}</title><p>{failure.detail}"  # words of ours, with no markup
    return page
