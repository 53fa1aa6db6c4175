"""Health and status at their addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, current_app, url_for
from flask import Response as FlaskResponse

from undaunted.flask.state import EXTENSION, state_of
from undaunted.web import NAMES, is_public
from undaunted.web import answer as answer_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Response

__all__ = ["make"]


def make(names: Iterable[str] = NAMES) -> Blueprint:
    """Make the blueprint: GET and HEAD of these addresses of `undaunted.web`, and the templates of this package."""
    blueprint = Blueprint(EXTENSION, __name__, template_folder="templates")
    for name in names:
        blueprint.add_url_rule(
            f"/{name}",
            endpoint=name.replace(".", "_") or "page",
            view_func=_view(name),
            methods=["GET"],  # and HEAD with it
            provide_automatic_options=False,
        )
    return blueprint


def _view(name: str) -> Callable[[], Response]:
    def view() -> Response:
        state = state_of(current_app)
        # Who somebody is may take a database to say, which must not stand between a probe and its answer.
        is_staff = not is_public(name, state.web) and bool(state.is_staff())
        told = answer_to(name, is_staff=is_staff, base=url_for(f"{EXTENSION}.page"), web=state.web)
        response = FlaskResponse(told.body, status=told.status, content_type=told.content_type)
        response.headers.update(told.headers)
        return response

    view.__name__ = name.replace(".", "_") or "page"
    return view
