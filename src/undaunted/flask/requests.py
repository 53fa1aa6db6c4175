"""One request of Flask: its deadline, what its reads must see, and what the visitor's next request must see."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask import current_app, g, request, session
from flask.sessions import NullSession

from undaunted.errors import ConfigurationError, Problem
from undaunted.flask.state import EXTENSION, application, config_of, state_of
from undaunted.registry import REGISTRY
from undaunted.web import RequestScope
from undaunted.web.cookies import MAX_AGE_S, dump, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flask import Flask, Response

    from undaunted.config.web import WebSettings

__all__ = ["attach", "mistakes_of", "profile"]

View = TypeVar("View", bound="Callable[..., Any] | type[Any]")

_PROFILE = "undaunted_profile"
_SCOPE = "undaunted.flask.scope"
_CAME = "undaunted.flask.tokens"
_LEFT = "_undaunted_scope"
_IN_SESSION = "_undaunted"


def profile(name: str) -> Callable[[View], View]:
    """Declare the profile of a view's requests, whose deadline is theirs; it goes before the patterns of ``[web]``.

    Works on view functions and on class-based views, above or below the route and other decorators::

        @app.get("/reports/year")
        @profile("worker")
        def year(): ...

    Args:
        name: A profile from the settings. That there is none of this name is told by ``Undaunted(app)`` for the views
            that are there by then, in the log at the first request for those that came later, and by
            ``flask undaunted check``.

    Raises:
        TypeError: `name` is no name; such as where the brackets were forgotten.
    """
    if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance] callers may be untyped
        raise TypeError(f'expected the name of a profile, as in @profile("worker"), not {name!r}')

    def mark(view: View) -> View:
        setattr(view, _PROFILE, name)
        return view

    return mark


def attach(app: Flask) -> None:
    """Have each request of this application run in a scope of its own."""
    app.before_request(_begin)
    app.after_request(_remember)
    app.teardown_request(_end)
    app.teardown_appcontext(_end_at_last)


def mistakes_of(app: Flask) -> list[Problem]:
    """The views of an application that name a profile which the settings do not have."""
    settings = REGISTRY.loaded.settings
    found: list[Problem] = []
    for endpoint, view in app.view_functions.items():
        name = _declared(view)
        if name is not None:
            try:
                settings.deadline_of(name)
            except ConfigurationError as error:
                found.append(Problem(f"@profile of the view {endpoint}", error.problems[0].message))
    return found


def _begin() -> None:
    _look_at_views()
    if request.blueprint == EXTENSION:  # asks no database
        return
    web = state_of(current_app).web
    came = _tokens(web)
    scope = RequestScope(web, path=request.path, profile=_profile(), tokens=came)
    scope.__enter__()
    # In the request's own environ: `g` may be shared by requests that one test sends within one context.
    request.environ[_SCOPE], request.environ[_CAME] = scope, came
    setattr(g, _LEFT, scope)


def _look_at_views() -> None:
    """Tell once of views that came after `Undaunted(app)`; Flask has no earlier moment at which all are there."""
    state = state_of(current_app)
    if state.are_views_known:
        return
    state.are_views_known = True
    with suppress(ConfigurationError):  # of settings that are gone; whether the process lives is answered all the same
        for problem in mistakes_of(application()):
            current_app.logger.error("%s", problem)


def _remember(response: Response) -> Response:
    scope: RequestScope | None = request.environ.get(_SCOPE)
    web = state_of(current_app).web
    tokens = scope.tokens() if scope is not None else {}
    if tokens and tokens != request.environ[_CAME]:
        if web.read_your_writes == "cookie":
            _set_cookie(response, web, tokens)
        elif web.read_your_writes == "session" and not isinstance(session, NullSession):
            session[_IN_SESSION] = tokens
    if scope is not None and response.is_streamed:  # its body may take as long as its reader does
        request.environ.pop(_SCOPE).release()
        g.pop(_LEFT, None)
    return response


def _end(error: BaseException | None) -> None:
    del error
    scope: RequestScope | None = request.environ.pop(_SCOPE, None)
    if scope is not None:
        g.pop(_LEFT, None)
        scope.__exit__(*sys.exc_info())


def _end_at_last(error: BaseException | None) -> None:
    """End what an error in a teardown function of the application's own has kept `_end` from.

    Else every later request of this thread would be within it, and its deadline has passed.
    """
    del error
    scope: RequestScope | None = g.pop(_LEFT, None)
    if scope is not None:
        scope.__exit__(*sys.exc_info())


def _profile() -> str | None:
    return _declared(current_app.view_functions.get(request.endpoint or ""))


def _declared(view: object) -> str | None:
    """What `profile` has declared for the view; decorators above it hand it on, as `functools.wraps` does."""
    return getattr(view, _PROFILE, None) or getattr(getattr(view, "view_class", None), _PROFILE, None)


def _tokens(web: WebSettings) -> dict[str, str]:
    """What the visitor's last request gave him; nothing that somebody else has written passes for it."""
    if web.read_your_writes == "session":
        kept: object = session.get(_IN_SESSION)
        tokens = cast("dict[object, object]", kept) if isinstance(kept, dict) else {}
        return {n: t for n, t in tokens.items() if isinstance(n, str) and isinstance(t, str)}
    value = request.cookies.get(web.cookie) if web.read_your_writes == "cookie" else None
    for secret in _secrets() if value else ():
        if read := load(value or "", secret=secret):
            return read
    return {}


def _secrets() -> Iterator[bytes]:
    """The application's keys, the one that signs first; none where it has none, and a request is all that is told."""
    for key in (current_app.secret_key, *(config_of(application()).get("SECRET_KEY_FALLBACKS") or ())):
        if key:
            yield key.encode() if isinstance(key, str) else key


def _set_cookie(response: Response, web: WebSettings, tokens: Mapping[str, str]) -> None:
    """Set it as the session's own cookie is set, so that it reaches the same requests."""
    secret = next(_secrets(), None)
    value = dump(tokens, secret=secret) if secret is not None else ""
    if not value:
        return
    app = application()
    sessions = app.session_interface
    response.set_cookie(
        web.cookie,
        value,
        max_age=MAX_AGE_S,
        path=sessions.get_cookie_path(app),
        domain=sessions.get_cookie_domain(app),
        secure=sessions.get_cookie_secure(app) or request.is_secure,
        httponly=True,
        samesite=sessions.get_cookie_samesite(app) or "Lax",
    )
