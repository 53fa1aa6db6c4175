"""What goes out before the first answer is waited for: the BEGIN, the key of a unit of work, and the first statement.

Generators for the ``wait`` of psycopg's connections, as all of psycopg's own I/O is, so threads and coroutines share
them. What they use of psycopg beneath its public names is looked for by `undaunted.sqlalchemy.seams.missing`.
"""

# ruff: noqa: SLF001

from __future__ import annotations

from functools import partial
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

_UUID = (2950,)
"""The type of the key's parameter."""
_BINARY = (Format.BINARY,)
_NOT_PREPARED = b"26000"


def executed(connection: Any, command: bytes) -> Generator[Any, Any, None]:
    """Run a command that returns nothing; for the ``wait`` of psycopg's connections, as all of psycopg's own I/O is.

    Raises:
        psycopg.Error: As a cursor's ``execute``.
    """
    yield from connection._exec_command(command)


def opened(connection: Any, *statement: Callable[[], None]) -> Generator[Any, Any, list[list[Any]]]:
    """Begin a transaction, with the key that is due and with a statement, in one message: one round trip for all.

    Args:
        connection: One of ours, with no transaction open, or with none to begin.
        *statement: What hands the statement to libpq, in steps that are answered one by one.

    Returns:
        The results of each step of the statement, failures among them.

    Raises:
        psycopg.Error: As a cursor's ``execute``, where the BEGIN, or the key, has failed.
    """
    due, connection.due, connection.written_at = connection.due, None, None
    while True:
        steps = _first_steps(connection, due)
        count = len(steps)
        answers, refused = yield from _piped(connection.pgconn, [*steps, *statement])
        if due is not None and len(answers) >= count > 2 and answers[1][-1].status == ExecStatus.COMMAND_OK:
            connection.undaunted_prepared.add(due.name)
        failed = next((found for found in answers[:count] if found[-1].status == ExecStatus.FATAL_ERROR), None)
        if failed is None:
            if refused is not None:
                raise refused
            if due is not None:
                connection.written_at = answers[count - 1][-1].get_value(0, 0)
            return answers[count:]
        state: bytes | None = failed[-1].error_field(DiagnosticField.SQLSTATE)
        if state != _NOT_PREPARED or due is None or due.name not in connection.undaunted_prepared:
            raise errors.error_from_result(failed[-1], encoding=connection.pgconn._encoding)
        connection.undaunted_prepared.clear()  # forgotten by the server, as behind a DISCARD of the application's
        yield from connection._exec_command(b"ROLLBACK")


def _first_steps(connection: Any, due: Due | None) -> list[Callable[[], None]]:
    """What hands the BEGIN to libpq, and the key; of three steps the second prepares its statement."""
    pgconn = connection.pgconn
    steps: list[Callable[[], None]] = []
    if not connection.autocommit and pgconn.transaction_status == TransactionStatus.IDLE:
        steps.append(partial(pgconn.send_query_params, connection._get_tx_start_command(), None))
    if due is None:
        return steps
    if connection.prepare_threshold is None:  # there may be a pool between, which loses what is prepared
        steps.append(partial(pgconn.send_query_params, due.text, [due.key], _UUID, _BINARY))
        return steps
    if due.name not in connection.undaunted_prepared:
        steps.append(partial(pgconn.send_prepare, due.name, due.text, _UUID))
    steps.append(partial(pgconn.send_query_prepared, due.name, [due.key], _BINARY))
    return steps


def _piped(
    pgconn: Any, steps: list[Callable[[], None]]
) -> Generator[Any, Any, tuple[list[list[Any]], psycopg.Error | None]]:
    """Send several statements at once; returns what each was answered, and what libpq has refused to send."""
    refused: psycopg.Error | None = None
    sent = 0
    pgconn.enter_pipeline_mode()
    try:
        for step in steps:
            step()
            sent += 1
    except psycopg.Error as error:
        refused = error
    pgconn.pipeline_sync()
    yield from generators.send(pgconn)
    answers: list[list[Any]] = []
    try:
        while len(answers) < sent:
            answers.append((yield from generators.fetch_many(pgconn)))
        yield from generators.fetch_many(pgconn)  # the end of the message
        pgconn.exit_pipeline_mode()
    except psycopg.Error:
        # A server that ends the connection says why, and the end comes behind that.
        if not any(found[-1].status == ExecStatus.FATAL_ERROR for found in answers if found):
            raise
    return answers, refused


def begun(
    cursor: Any, query: Any, params: Any, *, prepare: Any, binary: Any, is_alone: Callable[[bytes, Any], bool]
) -> Generator[Any, Any, None]:
    """A cursor's ``execute`` that begins a transaction, with its statement in the same message where that may be.

    Args:
        cursor: One of ours, whose connection has no transaction open.
        query: As psycopg's, and so is the rest.
        params: The parameters.
        prepare: Whether the server is to keep the statement.
        binary: Whether it is to answer in binary.
        is_alone: Whether a statement of this text, and with these parameters, is certainly one.
    """
    connection = cursor._conn
    if cursor.closed:
        raise psycopg.InterfaceError("the cursor is closed")
    cursor._reset()
    if cursor._last_query is not query:
        cursor._last_query = None
        cursor._tx = Transformer(cursor)
    pgq = cursor._convert_query(query, params)
    if is_alone(pgq.query, pgq.params):
        yield from _begun_with(cursor, pgq, prepare=prepare, binary=binary)
    else:
        yield from connection._start_query()
        yield from cursor._maybe_prepare_gen(pgq, prepare=prepare, binary=binary)
    cursor._last_query = query
    yield from connection._prepared.maintain_gen(connection)


def _begun_with(cursor: Any, pgq: Any, *, prepare: Any, binary: Any) -> Generator[Any, Any, None]:
    connection = cursor._conn
    known = connection._prepared
    prep, name = cursor._get_prepared(pgq, prepare)
    steps: list[Callable[[], None]] = []
    if prep is Prepare.NO:
        steps.append(partial(cursor._execute_send, pgq, force_extended=True, binary=binary))
    else:
        if prep is Prepare.SHOULD:
            steps.append(partial(cursor._send_prepare, name, pgq))
        steps.append(partial(cursor._send_query_prepared, name, pgq, binary=binary))
    answers = yield from opened(connection, *steps)
    if len(answers) > 1:
        cursor._check_results(answers[0])  # else it is not prepared
    key = known.maybe_add_to_cache(pgq, prep, name)
    results = answers[-1]
    if key is not None:
        known.validate(key, prep, name, results)
    cursor._check_results(results)
    cursor._set_results(results)
