"""Which errors are nothing but the consequence of an earlier one, that of the database, which says what they mean."""

from __future__ import annotations

from sqlalchemy import exc

from undaunted.sqlalchemy.errors import CommitRolledBack
from undaunted.sqlalchemy.faults import sqlstate_of

__all__ = ["IN_FAILED_TRANSACTION", "follows"]

IN_FAILED_TRANSACTION = "25P02"
"""What the server says to each statement behind one that has failed."""


def follows(error: BaseException, noted: BaseException) -> bool:
    """Whether an error is nothing but the consequence of an earlier one."""
    if isinstance(error, (CommitRolledBack, exc.PendingRollbackError)):
        return True
    if isinstance(error, exc.DBAPIError):
        return sqlstate_of(error) == IN_FAILED_TRANSACTION
    seen = error
    for _ in range(20):  # a chain may be a ring
        before = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
        if before is None or before is noted:
            return before is noted
        seen = before
    return False
