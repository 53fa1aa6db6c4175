"""What goes out before the first answer is waited for: the BEGIN, the key of a unit of work, and the first statement.

Generators for the ``wait`` of psycopg's connections, as all of psycopg's own I/O is, so threads and coroutines share
them. What they use of psycopg beneath its public names is looked for by `undaunted.sqlalchemy.seams.missing`.
"""

# ruff: noqa: SLF001

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, generators
from psycopg._preparing import Prepare
from psycopg.adapt import Transformer
from psycopg.pq import DiagnosticField, ExecStatus, Format, TransactionStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from undaunted.sqlalchemy.opening import Due

__all__ = ["begun", "executed", "opened"]

_UUID = [2950]
"""The type of the key's parameter."""
_BINARY = [Format.BINARY]  # a list, as older releases of psycopg want it
_NOT_PREPARED = b"26000"
_NOT_SUPPORTED = b"0A000"
"""Said of a prepared statement whose columns are others now; of anything else it will be said again."""

# By names of their own, since to look a member up costs more than to compare with it.
_FATAL_ERROR, _PIPELINE_SYNC = ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_SYNC
_TUPLES_OK, _COMMAND_OK = ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK
_IDLE = TransactionStatus.IDLE
_NO, _SHOULD, _YES = Prepare.NO, Prepare.SHOULD, Prepare.YES


def executed(connection: Any, command: bytes) -> Generator[Any, Any, None]:
    """Run a command that returns nothing; for the ``wait`` of psycopg's connections, as all of psycopg's own I/O is.

    Raises:
        psycopg.Error: As a cursor's ``execute``.
    """
    yield from connection._exec_command(command)


def opened(
    connection: Any, cursor: Any = None, pgq: Any = None, *, prep: Any = None, name: bytes = b"", binary: Any = None
) -> Generator[Any, Any, list[list[Any]]]:
    """Begin a transaction, with the key that is due and with a statement, in one message: one round trip for all.

    Args:
        connection: One of ours, with no transaction open, or with none to begin.
        cursor: The cursor that executes the statement; None where there is none.
        pgq: The statement.
        prep: Whether the server keeps it.
        name: By which name.
        binary: Whether it is to answer in binary.

    Returns:
        What the statement was answered, failures among it.

    Raises:
        psycopg.Error: As a cursor's ``execute``, where the BEGIN, or the key, has failed.
    """
    due, connection.due, connection.written_at = connection.due, None, None
    pgconn = connection.pgconn
    answers: list[list[Any]] = []
    refused: psycopg.Error | None = None
    first = 0
    pgconn.enter_pipeline_mode()
    try:
        first = _send_begin(connection, due)
        if cursor is not None:
            _send_statement(cursor, pgq, prep, name, binary)
    except psycopg.Error as error:
        refused = error  # by libpq, such as for too many parameters; what was sent before is answered all the same
    pgconn.pipeline_sync()
    yield from generators.send(pgconn)
    try:
        while (results := (yield from generators.fetch_many(pgconn)))[0].status != _PIPELINE_SYNC:
            answers.append(results)
        pgconn.exit_pipeline_mode()
    except psycopg.Error:
        # A server that ends the connection says why, and the end comes behind that.
        if not any(results[0].status == _FATAL_ERROR for results in answers):
            raise
    if due is not None and first and (yield from _is_key_lost(connection, due, answers[:first])):
        connection.due = due
        return (yield from opened(connection, cursor, pgq, prep=prep, name=name, binary=binary))
    for results in answers[:first]:
        if results[0].status == _FATAL_ERROR:
            raise errors.error_from_result(results[0], encoding=pgconn._encoding)
    if refused is not None:
        raise refused
    return answers[first:]


