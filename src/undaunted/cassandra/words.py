"""What a server said, without what the driver writes around it."""

from __future__ import annotations

__all__ = ["server_words"]

_LONGEST = 300


def server_words(error: BaseException) -> str:
    """The server's own sentence, without a full stop; of an error that is not a server's, its text."""
    text = str(error)
    said = text.partition('message="')[2].rpartition('"')[0] or text
    return said.strip().rstrip(".")[:_LONGEST]
