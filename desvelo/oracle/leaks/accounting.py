"""One execution's account: what was made in it, and what of that is still open at its end."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from desvelo.failure import Failure, Leak
from desvelo.oracle.leaks.keeping import Root, keepers, locals_of, modules_of_target
from desvelo.oracle.leaks.watching import HEARING, RECORDER, SOCKET, TASK, describe_socket
from desvelo.resources import tables
from desvelo.resources.creation import describe_line, is_own
from desvelo.resources.leak import LeakedResource
from desvelo.resources.suspects import Suspect, without_parts
from desvelo.world.held.end import HeldEnd
from desvelo.world.held.relay import RelayedSocket

if TYPE_CHECKING:
    from desvelo.world import World
    from desvelo.world.sockets import SimSocket

_UNKNOWN = "an unknown line"
_NO_LEAKS: Mapping[str, str] = {}


class Account:
    """The window from the beginning of ``setup()`` to the end of ``teardown()``.

    ``allowed`` are the kinds that may be left open, each with its reason.
    """

    def __init__(
        self, world: World, allowed: Mapping[str, str] = _NO_LEAKS, *, judging: bool = True
    ) -> None:
        self._world = world
        self._allowed = allowed
        self._judging = judging
        self.judged = False
        """Whether the account was closed at the end, with the garbage gone."""
        self._left_on_disk: list[str] = []
        if judging:
            RECORDER.begin(world)
            HEARING.renew()

    def close(self) -> None:
        """Record nothing more, and take away the temporary files that leaked.

        The next execution draws the same names for its own.
        """
        if RECORDER.world is self._world:
            RECORDER.end()
        for path in self._left_on_disk:
            if Path(path).is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                Path(path).unlink(missing_ok=True)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """While it is entered, what no operation makes is made by a phase of the execution."""
        RECORDER.phase = name
        try:
            yield
        finally:
            RECORDER.phase = ""

    def judge(self, roots: Iterable[Root] = (), *, survivors: bool = True) -> Failure | None:
        """Return what was left open as a failure, or nothing.

        Without ``survivors`` only what was dropped unclosed is judged: nobody has said how the
        rest is to be closed. ``roots`` are the target's own objects, by what they are called.
        """
        if not self._judging:
            return None
        self.judged = True
        world = self._world
        world.let_go()
        world.within(lambda: gc.collect(0))
        suspects = [*self._ended(), *(self._open() if survivors else ())]
        if not suspects:
            return None
        left = [one for one in without_parts(suspects) if one.kind not in self._allowed]
        if not left:
            return None
        kept = keepers([one.resource for one in left if one.resource is not None], self._all(roots))
        return _failure([self._leaked(one, kept) for one in left])

    # what there is

    def _ended(self) -> Iterator[Suspect]:
        for one in RECORDER.ended:
            if not one.creation.spared:
                yield Suspect(one.kind, one.what, one.how, one.creation, None, one.at)

    def _open(self) -> Iterator[Suspect]:
        world = self._world
        left = {id(thread) for thread in world.threads.left_running()}
        for entry, resource in RECORDER.since(0):
            kind, name = entry.kind, entry.kind.name
            if entry.closed or entry.creation.spared:
                continue
            if name == "thread":
                thread = getattr(resource, "_desvelo_thread", None)
                if thread is not None and id(thread) in left:
                    left.discard(id(thread))
                    what = f"the thread {thread.name!r}"
                    yield Suspect(name, what, kind.omitted, entry.creation, resource)
            elif kind.still_open(resource):
                yield Suspect(name, kind.text(resource), kind.omitted, entry.creation, resource)
        for entry in RECORDER.cleaning.values():
            generator, kind = entry.reference(), entry.kind
            if not entry.creation.spared and kind.still_open(generator):
                yield Suspect(
                    kind.name, kind.text(generator), kind.omitted, entry.creation, generator
                )
        for thread in world.threads.left_running():
            if id(thread) in left:
                what = f"the thread {thread.name!r}, started at {thread.started_at}"
                yield Suspect("thread", what, "still running", None, thread)
        for sock in world.network.sockets.values():
            if isinstance(sock, (HeldEnd, RelayedSocket)) or self._is_closing(sock):
                continue  # a driver's connection answers for it, or the loop is about to close it
            name = "port" if sock.listening else "socket"
            creation = RECORDER.creation_of(sock)
            yield Suspect(name, describe_socket(sock), SOCKET.omitted, creation, sock)
        for task in world.loop.made_tasks():
            creation = RECORDER.creation_of(task)
            if creation is not None and not creation.spared and TASK.still_open(task):
                yield Suspect("task", TASK.text(task), TASK.omitted, creation, task)
        yield from self._paths()
        yield from self._files()

    def _is_closing(self, sock: SimSocket) -> bool:
        transport = self._world.loop.transport_of(sock.fileno())
        return transport is not None and transport.is_closing()

    def _paths(self) -> Iterator[Suspect]:
        seen: list[str] = []
        self._left_on_disk.clear()
        for path, creation in RECORDER.paths:
            if creation.spared or path.startswith(tuple(seen)) or not os.path.lexists(path):
                continue
            seen.append(path + os.sep)
            if "tempfile" not in self._allowed:
                self._left_on_disk.append(path)
            what = "folder" if Path(path).is_dir() else "file"
            yield Suspect("tempfile", f"a temporary {what}", "not removed", creation)

    def _files(self) -> Iterator[Suspect]:
        bare: dict[int, Suspect] = {}
        for number, creation in RECORDER.descriptors.items():
            with contextlib.suppress(OSError):
                if creation.spared or not RECORDER.still_leads_there(number):
                    continue
                path = tables.path_of(number)
                what = f"a file, {Path(path).name}" if path else "a file descriptor"
                bare[number] = Suspect("file", what, "never closed", creation)
        if bare:
            for number, resource in tables.objects_of(bare, gc.get_objects()).items():
                bare[number].resource = resource
        return iter(bare.values())

    # what is said of it

    def _all(self, roots: Iterable[Root]) -> Iterator[Root]:
        yield from modules_of_target()
        yield from roots
        for task in self._world.unfinished_tasks():
            yield from locals_of(task.get_coro())

    def _leaked(self, one: Suspect, kept: Mapping[int, str]) -> LeakedResource:
        creation = one.creation
        lines = creation.lines if creation is not None else ()
        return LeakedResource(
            kind=one.kind,
            what=one.what,
            how=one.how,
            made_at=lines,
            made=creation.text() if creation is not None else _UNKNOWN,
            age=RECORDER.now() - creation.at if creation is not None else 0.0,
            kept_by=kept.get(id(one.resource), "") if one.resource is not None else "",
            by=creation.by if creation is not None else "",
        )


def _failure(leaks: list[LeakedResource]) -> Failure:
    first = min(leaks, key=lambda leak: not (leak.made_at and is_own(leak.made_at[0])))
    more = f" (and {len(leaks) - 1} more)" if len(leaks) > 1 else ""
    place = describe_line(first.made_at[0]) if first.made_at else _UNKNOWN
    by = f" by {first.by}" if first.by else ""
    how = f" {first.how.replace('without being closed', 'unclosed')}" if first.how else ""
    headline = f"{first.what}{how}, made{by} at {place}{more}"
    details = tuple(line for leak in leaks for line in leak.lines())
    return Failure(
        "leak",
        Leak("\n".join([headline, *details])),
        f"{first.kind} made at {place}",
        "teardown",
        details,
    )
