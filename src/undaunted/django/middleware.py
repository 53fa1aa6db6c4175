"""The middleware: one deadline for a request, reads that see the visitor's own writes, and 503 instead of 500.

``"undaunted.django.middleware.UndauntedMiddleware"`` in ``MIDDLEWARE``, sync and async alike. First in the list it
covers what the others ask of the databases; with ``web.read_your_writes = "session"`` it stands behind
``SessionMiddleware``, whose session it uses.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.cache import patch_vary_headers

from undaunted.django import conf, views
from undaunted.django.apps import UndauntedConfig
from undaunted.django.decorators import profile_of
from undaunted.errors import ConfigurationError
from undaunted.web import RequestScope, dump, failure_of, load
from undaunted.web.cookies import MAX_AGE_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from django.http import HttpRequest, HttpResponseBase

    GetResponse = Callable[[HttpRequest], Any]

__all__ = ["SCOPE", "UndauntedMiddleware"]

_LOG = logging.getLogger("undaunted.django")

SCOPE = "undaunted_scope"
"""Under which name a request has its `undaunted.web.RequestScope`."""
_IN_SESSION = "undaunted"


class UndauntedMiddleware:
    """Puts every request into a `undaunted.web.RequestScope`.

    Raises:
        ImproperlyConfigured: The settings have mistakes; lists all of them.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        mistakes = cast("UndauntedConfig", apps.get_app_config(UndauntedConfig.label)).mistakes
        if mistakes:  # a server runs no system checks
            raise ImproperlyConfigured(str(ConfigurationError(problems=mistakes)))

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer the request within its scope."""
        if self._is_async:
            return self._answer_async(request)
        before = _tokens_of(request)
        with RequestScope(conf.web(), path=request.path_info, tokens=before) as scope:
            setattr(request, SCOPE, scope)
            response: HttpResponseBase = self.get_response(request)
            _keep(request, response, before, scope.tokens())
            if response.streaming:  # its body takes as long as its reader does, and sees what was written all the same
                scope.release()
        return response

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        # A session is read from wherever it is kept, and Django refuses to ask a database from within an event loop.
        is_kept_apart = conf.web().read_your_writes == "session"
        before = await sync_to_async(_tokens_of)(request) if is_kept_apart else _tokens_of(request)
        with RequestScope(conf.web(), path=request.path_info, tokens=before) as scope:
            setattr(request, SCOPE, scope)
            response: HttpResponseBase = await self.get_response(request)
            _keep(request, response, before, await scope.tokens_async())
            if response.streaming:
                scope.release()
        return response

    def process_view(self, request: HttpRequest, view: object, *_: object) -> None:
        """Take the profile that the view has declared, where it has; the request's clock goes on."""
        declared = profile_of(view)
        scope: RequestScope | None = getattr(request, SCOPE, None)
        if declared is not None and scope is not None:
            scope.change(declared)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Answer 503 where trying again may help; leave everything else to Django, unknown outcomes above all."""
        failure = failure_of(exception)
        if failure is None:
            return None
        path = request.path.encode("unicode_escape").decode("ascii")  # a line break in it would forge a line
        _LOG.warning("answered %d to %s: %s", failure.status, path, type(exception).__name__)
        return views.unavailable(request, failure)


# -- from one request to the next ---------------------------------------------------------------------


def _tokens_of(request: HttpRequest) -> Mapping[str, str]:
    """What the visitor brings along; nothing where it is malformed or forged."""
    web = conf.web()
    if web.read_your_writes == "cookie":
        value = request.COOKIES.get(web.cookie)
        found: dict[str, str] = {}
        for secret in conf.secrets() if value else ():
            found = found or load(value or "", secret=secret)
        return found
    if web.read_your_writes == "session":
        kept: object = _session_of(request).get(_IN_SESSION)
        if isinstance(kept, dict):
            pairs = cast("dict[object, object]", kept).items()
            return {name: token for name, token in pairs if isinstance(name, str) and isinstance(token, str)}
    return {}


def _keep(
    request: HttpRequest, response: HttpResponseBase, before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    """Give the visitor what his next request brings along, where it has changed."""
    web = conf.web()
    if after == before or not after:
        return
    if web.read_your_writes == "cookie":
        value = dump(after, secret=conf.secrets()[0])
        if value:
            response.set_cookie(
                web.cookie, value, max_age=MAX_AGE_S, secure=request.is_secure(), httponly=True, samesite="Lax"
            )
            patch_vary_headers(response, ("Cookie",))
    elif web.read_your_writes == "session":
        _session_of(request)[_IN_SESSION] = dict(after)


def _session_of(request: HttpRequest) -> Any:
    return getattr(request, "session", {})
