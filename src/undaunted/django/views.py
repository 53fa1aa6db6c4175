"""The views: health and status, and what a visitor is told when a database cannot serve his request now."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.utils.html import format_html

from undaunted.errors import ConfigurationError
from undaunted.web import answer, is_public

if TYPE_CHECKING:
    from django.http import HttpRequest

    from undaunted.web import Failure

__all__ = ["TEMPLATE", "show", "unavailable"]

_LOG = logging.getLogger("undaunted.django")

TEMPLATE = "undaunted/503.html"
"""The template that an application may override. It is given ``failure`` and no request, so no context processor runs:
one of them may want the very database that is gone."""

_BARE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1><p>{detail}</p></html>'
)


def show(request: HttpRequest, *, name: str) -> HttpResponse:
    """Health, status, metrics and the page, by their name."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    base = request.path.removesuffix(name)
    found = answer(name, is_staff=_is_staff(request, name), base=base)
    body = b"" if request.method == "HEAD" else found.body
    response = HttpResponse(body, content_type=found.content_type, status=found.status, headers=dict(found.headers))
    response["Content-Length"] = str(len(found.body))
    return response


show.login_required = False  # type: ignore[attr-defined]  # Django's LoginRequiredMiddleware leaves a probe alone then


def _is_staff(request: HttpRequest, name: str) -> bool:
    """Whether the caller may see everything; nobody is looked up for what everybody may see.

    A load balancer's question must not wait for the database of the users.
    """
    try:
        if is_public(name):
            return False
    except ConfigurationError:  # which `answer` meets as well, and has an answer to
        return False
    user: Any = getattr(request, "user", None)
    # A model of the application's own, made of AbstractBaseUser, may have no such attribute.
    return bool(getattr(user, "is_active", False) and getattr(user, "is_staff", False))


def unavailable(request: HttpRequest, failure: Failure) -> HttpResponse:
    """Say: not now, try again; in JSON to whoever asks for that and not for HTML."""
    response: HttpResponse
    if _wants_json(request):
        response = JsonResponse(
            {"title": failure.title, "detail": failure.detail, "retry_after_s": failure.retry_after_s}
        )
    else:
        response = HttpResponse(_page(failure))
    response.status_code = failure.status
    response["Retry-After"] = str(failure.retry_after_s)
    response["Cache-Control"] = "no-store"
    return response


def _page(failure: Failure) -> str:
    try:
        return get_template(TEMPLATE).render({"failure": failure})
    except Exception as error:  # noqa: BLE001  # whatever an application's template does, its visitor is told
        if not (isinstance(error, TemplateDoesNotExist) and str(error) == TEMPLATE):  # no engine looks into apps
            _LOG.exception("the template %s fails; the built-in page is shown in its place", TEMPLATE)
    return format_html(_BARE, title=failure.title, detail=failure.detail)


def _wants_json(request: HttpRequest) -> bool:
    accepted = request.headers.get("Accept", "")
    return "json" in accepted and "text/html" not in accepted
