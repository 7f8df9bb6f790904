"""PostgresEngine: the tables of a relay's store in a PostgreSQL database, which several processes may use at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Any, LiteralString

import psycopg
from psycopg import conninfo, errors, sql
from psycopg.pq import TransactionStatus

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange_relay.stores.engine import Answer
from infoexchange_relay.stores.postgres_schema import migrate
from infoexchange_relay.stores.schema import APPLICATION_ID, damaged

# Implementation constants
_CONNECT_SECONDS = 10  # a server that takes longer is as good as away
_LOCK_SECONDS = 10  # a writer that waits longer stands behind a process that hangs, as with the other engine
_ASK_SECONDS = 1  # after so long a writer looks whether who has the turn is silent; turns last milliseconds
# The server ends the connection of a writer that says nothing for so long, paused or without power, and gives its turn
# to the next: five seconds are what clients may notice.
_TURN_SECONDS = 3
# Whether the other machine is there at all: without, the system asks after hours. A node that cannot reach the server
# is to fail, and a server is to end the sessions of a node that has lost its power, within about ten seconds; a busy
# network loses no connection over that. They say nothing of a process that is paused: its machine answers for it.
_TCP = {
    "tcp_keepalives_idle": 4,  # seconds of silence before the first question
    "tcp_keepalives_interval": 2,  # seconds between two questions
    "tcp_keepalives_count": 3,  # questions without an answer
    "tcp_user_timeout": 10_000,  # milliseconds in which what was sent has to arrive
}
_CLIENT_TCP = {name.replace("tcp_keepalives", "keepalives"): value for name, value in _TCP.items()}
# Only this wait is short: other locks, which a copy being made of the database may hold, are waited for.
_TAKE_TURN: LiteralString = (
    "SELECT set_config('lock_timeout', %s, true), pg_advisory_lock(%s), set_config('lock_timeout', %s, true)"
)
_TAKE_TURN_FOR_TRANSACTION: LiteralString = _TAKE_TURN.replace("pg_advisory_lock", "pg_advisory_xact_lock")
# Both idle timeouts of the server begin when a command has ended. Of a node that fell silent in the middle of one, with
# half of its batch on the way, the server only knows that it waits for more; `state_change` moves with each row.
_END_SILENT = """SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objid = %s AND classid = 0
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND wait_event IN ('ClientRead', 'ClientWrite') AND state_change < clock_timestamp() - %s * interval '1 second'
"""
_LISTEN_SECONDS = 0.5  # between two looks whether to go on listening
# What a commit rests on; with any of them off the server acknowledges what a crash of its machine takes back.
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
_FULL = (errors.DiskFull, errors.OutOfMemory, errors.ConfigurationLimitExceeded)
# The answer of a server that works, to a call that it could not serve now.
_LATER = (errors.LockNotAvailable, errors.QueryCanceled, errors.TransactionRollback, errors.TooManyConnections)
# Whoever ends a server or cuts a line does no harm to what is stored.
_AWAY = (errors.OperatorIntervention, errors.ConnectionException)


class PostgresEngine:
    """An `Engine` over a database. One transaction writes at a time, of all processes; readers wait for nobody.

    A connection that breaks is made anew by the next call. Whether a commit that it broke in stands, nobody can know:
    the call raises `UNAVAILABLE`, and the same changes again do no harm, because they are idempotent.
    """

    none_of = "NOT ({column} = ANY(?))"

    def __init__(self, address: str) -> None:
        """Connect to the database, and bring its tables up to date.

        Args:
            address: `postgresql://user@host/database`, with any parameters of libpq; no password.

        Raises:
            UnavailableError: `UNAVAILABLE`, naming the database and what to do, when it cannot be used.
        """
        self.place, self._address = without_secrets(address)
        self._writing = threading.Lock()
        self._stopped = ""
        self._closed = False
        self._idle: list[psycopg.Connection[Any]] = []
        self._writer: psycopg.Connection[Any] | None = None
        self._turn: psycopg.Connection[Any] | None = None
        try:
            connection = self._connection()
            migrate(connection, self.place, partial(self._lock, connection, _TAKE_TURN_FOR_TRANSACTION))
            [schema] = connection.execute("SELECT current_schema()").fetchone() or [""]
            self._channel = f"infoexchange_{schema}"  # other relays may have other schemas of the same database
        except psycopg.Error as problem:
            self.close()
            raise self._unusable(_words(problem), "Check that this user may create tables there.") from None
        except ExchangeError:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection that nobody uses, and the others once they are given back."""
        with self._writing:
            self._closed = True
            for connection in (*self._idle, *([self._writer] if self._writer else [])):
                connection.close()
            self._idle.clear()
            self._writer = None

    def several(self, values: Collection[int]) -> list[int]:
        """Return many numbers as one parameter."""
        return list(values)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the turn to write, which all processes wait for in order; the server takes it from one that hangs."""
        with self._writing:
            self._check_open()
            connection = self._connection()
            try:
                _set(connection, "idle_session_timeout", _TURN_SECONDS)
                self._lock(connection, _TAKE_TURN)
            except psycopg.Error as problem:
                self._drop_writer()
                raise self._write_error(problem) from problem
            self._turn = connection
        try:
            yield
        finally:
            with self._writing:
                self._turn = None
                try:
                    connection.execute("SELECT pg_advisory_unlock(%s)", (APPLICATION_ID,))
                    _set(connection, "idle_session_timeout", 0)
                except psycopg.Error:  # with the connection goes the turn
                    connection.close()

    @contextlib.contextmanager
    def changing(self, *, secure: bool = False) -> Iterator[_Transaction]:
        """Lend the writing connection; with `secure`, the space of what is deleted is given up to be overwritten."""
        with self._writing:
            self._check_open()
            if self._stopped:
                raise error(Reason.LOG_STOPPED, field=self.place, detail=self._stopped)
            connection = self._connection()
            try:
                with connection.transaction():
                    # All processes that write wait here for each other, so that none works on an older head.
                    if connection is not self._turn:
                        self._lock(connection, _TAKE_TURN_FOR_TRANSACTION)
                    yield _Transaction(connection)
                if secure:
                    connection.execute("VACUUM entry, exhibit")
            except psycopg.Error as problem:
                raise self._write_error(problem) from problem

    def _lock(self, connection: psycopg.Connection[Any], statement: LiteralString) -> None:
        """Wait for the turn to write, and end the session of one that is silent in it; raises `LockNotAvailable`."""
        for left in reversed(range(_LOCK_SECONDS // _ASK_SECONDS)):
            open_already = connection.info.transaction_status is not TransactionStatus.IDLE
            try:
                # A transaction that is open outlives what is refused in a part of it.
                with connection.transaction() if open_already else contextlib.nullcontext():
                    connection.execute(statement, (f"{_ASK_SECONDS}s", APPLICATION_ID, f"{_LOCK_SECONDS}s"))
                return
            except errors.LockNotAvailable:
                if not left:
                    raise
                with contextlib.suppress(ExchangeError):  # then the server's own limits have to do
                    self._end_silent()

    def _end_silent(self) -> None:
        """End the session that has the turn, if it has said nothing for too long; another role's cannot be ended."""
        with self.working() as db:
            db.execute(_END_SILENT, (APPLICATION_ID, _TURN_SECONDS))

    @contextlib.contextmanager
    def reading(self, table: str) -> Iterator[_Transaction]:
        """Lend a connection in one read transaction."""
        with self._lent() as connection:
            try:
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                yield _Transaction(connection)
            except psycopg.Error as problem:
                if connection.closed or isinstance(problem, (*_AWAY, *_LATER)):
                    raise self._away(problem) from problem
                raise damaged(table, f"cannot be read: {_words(problem)}") from problem
            finally:
                with contextlib.suppress(psycopg.Error):
                    connection.rollback()

    @contextlib.contextmanager
    def working(self) -> Iterator[_Transaction]:
        """Lend a transaction beside the log, for what nodes tell each other; raises `UNAVAILABLE`."""
        with self._lent() as connection:
            try:
                with connection.transaction():
                    yield _Transaction(connection)
            except psycopg.Error as problem:
                raise self._away(problem) from problem

    def tell(self, payloads: Iterable[str]) -> None:
        """Send texts to all that `listen`; raises `UNAVAILABLE`."""
        texts = list(payloads)
        try:
            self._notify(texts)
        except ExchangeError:  # an idle connection may be one to the server as it was before it was started anew
            self._notify(texts)

    def _notify(self, payloads: Iterable[str]) -> None:
        with self.working() as db:
            for payload in payloads:
                db.execute("SELECT pg_notify(?, ?)", (self._channel, payload))

    def listen(self, stopped: threading.Event) -> Iterator[str]:
        """Yield what anybody tells, and an empty text at first, until `stopped` is set.

        Raises:
            UnavailableError: `UNAVAILABLE`, when the connection breaks.
        """
        connection = self._connect()
        try:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
            yield ""
            while not stopped.is_set():
                for notice in connection.notifies(timeout=_LISTEN_SECONDS):
                    yield notice.payload
        except psycopg.Error as problem:
            raise self._away(problem) from problem
        finally:
            connection.close()

    @contextlib.contextmanager
    def _lent(self) -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection that nobody uses, or a new one."""
        self._check_open()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._give_back(connection)

    def _away(self, problem: psycopg.Error) -> ExchangeError:
        return error(Reason.UNAVAILABLE, field=self.place, detail=_words(problem))

    def _give_back(self, connection: psycopg.Connection[Any]) -> None:
        if connection.closed:
            # The server has gone, or was started anew: the others are as dead, and each would cost another failure.
            with contextlib.suppress(IndexError):
                while True:
                    self._idle.pop().close()
            return
        self._idle.append(connection)
        if self._closed:
            self._idle.pop().close()

    def _connection(self) -> psycopg.Connection[Any]:
        """Return the writing connection; a new one where the last one broke, but not in the middle of a turn."""
        if self._turn is not None:
            if self._turn.closed:
                detail = "the connection broke while it had the turn to write"
                raise error(Reason.UNAVAILABLE, field=self.place, detail=detail)
            return self._turn
        if self._writer is None or self._writer.closed:
            self._writer = self._connect()
        return self._writer

    def _drop_writer(self) -> None:
        """Give up the writing connection, and with it whatever it had locked."""
        if self._writer is not None:
            self._writer.close()

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            connection = psycopg.connect(
                conninfo.make_conninfo("", **{**_CLIENT_TCP, **conninfo.conninfo_to_dict(self._address)}),
                autocommit=True,
                connect_timeout=_CONNECT_SECONDS,
                application_name="infoexchange-relay",
            )
        except psycopg.Error as problem:
            raise self._unusable(_words(problem), "Check the address, and that the server runs.") from None
        try:
            _set(connection, "lock_timeout", _LOCK_SECONDS)
            _set(connection, "idle_in_transaction_session_timeout", _TURN_SECONDS)
            for name, value in _TCP.items():  # of no effect over a socket of the same machine
                connection.execute("SELECT set_config(%s, %s, false)", (name, str(value)))
            connection.execute("SET client_encoding = 'UTF8'")
            for setting in _DURABLE:
                row = connection.execute("SELECT current_setting(%s)", (setting,)).fetchone()
                if row is None or row[0] == "off":
                    raise self._unusable(f"{setting} is off", f"Set {setting} = on: nothing acknowledged may be lost.")
        except psycopg.Error as problem:
            connection.close()
            raise self._unusable(_words(problem), "Check the server's log.") from None
        except ExchangeError:
            connection.close()
            raise
        return connection

    def _unusable(self, detail: str, next_step: str) -> ExchangeError:
        return error(Reason.UNAVAILABLE, field=self.place, detail=detail, next_step=next_step)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the store is closed")

    def _write_error(self, problem: psycopg.Error) -> Exception:
        """Return what a failed transaction means, and stop the engine if the disk cannot be trusted any more."""
        if isinstance(problem, _FULL):
            return error(Reason.OVERLOADED, field=self.place, detail=_words(problem))
        if isinstance(problem, _LATER) or self._writer is None or self._writer.closed or isinstance(problem, _AWAY):
            return error(Reason.UNAVAILABLE, field=self.place, detail=_words(problem))
        if isinstance(problem, psycopg.IntegrityError | psycopg.DataError | psycopg.ProgrammingError):
            return ValueError(f"changes that no store can hold: {_words(problem)}")
        self._stopped = f"the database failed: {_words(problem)}"
        return error(Reason.LOG_STOPPED, field=self.place, detail=self._stopped)


def _set(connection: psycopg.Connection[Any], setting: str, seconds: int) -> None:
    """Set a limit of time for this connection; 0 for none."""
    connection.execute("SELECT set_config(%s, %s, false)", (setting, f"{seconds}s"))


class _Transaction:
    """`Rows` of one connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Answer:
        """Run one statement."""
        return self._connection.execute(_query(statement), values, binary=True)

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> None:
        """Run one statement for each row; all of them travel together."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_query(statement), rows)


@cache
def _query(statement: str) -> bytes:
    """Return a statement of the store in this engine's words; none of them holds a percent sign or a text with `?`."""
    return statement.replace("?", "%s").encode()


def without_secrets(address: str) -> tuple[str, str]:
    """Return how a database is called in errors, and its address.

    Raises:
        MalformedError: `BAD_FIELD` for no address of a database, and for one with a password in it.
    """
    try:
        words = conninfo.conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        detail = "not the address of a PostgreSQL database"
        raise error(Reason.BAD_FIELD, field="store", detail=detail) from None
    if words.get("password"):
        step = "Leave it out, and put it into the file that PGPASSFILE names."
        raise error(Reason.BAD_FIELD, field="store", detail="a password stands in the address", next_step=step)
    user, host = words.get("user"), words.get("host", "")
    place = f"{user}@{host}" if user else str(host)
    return f"postgresql://{place}/{words.get('dbname', '')}", address


def _words(problem: psycopg.Error) -> str:
    """Return the server's complaint in one line; the line behind it may show values of rows."""
    said = problem.diag.message_primary or str(problem)
    return (said.splitlines() or [type(problem).__name__])[0]
