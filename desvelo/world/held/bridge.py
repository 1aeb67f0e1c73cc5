"""The bridge of one world: from simulated connections to real servers, and back.

After every piece that reaches a server the bridge *settles*: it waits, in real time, until each
statement that is under way is answered or proven to wait for a session that is not running.
Only then does the world go on, so no decision depends on how fast a server is.
"""

from __future__ import annotations

import re
import select
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from desvelo.errors import DesveloError, ServerGone, UsageError
from desvelo.world import polling
from desvelo.world.held.end import HeldEnd
from desvelo.world.held.protocol import Backend, RealServer, Session
from desvelo.world.timekeeping import real_perf_counter

if TYPE_CHECKING:
    from desvelo.world.held.libpq import Relayed
    from desvelo.world.network import Address
    from desvelo.world.sockets import SimSocket
    from desvelo.world.world import World

GRACE = 0.0003
"""Real seconds of silence after which a server is asked whether a statement waits for a lock."""

LONGEST_GRACE = 0.01
_SESSION = re.compile(r"session (\d+)")
LONG = 0.5
"""Real seconds after which a statement is one that takes long."""

PATIENCE = 60.0
"""Real seconds that a server may take for one statement that waits for nobody."""


class ServerSilent(DesveloError):
    """A real server neither answers nor says for whom it waits."""


