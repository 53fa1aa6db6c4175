"""A site for these tests: its views, and a middleware in the place of a login."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject
from django.views import View

import undaunted
from undaunted.django.decorators import profile
from undaunted.engine.context import current_options
from undaunted.mongodb import Document, fields
from undaunted.registry import REGISTRY
from undaunted.sqlalchemy.tokens import LAST, note_commit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Note(Document):
    __undaunted__ = {"cluster": "orders"}
    text = fields.StringField()


def _told() -> JsonResponse:
    found = current_options()
    deadline = None if found is None else found.deadline
    left_s = None if deadline is None else deadline.remaining_s(time.monotonic())
    return JsonResponse({"left_s": left_s})


def bounds(_: HttpRequest) -> HttpResponse:
    return _told()


async def bounds_async(_: HttpRequest) -> HttpResponse:
    return _told()


@profile("worker")
def report(_: HttpRequest) -> HttpResponse:
    return _told()


@profile("worker")
async def report_async(_: HttpRequest) -> HttpResponse:
    return _told()


@profile("worker")
def declared(_: HttpRequest) -> HttpResponse:
    found = current_options()
    assert found is not None
    assert found.deadline is not None
    return JsonResponse(
        {"left_s": found.deadline.remaining_s(time.monotonic()), "reads": found.reads, "profile": found.profile}
    )


@method_decorator(profile("worker"), name="dispatch")
class Report(View):
    def get(self, _: HttpRequest) -> HttpResponse:
        return _told()


@profile("worker")
def rendered_later(request: HttpRequest) -> HttpResponse:
    def left() -> str:
        return _told().content.decode()

    template = engines["django"].from_string("{{ left|safe }}")
    return TemplateResponse(request, template, {"left": left}, content_type="application/json")


def notes(_: HttpRequest) -> HttpResponse:
    return HttpResponse(", ".join(note.text for note in Note.objects))


async def notes_async(_: HttpRequest) -> HttpResponse:
    raise undaunted.NoNodeAvailable("a detail for the log")


def broken(request: HttpRequest, **_: str) -> HttpResponse:
    raise {
        "budget": undaunted.BudgetExhausted("mongodb://u:pw@host said no"),
        "deadline": undaunted.DeadlineExceeded("slow"),
        "unknown": undaunted.OutcomeUnknown("sent"),
        "other": RuntimeError("something else"),
    }[request.GET["how"]]


def broken_in_template(request: HttpRequest) -> HttpResponse:
    def fail() -> Any:
        raise undaunted.NoNodeAvailable("none")

    return TemplateResponse(request, engines["django"].from_string("{{ text }}"), {"text": fail})


class Member(AbstractBaseUser):
    """A model of users of the application's own; nothing of it has a staff."""

    class Meta:
        app_label = "site"


def from_replicas(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> Any:
        deadline = {"deadline": request.GET["within"]} if "within" in request.GET else {}
        with undaunted.options(reads="replica", **deadline), undaunted.options(idempotent=True):
            answer = get_response(request)
            found = current_options()
            answer["X-Idempotent"] = str(found is not None and found.idempotent)
            return answer

    return middleware


def who_am_i(get_response: Any) -> Any:
    """Takes the visitor at his word; asking who an unlooked-for visitor is fails, as a lost database of users does."""

    def middleware(request: HttpRequest) -> Any:
        claimed = request.headers.get("X-Claimed", "")
        users = {
            "": AnonymousUser(),
            "staff": User(username="staff", is_staff=True),
            "former": User(username="former", is_staff=True, is_active=False),
            "customer": User(username="customer"),
            "own model": Member(),
        }
        request.user = SimpleLazyObject(lambda: users[claimed])
        return get_response(request)

    return middleware


def written_and_streamed(_: HttpRequest) -> StreamingHttpResponse:
    note_commit("ledger")
    return StreamingHttpResponse(_seen() for _ in range(1))


async def written_and_streamed_async(_: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        yield _seen()

    note_commit("ledger")
    return StreamingHttpResponse(parts())


def _seen() -> str:
    return f"{sorted(LAST.get())} {_told().content.decode()}"


def clusters(_: HttpRequest) -> HttpResponse:
    return JsonResponse(sorted(REGISTRY.loaded.settings.clusters), safe=False)


urlpatterns = [
    path("bounds", bounds),
    path("bounds-async", bounds_async),
    path("slow/bounds", bounds),
    path("report", report),
    path("report-async", report_async),
    path("declared", declared),
    path("report-class", Report.as_view()),
    path("rendered-later", rendered_later),
    path("notes", notes),
    path("notes-async", notes_async),
    path("broken", broken),
    path("broken-in-template", broken_in_template),
    path("clusters", clusters),
    path("streamed", written_and_streamed),
    path("streamed-async", written_and_streamed_async),
    path("named/<name>", broken),
    path("status/", include("undaunted.django.urls")),
]
