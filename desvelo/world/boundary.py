"""The boundary of the world: what code inside it sees of the process it runs in.

Time, randomness, sockets, names, signals, threads and processes are replaced while an
execution runs, in the thread that runs it, and nowhere else; `Boundary` puts everything back
whatever happens. What stands in for them is in `timekeeping`, `chance`, `names`, `signals`,
`order` and `fences`.
"""

from __future__ import annotations

import gc
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Protocol, Self

from desvelo.world import (
    anyio_workers,
    chance,
    fences,
    inside,
    names,
    order,
    polling,
    signals,
    sockets,
    sqlite,
    timekeeping,
)
from desvelo.world.held import libpq
from desvelo.world.imports import ImportWatch
from desvelo.world.inside import current
from desvelo.world.references import generators, references
from desvelo.world.threads import adopting, stand_ins, starting
from desvelo.world.threads.carriers import CARRIERS
from desvelo.world.threads.lines import stop_watching
from desvelo.world.threads.processor import PROCESSOR

if TYPE_CHECKING:
    from desvelo.world.world import World

__all__ = ["Boundary", "current", "enter", "leave"]

_MISSING = object()


class Companion(Protocol):
    """Something else that is put in place for as long as the boundary is."""

    def attach(self) -> None:
        """Put it in place."""

    def detach(self) -> None:
        """Take it out."""

    def notice_imports(self) -> object:
        """Look at modules that have come since."""


COMPANIONS: list[Companion] = []
"""Of layers above, which the world does not know."""


def enter(world: World) -> None:
    """Begin to answer for a world, in this thread."""
    inside.enter(world)
    sockets.SimSocket.network = world.network
    sockets.SimSocket.selector = world.selector


def leave() -> None:
    """Answer for the real process again."""
    inside.leave()
    sockets.SimSocket.network = None
    sockets.SimSocket.selector = None


class Boundary:
    """Everything that is replaced, put in place once for many executions and taken out again.

    It may be entered more than once; the outermost exit restores.

    >>> import time
    >>> real = time.monotonic
    >>> with Boundary():
    ...     time.monotonic is real
    False
    >>> time.monotonic is real
    True
    """

    _depth = 0
    _undo: list[tuple[Any, str, Any]] = []  # noqa: RUF012 - one process, one boundary
    _travel: Any = None
    _modules = 0
    """How many modules there were when they were last looked at."""
    _known: dict[str, ModuleType] = {}  # noqa: RUF012 - one process, one boundary
    _numbered: set[str] = set()  # noqa: RUF012 - one process, one boundary
    _replaced: list[tuple[Any, Any]] = []  # noqa: RUF012 - one process, one boundary
    _companions: list[Companion] = []  # noqa: RUF012 - one process, one boundary
    _collects = False
    """Whether garbage is collected at moments of Python's own choice outside."""

    def __enter__(self) -> Self:
        cls = Boundary
        cls._depth += 1
        try:
            if cls._depth == 1:
                self._install()
            notice_imports()
            if cls._depth == 1:
                # What they wrap may be one of ours; they are taken out first.
                for companion in COMPANIONS:
                    cls._companions.append(companion)
                    companion.attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *details: object) -> None:
        cls = Boundary
        cls._depth -= 1
        if cls._depth:
            return
        _imports.stop()
        while cls._companions:
            cls._companions.pop().detach()
        PROCESSOR.leave()
        CARRIERS.dismiss()
        stop_watching()
        interrupted: BaseException | None = None
        while cls._undo or cls._replaced or cls._travel is not None:
            # Ctrl-C may come at any line: go on until all is back, then let it out.
            try:
                self._restore()
            except KeyboardInterrupt as error:
                interrupted = error
        if cls._collects:
            cls._collects = False
            gc.enable()
        if interrupted is not None:
            raise interrupted

    def _install(self) -> None:
        cls = Boundary
        # A finalizer that runs whenever the collector likes is at no moment that a replay repeats.
        cls._collects = gc.isenabled()
        gc.disable()
        cls._known = dict(sys.modules)
        cls._numbered.clear()
        cls._modules = 0
        _imports.start()
        cls._travel = timekeeping.travel()
        sqlite.install()
        replaced: dict[str, Any] = {}
        for source in (timekeeping, chance, names, polling, signals, order, sqlite):
            replaced |= source.replacements()
        followed: dict[int, Any] = {}
        for dotted, new in replaced.items():
            module, name = dotted.split(".")
            owner = sys.modules[module]
            real = getattr(owner, name)
            followed[id(real)] = new
            cls._replaced.append((real, new))
            self._set(owner, name, new)
        cls._replaced.append((sockets.real_socket, sockets.SimSocket))
        for owner, name, new in (
            *chance.ATTRIBUTES,
            *names.ATTRIBUTES,
            *order.ATTRIBUTES,
            *starting.ATTRIBUTES,
        ):
            self._set(owner, name, new)
        for owner, name, real, new in stand_ins.attributes():
            if real is not None:
                followed[id(real)] = new
                cls._replaced.append((real, new))
            self._set(owner, name, new)
        for owner, name, new in fences.attributes():
            self._set(owner, name, new)
        for reference in references(sys.modules, followed):
            self._set(*reference)

    @staticmethod
    def _set(owner: Any, name: str, value: Any) -> None:
        if isinstance(owner, FunctionType):
            before = getattr(owner, name)
        else:
            before = vars(owner).get(name, _MISSING)
        Boundary._undo.append((owner, name, before))
        setattr(owner, name, value)

    @staticmethod
    def _restore() -> None:
        cls = Boundary
        while cls._undo:
            owner, name, value = cls._undo[-1]
            if value is not _MISSING:
                setattr(owner, name, value)
            elif name in vars(owner):
                delattr(owner, name)
            cls._undo.pop()
        if cls._replaced:
            new_modules = {
                name: module for name, module in sys.modules.items() if name not in cls._known
            }
            back = {id(new): real for real, new in cls._replaced}
            for owner, name, real in references(new_modules, back):
                setattr(owner, name, real)
            chance.GENERATORS.restore()
            cls._replaced.clear()
            cls._known.clear()
        sqlite.remove()
        if cls._travel is not None:
            journey, cls._travel = cls._travel, None
            journey.stop()


def notice_imports() -> None:
    """Number the objects and seed the generators of modules that have come since."""
    if len(sys.modules) == Boundary._modules:
        return
    Boundary._modules = len(sys.modules)
    done = Boundary._numbered
    for stand_in in (
        *anyio_workers.stand_ins(done),
        *libpq.stand_ins(done),
        *order.stand_ins(done),
    ):
        Boundary._set(*stand_in)
    for generator in generators(sys.modules):
        chance.GENERATORS.keep(generator)
    adopting.adopt()
    for companion in Boundary._companions:
        companion.notice_imports()


_imports = ImportWatch(notice_imports)
