"""Flask: settings in, a deadline and the visitor's own writes for each request, 503 for an outage, health and status.

Its one responsibility is to tie `undaunted.web` and `undaunted.cli` to an application of Flask. May import these,
`undaunted.registry` and what that stands on, and Flask; no driver and no ORM.
"""

from undaunted.flask.extension import Undaunted
from undaunted.flask.requests import profile

__all__ = ["Undaunted", "profile"]
