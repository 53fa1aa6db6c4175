"""Events as log lines: what undaunted did, at the level at which somebody wants to know it.

Subscribe `log_event`; the lines go to the logger ``undaunted`` with the event's fields as ``extra``, each under
``undaunted.``. Neither holds a value of the user's data.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from undaunted.events import event as events

if TYPE_CHECKING:
    from undaunted.events.event import Event

__all__ = ["log_event"]

_log = logging.getLogger("undaunted")

_LINES: dict[type[Event], tuple[int, str]] = {
    events.RetryScheduled: (
        logging.WARNING,
        "%(cluster)s: %(operation)s failed on %(node)s (%(fault)s, %(error)s), run again in %(delay_s).3f s",
    ),
    events.CallRecovered: (
        logging.INFO,
        "%(cluster)s: %(operation)s succeeded on attempt %(attempts)d, %(elapsed_s).3f s after its first failure",
    ),
    events.CallFailed: (
        logging.ERROR,
        "%(cluster)s: %(operation)s given up after %(attempts)d attempts in %(elapsed_s).3f s (%(reason)s): %(error)s",
    ),
    events.OutcomeLeftUnknown: (
        logging.ERROR,
        "%(cluster)s: nobody knows whether %(operation)s was applied; %(attempts)d attempts (%(reason)s): %(error)s",
    ),
    events.BudgetEmptied: (logging.WARNING, "%(cluster)s: the retry budget is empty, nothing more is run again"),
    events.BreakerOpened: (logging.WARNING, "%(cluster)s: %(node)s does not answer, left alone for %(open_s).3f s"),
    events.BreakerHalfOpened: (logging.INFO, "%(cluster)s: a probe goes to %(node)s"),
    events.BreakerClosed: (logging.INFO, "%(cluster)s: %(node)s answers again"),
    events.PrimaryLost: (logging.WARNING, "%(cluster)s: no primary any more (was %(node)s)"),
    events.PrimaryFound: (logging.INFO, "%(cluster)s: the primary is %(node)s"),
    events.NodeLost: (logging.WARNING, "%(cluster)s: %(node)s is lost (%(reason)s)"),
    events.NodeFound: (logging.INFO, "%(cluster)s: %(node)s is there (%(role)s)"),
    events.FailoverCompleted: (
        logging.WARNING,
        "%(cluster)s: %(to_node)s took over from %(from_node)s after %(elapsed_s).3f s",
    ),
    events.OutageBegan: (logging.ERROR, "%(cluster)s: no node answers"),
    events.OutageEnded: (logging.INFO, "%(cluster)s: a node answers again, after %(elapsed_s).3f s without any"),
    events.CursorResumed: (logging.WARNING, "%(cluster)s: a scan goes on elsewhere after %(node)s was lost"),
    events.TwoPrimaries: (logging.ERROR, "%(cluster)s: %(nodes)s all take writes; writes go to %(chosen)s"),
    events.AcknowledgedLost: (
        logging.ERROR,
        "%(cluster)s: %(node)s lacks %(lost_bytes)d bytes of acknowledged transactions that %(from_node)s had",
    ),
    events.DurabilityWeakened: (
        logging.ERROR,
        "%(cluster)s: %(node)s answered a COMMIT that no standby has confirmed",
    ),
}


def log_event(event: Event) -> None:
    """Log one event; one that has no line of its own is logged by its name."""
    level, line = _LINES.get(type(event), (logging.INFO, "%(cluster)s: %(event)s"))
    if not _log.isEnabledFor(level):
        return
    plain: dict[str, Any] = event.as_dict()
    _log.log(level, line, plain, extra={f"undaunted.{name}": value for name, value in plain.items()})