class Bridge:
    """The real servers of one world, and the sessions that its clients have there."""

    def __init__(self, world: World, servers: Sequence[RealServer]) -> None:
        self.world = world
        self._servers = list(servers)
        self._ends: dict[Session, HeldEnd] = {}
        """Who is connected, in the order in which they came; also who has left and still owes."""
        self._backends: dict[Session, Backend] = {}
        self._waiting: dict[Session, str] = {}
        """Sessions proven to wait, and for whom; true until the next answer or goodbye."""
        self._changed = False
        """Whether anything has happened since it was last seen that those who wait must wait."""
        self._count = 0
        self._relayed: Relayed | None = None
        for server in self._servers:
            server.held().begin()

    # connections

    def server_at(self, address: Address) -> RealServer | None:
        """Return the real server at an address of the simulated network."""
        if isinstance(address, (str, bytes)):
            return None
        return self.server_named(self.world.network.name_of(address[0]), address[1])

    def knows(self, server: object) -> bool:
        """Tell whether a server is one of this world's, or another database of one."""
        place = (getattr(server, "host", None), getattr(server, "port", None))
        return any(known is server or (known.host, known.port) == place for known in self._servers)

    def server_named(self, host: str, port: int) -> RealServer | None:
        """Return the real server with this name and port."""
        for server in self._servers:
            if server.port == port and host.lower() in _names_of(server.host):
                return server
        return None

    def describe(self, address: Address) -> str | None:
        """Name a real server in a trace, where its port would differ from run to run."""
        server = self.server_at(address)
        return server.held().name if server is not None else None

    def accept(self, sock: SimSocket, address: Address, actor: str) -> bool:
        """Take a connection that arrives for a real server; tell whether it is for one."""
        server = self.server_at(address)
        if server is None:
            return False
        self._count += 1
        backend = server.held()
        session = backend.session(self._count)
        end = HeldEnd(self, session, sock, address, backend.name)
        self._ends[session] = end
        self._backends[session] = backend
        self.world.network.join(sock, end, actor)
        end.listen_in()
        sock.connected()
        return True

    @property
    def sessions(self) -> list[Session]:
        """The sessions, in the order in which they began."""
        return list(self._ends)

    @property
    def relayed(self) -> Relayed:
        """The connections of drivers that have sockets of their own."""
        if self._relayed is None:
            from desvelo.world.held.libpq import Relayed

            self._relayed = Relayed(self.world, self)
        return self._relayed

    # what happens at the ends

    def heard(self, session: Session, data: bytes) -> None:
        """Hand on what arrived from a client, and settle."""
        session.hear_client(data)
        self._after(session)

    def left(self, session: Session) -> None:
        """Let a session end whose client is gone, and settle."""
        session.client_left()
        self._after(session)

    def _after(self, session: Session) -> None:
        if session.over and not session.owing:
            # Its locks are free now.
            self._changed = True
            self._waiting.pop(session, None)
        self.settle()
        ends = self._ends
        for one in sorted(ends, key=lambda one: (one is not session, one.number)):
            end = ends[one]
            said, data = one.report() if self.world.tracing else "", one.take()
            if said:
                self.world.note("statement", end.lane, said)
            if data:
                end.say(data)
            if one.over and not one.owing:
                end.end()
                del ends[one], self._backends[one]

    # settling

    def settle(self) -> None:
        """Wait until every session is answered or proven to wait for one that is not running."""
        waiting = self._waiting
        grace, since, pried = GRACE, 0.0, False
        while True:
            running = [one for one in self._ends if one.owing and one not in waiting]
            if not running:
                self._freeze(waiting)
                if self._changed and waiting and self._wake_one():
                    continue
                if pried or not self._pry():
                    return
                pried = True
                continue
            ready = readable([one for one in self._ends if one.owing], grace)
            if ready:
                for session in ready:
                    if session.hear_server():
                        self._changed = True
                        waiting.pop(session, None)
                        grace, since = GRACE, 0.0
                continue
            now = real_perf_counter()
            since = since or now
            proven = self._ask(running, now - since)
            if proven and not readable(running, 0.0):
                self._let_wait(proven)
            if now - since > LONG and self._held_up(running):
                self._wake_all()
            if now - since > PATIENCE:
                raise self._silence(running[0], now - since)
            grace = min(grace * 2, LONGEST_GRACE)

    def _pry(self) -> bool:
        """Have servers tell what they would tell unasked; tell whether any will."""
        asked = False
        for backend in dict.fromkeys(self._backends.values()):
            mine = [session for session in self._ends if self._backends[session] is backend]
            asked = backend.pry(mine) or asked
        return asked

    def _ask(self, asked: list[Session], silence: float) -> dict[Session, str]:
        """Ask each backend which of its sessions wait."""
        proven: dict[Session, str] = {}
        for backend in dict.fromkeys(self._backends[session] for session in asked):
            mine = [session for session in self._ends if self._backends[session] is backend]
            proven |= backend.waiting([one for one in mine if one in asked], mine, silence)
        return proven

    def _let_wait(self, proven: dict[Session, str]) -> None:
        """Note who waits; whoever began to wait first is first to go on."""
        for session in sorted(proven, key=lambda session: session.number):
            self._waiting[session] = proven[session]
        self._freeze(proven)
        self._changed = True
        self._note(proven)

    def _freeze(self, waiting: Iterable[Session]) -> None:
        """Let nobody of them go on by itself; some may have had to, for a while."""
        for session in waiting:
            self._backends[session].freeze(session)

    def _wake_one(self) -> bool:
        """Let the first of the waiting sessions go on that can; tell whether there is one.

        One at a time: it may take what another one could have had.
        """
        waiting = self._waiting
        proven = self._ask(list(waiting), LONG)
        for session in waiting:
            if session not in proven:
                del waiting[session]
                self._backends[session].thaw(session)
                return True
        waiting.update(proven)
        self._changed = False
        return False

    def _held_up(self, running: list[Session]) -> bool:
        """Tell whether a server says that what runs needs one who is frozen, beyond locks."""
        return any(
            backend.held_up([one for one in running if self._backends[one] is backend])
            for backend in dict.fromkeys(self._backends[one] for one in running)
        )

    def _wake_all(self) -> None:
        """Freeze nobody any more: what runs may need them, in a way that is no lock."""
        for session in self._waiting:
            self._backends[session].thaw(session)

    def _note(self, proven: dict[Session, str]) -> None:
        if self.world.tracing:
            for session, whom in sorted(proven.items(), key=lambda item: item[0].number):
                text = f"{session.doing()} waits for {self._with_names(whom)}"
                self.world.note("waits", self._ends[session].lane, text)

    def _with_names(self, whom: str) -> str:
        """Say whose the sessions are, beside their numbers."""
        names = {
            session.number: end.connection.name
            for session, end in self._ends.items()
            if end.connection is not None
        }
        return _SESSION.sub(
            lambda match: f"{match[0]} of {names.get(int(match[1]), 'nobody')}", whom
        )

    def _silence(self, session: Session, seconds: float) -> ServerSilent:
        name = self._backends[session].name
        return ServerSilent(
            f"{name} has not answered {session.doing() or 'a request'} for {seconds:.0f} s of real "
            "time, nor does it wait for a session of this execution; is there a sleep in it, or a "
            "lock held from outside?"
        )

    def awaited_by(self, client: SimSocket) -> str:
        """Say what a client waits for, when its session is proven to wait; else nothing."""
        for session, whom in self._waiting.items():
            if self._ends[session].connection is client.connection:
                return f"{self._with_names(whom)} ({session.doing()})"
        return ""

    def waits(self) -> list[str]:
        """Say which sessions wait and for whom, when nothing can happen any more."""
        return [
            f"{session.doing()} in {self._ends[session].label} waits for {self._with_names(whom)}"
            for session, whom in sorted(self._waiting.items(), key=lambda item: item[0].number)
            if session in self._ends
        ]

    # the end

    def close(self) -> None:
        """Give all real connections back; what was open in them is undone."""
        self._wake_all()
        by_backend: dict[Backend, list[Session]] = {}
        for server in self._servers:
            by_backend[server.held()] = []
        for session, backend in self._backends.items():
            by_backend[backend].append(session)
        self._ends.clear()
        self._backends.clear()
        self._waiting.clear()
        for backend, sessions in by_backend.items():
            try:
                backend.end(sessions)
            except ServerGone:
                # Whoever needs it next is told.
                continue


def listed(servers: Any) -> list[RealServer]:
    """Return the servers that somebody asks for; each may be a function that returns one.

    Raises `UsageError` for what is no server.
    """
    if callable(servers):
        servers = servers()
    found = []
    for item in servers if isinstance(servers, Iterable) else (servers,):
        server = item() if callable(item) else item
        if not hasattr(server, "held"):
            raise UsageError(
                f"servers has {server!r}, which is no real server; list those of desvelo.servers, "
                "such as servers = [postgres]"
            )
        found.append(server)
    return found


def readable(items: Sequence[Any], seconds: float) -> list[Any]:
    """Return those items whose real descriptor can be read within some real time."""
    try:
        return polling._real_select(items, (), (), seconds)[0]
    except ValueError:
        # A descriptor beyond what select can tell apart.
        poll = polling._real_poll()
        by_descriptor = {item.fileno(): item for item in items}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        return [by_descriptor[fd] for fd, _ in poll.poll(-(-seconds * 1000 // 1))]


def _names_of(host: str) -> tuple[str, ...]:
    """Return the names under which a simulated network knows a host."""
    loopback = host in {"127.0.0.1", "::1", "localhost"}
    return ("localhost", "127.0.0.1", "::1") if loopback else (host.lower(),)
