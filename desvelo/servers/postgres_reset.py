"""Emptying the tables of a PostgreSQL between two executions, faster than making them anew."""

from __future__ import annotations

from desvelo.world.held.postgres.connection import Address, PostgresConnection, PostgresError

TRUNCATE_EVERY = 256
"""Resets between two that also give the space back: deleted rows stay in a table until then,
and in the end everything that reads it would be slow."""

_TABLES = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'desvelo')
AND schemaname NOT LIKE 'pg_temp%' ORDER BY 1
"""
"""All but a history of runs that is kept in the same database."""
_SEQUENCES = """
SELECT format('%I.%I', schemaname, sequencename), start_value FROM pg_sequences ORDER BY 1
"""
_MAY_NOT = "42501"


class Emptying:
    """Empties tables over a connection of its own, which is kept open."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: PostgresConnection | None = None
        self._times = 0
        self._all: tuple[str, ...] | None = None
        self._messages: dict[tuple[str, ...], str] = {}
        self._quick = True
        """Whether triggers and foreign keys may be passed over, which takes a superuser."""

    def look_again(self) -> None:
        """Forget which tables there are: the schema has changed."""
        self._all = None
        self._messages.clear()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def empty(self, tables: tuple[str, ...] = ()) -> None:
        """Empty these tables, or all; sequences begin again."""
        if self._connection is None:
            self._connection = PostgresConnection(self._address)
        connection = self._connection
        names = tables or self._everything(connection)
        if not names:
            return
        self._times += 1
        if self._quick and self._times % TRUNCATE_EVERY:
            try:
                connection.query(self._message(names))
                return
            except PostgresError as error:
                connection.query("ROLLBACK")
                if error.state != _MAY_NOT:
                    raise
                self._quick = False
        connection.query(f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE")

    def _everything(self, connection: PostgresConnection) -> tuple[str, ...]:
        if not self._all:
            self._all = tuple(row[0] for row in connection.query(_TABLES) if row[0])
        return self._all

    def _message(self, names: tuple[str, ...]) -> str:
        """Return one message that does it all, so that it takes one round trip."""
        known = self._messages.get(names)
        if known is None:
            assert self._connection is not None
            steps = [f"DELETE FROM {name}" for name in names]  # noqa: S608 - names of tables
            steps += [
                f"SELECT setval('{name}', {start}, false)"
                for name, start in self._connection.query(_SEQUENCES)
            ]
            known = "; ".join(
                ["BEGIN; SET LOCAL session_replication_role = replica", *steps, "COMMIT"]
            )
            self._messages[names] = known
        return known
