"""psycopg 3 with calls that block, for threads."""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.string import TextLoader

from vigia_reference.clinical.attempts import Begin
from vigia_reference.clinical.drivers.postgresql_dialect import begin_statement
from vigia_reference.clinical.errors import StoreError, by_sqlstate
from vigia_reference.clinical.statements import Query, Rows, for_psycopg


class PsycopgConnection:
    """One session with a server."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    @property
    def closed(self) -> bool:
        """Whether it was closed or broke."""
        return self._connection.closed

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun and not ended."""
        return self._connection.info.transaction_status not in {
            TransactionStatus.IDLE,
            TransactionStatus.UNKNOWN,
        }

    def begin(self, begin: Begin) -> None:
        """Begin a transaction."""
        self._execute(begin_statement(begin))

    def query(self, query: Query) -> Rows:
        """Run one statement and return its rows."""
        return self._execute(for_psycopg(query.text), query.parameters)

    def commit(self) -> None:
        """Commit the transaction."""
        self._execute("COMMIT")

    def rollback(self) -> None:
        """Roll back the transaction, if there is one."""
        if self.in_transaction:
            self._execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection; what was not committed is lost."""
        self._connection.close()

    def _execute(self, text: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        try:
            # Every text is a constant of this package, or made from one.
            cursor = self._connection.execute(text.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise _translated(error) from error


def connect(dsn: str, **options: Any) -> PsycopgConnection:
    """Connect to the server at *dsn*; *options* are psycopg's own.  Raises `Unavailable`."""
    # Preparing a statement at its fifth use would make an answer depend on what went before.
    settings = {"autocommit": True, "prepare_threshold": None, **options}
    try:
        connection = psycopg.connect(dsn, **settings)
    except psycopg.Error as error:
        raise _translated(error) from error
    connection.adapters.register_loader("jsonb", TextLoader)
    return PsycopgConnection(connection)


def _translated(error: psycopg.Error) -> StoreError:
    return by_sqlstate(error.sqlstate, error.diag.message_primary or str(error))
