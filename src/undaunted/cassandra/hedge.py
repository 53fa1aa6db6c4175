"""A second request for a slow first one, to another node, where running it twice does no harm.

It is sent when the first takes longer than nearly all have taken lately, and the first answer of either counts. So a
node that dies or freezes costs a moment, and not the timeout of an attempt. What is sent on top is bounded, however
slow all become: by an allowance, which slow answers may well have used up when a node freezes. A node that has been
silent to everybody for longer than slow answers take is therefore no matter of the allowance.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undaunted.core.policy import HedgePolicy

__all__ = ["Hedger"]

_KEPT = 512
_EACH = 64
"""After so many answers the delay is computed anew."""
_UNTIL_KNOWN_S = 0.1
_SHORTEST_S, _LONGEST_S = 0.002, 0.2
_SHARE = 0.04
"""Hedges a request at most, in the long run, so that the load without faults grows by less than 5 %."""
_AT_ONCE = 20.0
"""Hedges that may be sent on top of that share after a quiet time: the callers that meet a frozen node together."""
_LOST_IN_A_ROW = 3
_SILENT_S = 0.1
"""At least for so long must a node have answered nobody until it is taken for silent."""
_SILENT_TIMES = 2.0
"""And for so many times as long as nearly all answers take."""


class Hedger:
    """One per cluster: when to send a second request, and whether one may be sent. Safe to share between threads.

    Attributes:
        delay_s: How long a request may take until a second one is sent, while the allowance lasts.
        silence_s: The same without it, of a node that has answered nobody meanwhile.
    """

    def __init__(self, policy: HedgePolicy) -> None:
        self._quantile = policy.quantile
        self._lock = threading.Lock()
        self._taken_s: list[float] = []
        self._at = 0
        self._allowance = _AT_ONCE
        self._lost: dict[Any, int] = {}
        self._heard_s: dict[Any, float] = {}
        self.delay_s = _UNTIL_KNOWN_S
        self.silence_s = _SILENT_TIMES * _UNTIL_KNOWN_S

    def answered(self, host: Any, taken_s: float, *, at_s: float) -> None:
        """A node has answered a request in this time, at that moment of the clock."""
        with self._lock:
            self._lost.pop(host, None)
            self._heard_s[host] = at_s
            self._allowance = min(_AT_ONCE, self._allowance + _SHARE)
            if len(self._taken_s) < _KEPT:
                self._taken_s.append(taken_s)
            else:
                self._taken_s[self._at % _KEPT] = taken_s
            self._at += 1
            if self._at % _EACH == 0:
                ordered = sorted(self._taken_s)
                slow_s = ordered[min(len(ordered) - 1, int(len(ordered) * self._quantile))]
                self.delay_s = min(_LONGEST_S, max(_SHORTEST_S, slow_s))
                self.silence_s = max(_SILENT_S, _SILENT_TIMES * slow_s)

    def silent_from_s(self, host: Any, *, asked_s: float) -> float:
        """The moment from which a node counts as silent that was asked then, if it answers nobody until it comes."""
        return max(asked_s, self._heard_s.get(host, asked_s)) + self.silence_s

    def takes(self) -> bool:
        """Whether a second request may be sent; takes it from the allowance."""
        with self._lock:
            if self._allowance < 1:
                return False
            self._allowance -= 1
            return True

    def lost(self, host: Any) -> bool:
        """A second request was answered before this node's first; whether that has been so again and again."""
        with self._lock:
            self._lost[host] = self._lost.get(host, 0) + 1
            return self._lost[host] >= _LOST_IN_A_ROW
