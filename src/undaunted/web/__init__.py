"""What the parts for Django and Flask share: the scope of a request, health, the addresses that tell of it, the page.

Knows neither framework. May import `undaunted.registry` and what that stands on; no driver is imported before a
cluster of its kind is configured.
"""

from undaunted.web.cookies import dump, load
from undaunted.web.failures import Failure, failure_of
from undaunted.web.routes import NAMES, Answer, answer, is_public
from undaunted.web.scope import RequestScope

__all__ = ["NAMES", "Answer", "Failure", "RequestScope", "answer", "dump", "failure_of", "is_public", "load"]
