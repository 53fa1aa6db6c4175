"""System checks: every mistake of the settings at once, with an id and a hint; none of them asks a server.

``undaunted.E001`` a mistake in the settings; ``E002`` no cluster is declared; ``E003`` the session is used before
there is one; ``E004`` a model names a cluster or profile that is not declared; ``E005`` a view does; ``W001`` the
middleware is missing; ``W002`` (``--deploy``) everybody may read what tells of the clusters.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, cast

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's name
from django.urls import get_resolver

from undaunted.django import conf
from undaunted.django.decorators import profile_of
from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from undaunted.django.apps import UndauntedConfig

__all__ = ["check_models", "check_public", "check_settings", "check_site", "check_views"]

MIDDLEWARE = "undaunted.django.middleware.UndauntedMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"

_SHOW = "`manage.py undaunted config show --origin` tells where each setting came from."
_HOW = (
    'Give them in the settings: UNDAUNTED = {"clusters": {"orders": {"backend": "mongodb", "nodes": ["mongo1"]}}}; or '
    "in undaunted.toml beside manage.py. `manage.py undaunted config init` writes one by asking the nodes."
)


def _app() -> UndauntedConfig:
    return cast("UndauntedConfig", apps.get_app_config("undaunted"))


def check_settings(**_: Any) -> list[CheckMessage]:
    """What is wrong with the settings."""
    mistakes = _app().mistakes
    if mistakes:
        return [Error(str(problem), hint=_SHOW, obj=conf.NAME, id="undaunted.E001") for problem in mistakes]
    if not REGISTRY.loaded.settings.clusters:
        return [Error("No cluster is declared.", hint=_HOW, obj=conf.NAME, id="undaunted.E002")]
    return []


def check_site(**_: Any) -> list[CheckMessage]:
    """Whether the site does what the settings ask for."""
    if _app().mistakes:
        return []
    found = list(settings.MIDDLEWARE)
    messages: list[CheckMessage] = []
    if MIDDLEWARE not in found:
        hint = f'Put "{MIDDLEWARE}" first in MIDDLEWARE; or silence this where no view uses a cluster.'
        text = "The middleware is missing: requests have no deadline, and an outage is answered 500."
        messages.append(Warning(text, hint=hint, id="undaunted.W001"))
    elif conf.web().read_your_writes == "session":
        sessions = found.index(SESSIONS) if SESSIONS in found else len(found)
        if sessions > found.index(MIDDLEWARE):
            hint = f'Put "{MIDDLEWARE}" behind "{SESSIONS}", or choose read_your_writes = "cookie".'
            text = 'web.read_your_writes is "session", and the middleware has none where it stands.'
            messages.append(Error(text, hint=hint, id="undaunted.E003"))
    return messages


def check_public(**_: Any) -> list[CheckMessage]:
    """Whether everybody may read more than a load balancer needs; asked by ``check --deploy`` only."""
    if _app().mistakes:
        return []
    told = [name for name in conf.web().public if name not in ("live", "ready")]
    if not told:
        return []
    text = f"Everybody may read {', '.join(told)}, with the addresses and the faults of the nodes."
    hint = "Leave them out of web.public: staff may read them in any case; or silence this where no stranger comes."
    return [Warning(text, hint=hint, id="undaunted.W002")]


# -- what classes and views declare -------------------------------------------------------------------

_MIXINS = {
    "undaunted.cassandra.models": "ModelMixin",
    "undaunted.mongodb.models": "DocumentMixin",
    "undaunted.sqlalchemy.models": "SessionMixin",
}
"""What every class that declares ``__undaunted__`` is derived from, where its backend is in use."""


def check_models(**_: Any) -> list[CheckMessage]:
    """Whether models name clusters and profiles that there are; at the first call it would be too late."""
    if _app().mistakes:
        return []
    known = REGISTRY.loaded.settings
    messages: list[CheckMessage] = []
    for kind in _declaring():
        found: object = vars(kind)["__undaunted__"]
        declared = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
        for key, names in (("cluster", known.clusters), ("profile", known.profiles)):
            named = declared.get(key)
            if named is not None and named not in names:
                text = (
                    f"{kind.__module__}.{kind.__qualname__} names the {key} {named!r}, which the settings do not have."
                )
                hint = f"Declare it, or name one of those that there are: {', '.join(names) or 'none'}."
                messages.append(Error(text, hint=hint, obj=kind, id="undaunted.E004"))
    return messages


def _declaring() -> Iterator[type]:
    """Every class that says something of itself in ``__undaunted__``, each once; imports no driver."""
    waiting: list[type] = []
    for module, name in _MIXINS.items():
        if module in sys.modules:
            waiting.append(getattr(importlib.import_module(module), name))
    seen: dict[type, None] = {}
    while waiting:
        kind = waiting.pop()
        if kind not in seen:
            seen[kind] = None
            waiting += kind.__subclasses__()
    return (kind for kind in seen if "__undaunted__" in vars(kind))


def check_views(**_: Any) -> list[CheckMessage]:
    """Whether views choose profiles that there are."""
    if _app().mistakes or not getattr(settings, "ROOT_URLCONF", None):
        return []
    known = REGISTRY.loaded.settings.profiles
    messages: list[CheckMessage] = []
    for view, name in _chosen(get_resolver().url_patterns):
        if name not in known:
            text = f"The view {view} chooses the profile {name!r}, which the settings do not have."
            hint = f"Declare it, or choose one of those that there are: {', '.join(known)}."
            messages.append(Error(text, hint=hint, id="undaunted.E005"))
    return messages


def _chosen(patterns: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        below = getattr(pattern, "url_patterns", None)
        if below is not None:
            yield from _chosen(below)
            continue
        name = profile_of(pattern.callback)
        if name is not None:
            yield pattern.lookup_str, name