def _send_begin(connection: Any, due: Due | None) -> int:
    """Hand the BEGIN to libpq, and the key; returns how many answers they get."""
    pgconn = connection.pgconn
    count = 0
    if not connection.autocommit and pgconn.transaction_status == _IDLE:
        pgconn.send_query_params(connection._get_tx_start_command(), None)
        count = 1
    if due is None:
        return count
    if connection.prepare_threshold is None:  # there may be a pool between, which loses what is prepared
        pgconn.send_query_params(due.text, [due.key], _UUID, _BINARY)
        return count + 1
    if due.name not in connection.undaunted_prepared:
        pgconn.send_prepare(due.name, due.text, _UUID)
        count += 1
    pgconn.send_query_prepared(due.name, [due.key], _BINARY)
    return count + 1


def _send_statement(cursor: Any, pgq: Any, prep: Any, name: bytes, binary: Any) -> None:
    if prep is _NO:
        cursor._execute_send(pgq, force_extended=True, binary=binary)
        return
    if prep is _SHOULD:
        cursor._send_prepare(name, pgq)
    cursor._send_query_prepared(name, pgq, binary=binary)


def _is_key_lost(connection: Any, due: Due, answers: list[list[Any]]) -> Generator[Any, Any, bool]:
    """Note what the server has said of the key; whether it must be sent again, with its statement prepared anew.

    So it is where the server has forgotten that, as behind a DISCARD of the application's.
    """
    result = answers[-1][0]
    if result.status == _TUPLES_OK:
        connection.written_at = result.get_value(0, 0)
        if connection.prepare_threshold is not None:
            connection.undaunted_prepared.add(due.name)
        return False
    state: bytes | None = result.error_field(DiagnosticField.SQLSTATE)
    if state != _NOT_PREPARED or due.name not in connection.undaunted_prepared:
        if len(answers) > 2 and answers[1][0].status == _COMMAND_OK:
            connection.undaunted_prepared.add(due.name)
        return False
    connection.undaunted_prepared.discard(due.name)
    yield from connection._exec_command(b"ROLLBACK")
    return True


def _is_outdated(result: Any) -> bool:
    """Whether a prepared statement has failed since a migration has changed what it returns.

    psycopg forgets what is prepared with each ROLLBACK, so who only reads does not meet that there. Here readers keep
    it, and the first statement of a transaction can be prepared anew without anything being lost.
    """
    return bool(result.status == _FATAL_ERROR and result.error_field(DiagnosticField.SQLSTATE) == _NOT_SUPPORTED)


def begun(
    cursor: Any, query: Any, params: Any, *, prepare: Any, binary: Any, is_alone: Callable[[bytes], Any]
) -> Generator[Any, Any, None]:
    """A cursor's ``execute`` that begins a transaction, with its statement in the same message where that may be.

    Args:
        cursor: One of ours, whose connection has no transaction open.
        query: As psycopg's, and so is the rest.
        params: The parameters.
        prepare: Whether the server is to keep the statement.
        binary: Whether it is to answer in binary.
        is_alone: Whether a statement of this text, without parameters, is certainly one.
    """
    connection = cursor._conn
    if cursor.closed:
        raise psycopg.InterfaceError("the cursor is closed")
    cursor._reset()
    if cursor._last_query is not query:
        cursor._last_query = None
        cursor._tx = Transformer(cursor)
    pgq = cursor._convert_query(query, params)
    if not pgq.params and not is_alone(pgq.query):
        yield from connection._start_query()
        yield from cursor._maybe_prepare_gen(pgq, prepare=prepare, binary=binary)
    else:
        known, due = connection._prepared, connection.due
        prep, name = cursor._get_prepared(pgq, prepare)
        answers = yield from opened(connection, cursor, pgq, prep=prep, name=name, binary=binary)
        if prep is _YES and _is_outdated(answers[-1][0]):
            yield from connection._rollback_gen()  # which forgets what is prepared
            connection.due = due
            prep, name = cursor._get_prepared(pgq, prepare)
            answers = yield from opened(connection, cursor, pgq, prep=prep, name=name, binary=binary)
        results = answers[-1]
        if len(answers) > 1:
            cursor._check_results(answers[0])  # else it is not prepared
        key = known.maybe_add_to_cache(pgq, prep, name)
        if key is not None:
            known.validate(key, prep, name, results)
        cursor._check_results(results)
        cursor._set_results(results)
    cursor._last_query = query
    yield from connection._prepared.maintain_gen(connection)
