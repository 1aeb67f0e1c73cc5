"""One execution on kernel sockets: how long it may wait for real, and why it was given up.

The sockets of the program are real ones on loopback, and everything that it sees of them is
the kernel's own word: bytes, ends, errors, addresses in use. What stays ours is *when* it sees
it. Between the two ends of a connection lies a wire of ours (`desvelo.world.kernel.wire`), as a
proxy would lie there, and it hands on what it was given when the schedule says so. A failure that
shows under these rules is one that real sockets can produce.
"""

from __future__ import annotations

import _socket
import select
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from desvelo.world.network import Network
    from desvelo.world.selector import WorldSelector
    from desvelo.world.world import World

SECONDS = 5.0
"""What one execution on kernel sockets may take: of processor time, and of waiting for the kernel.

Not of real time as such, of which a busy machine gives an execution but a part.
"""

_real_clock = time.perf_counter
_processor_time = time.process_time
_real_sleep = time.sleep
_real_poll = select.poll
_LONGEST_NAP = 0.002
_AT_ONCE = 0.25
"""Real seconds after which what loopback has not shown will not come."""


class KernelGaveUp(BaseException):
    """Ends an execution on kernel sockets that cannot be brought to its end; says why.

    Not an `Exception`, so that no program under test takes it for an error of its own.
    """


class Kernel:
    """What a `desvelo.world.World` on kernel sockets is given.

    It gives up after ``seconds`` of processor time or as many of waiting for the kernel.
    ``trouble`` is empty as long as the kernel does what the schedule needs, else one line that
    says what it did not do.

    >>> import asyncio
    >>> from desvelo.world import World
    >>> async def echo(reader, writer):
    ...     writer.write(await reader.read(100))
    ...     await writer.drain()
    ...     writer.close()
    >>> async def ask():
    ...     server = await asyncio.start_server(echo, "127.0.0.1", 80)
    ...     reader, writer = await asyncio.open_connection("127.0.0.1", 80)
    ...     writer.write(b"hello")
    ...     said = await reader.read(100)
    ...     writer.close()
    ...     server.close()
    ...     return said
    >>> kernel = Kernel()
    >>> with World(kernel=kernel) as world:
    ...     world.run(ask())
    b'hello'
    >>> kernel.connections, kernel.trouble
    (1, '')
    """

    def __init__(self, seconds: float = SECONDS, *, max_polls: int | None = None) -> None:
        self.seconds = seconds
        self.max_polls = max_polls
        """A bound on loop iterations, where it is to be lower than the world's."""
        self.trouble = ""
        self.connections = 0
        """Connections that the program had, each of them two in the kernel."""
        self.judging = True
        """Whether trouble ends the execution; not any more when it is being cleared away."""
        self._waited = 0.0
        self._started = _processor_time()

    def network(self, world: World, **options: Any) -> Network:
        """Return the network of a world that stands on this."""
        from desvelo.world.kernel.network import KernelNetwork

        self.judging = True
        return KernelNetwork(world, self, **options)

    def selector(self, world: World) -> WorldSelector:
        """Return the selector of a world that stands on this."""
        from desvelo.world.kernel.selector import KernelSelector

        return KernelSelector(world, self)

    def give_up(self, why: str) -> None:
        """Remember why this execution proves nothing; the first reason counts.

        The selector raises it at the next poll: inside of a call of the program it would be
        taken for an error of the socket.
        """
        if not self.trouble and self.judging:
            self.trouble = why

    def check(self) -> None:
        """Raise `KernelGaveUp`, once, when there was trouble or the time is over."""
        if not self.judging:
            return
        if not self.trouble and _processor_time() - self._started > self.seconds:
            self.trouble = f"it took more than {self.seconds:g} s of processor time"
        if self.trouble:
            self.judging = False
            raise KernelGaveUp(self.trouble)

    def shows(self, ready: Callable[[], bool]) -> bool:
        """Wait for real for what may also not come; on loopback it comes at once or never."""
        until = _real_clock() + _AT_ONCE
        while not ready():
            if not self.judging or _real_clock() > until:
                return False
            _real_sleep(_LONGEST_NAP)
        return True

    def wait(self, what: str, ready: Callable[[], bool]) -> bool:
        """Wait for real until something is so; in vain, that is the trouble."""
        nap = 0.0
        while not ready():
            if self.trouble or not self.judging:
                return False
            if self._waited > self.seconds:
                self.give_up(f"after {self.seconds:g} s the kernel had not yet {what}")
                return False
            before = _real_clock()
            _real_sleep(nap)
            self._waited += _real_clock() - before
            nap = min(nap + 0.0001, _LONGEST_NAP)
        return True

    def wait_for(self, real: _socket.socket, mask: int, what: str) -> bool:
        """Wait for real until one of these is true of a socket; in vain, that is the trouble."""
        return self.wait(what, lambda: bool(state_of(real) & mask))


BROKEN = select.POLLERR | select.POLLHUP
READABLE = select.POLLIN | select.POLLRDHUP | BROKEN
WRITABLE = select.POLLOUT | BROKEN


def state_of(real: _socket.socket) -> int:
    """Ask the kernel what is true of a socket now, as the mask of ``poll``."""
    poller = _real_poll()
    poller.register(real.fileno(), select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    found = poller.poll(0)
    return int(found[0][1]) if found else 0
