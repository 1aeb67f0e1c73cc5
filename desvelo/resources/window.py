"""From one moment to another: what was made in between and is still open."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from desvelo.resources import tables
from desvelo.resources.creation import Creation, next_number, real_clock
from desvelo.resources.hearing import Hearing
from desvelo.resources.leak import LeakedResource
from desvelo.resources.reach import holder, reachable
from desvelo.resources.recorder import Recorder
from desvelo.resources.suspects import Suspect, without_parts
from desvelo.resources.watching.processes import describe_child
from desvelo.resources.watching.sockets import listens
from desvelo.resources.watching.threads import THREAD

_END_BY_THEMSELVES = {"thread", "process", "executor", "socket", "port", "transport", "file"}
"""Another thread, or the kernel, may be about to end one of these."""


class Window:
    """What is judged together: a test, or a block.

    `begin` and `end` are called in the same thread, once each.
    """

    def __init__(
        self,
        recorder: Recorder,
        longer: Callable[[], Iterable[Any]] = tuple,
        cleaned_up: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._recorder = recorder
        self._longer = longer
        """Returns the objects that live longer than this window by design."""
        self._cleaned_up = cleaned_up
        """Returns the folders that somebody else empties."""
        self._hearing = Hearing(recorder)
        self._first = 0
        self._descriptors: dict[int, tuple[int, int]] = {}
        self._threads: set[threading.Thread] = set()
        self._children: set[int] = set()
        self._origins = 0

    def begin(self) -> None:
        """Look at what there is."""
        self._descriptors = tables.descriptors()
        self._threads = tables.live_threads()
        self._children = tables.children()
        self._origins = sys.get_coroutine_origin_tracking_depth()
        # One line tells who called; more would cost every coroutine more.
        sys.set_coroutine_origin_tracking_depth(max(self._origins, 1))
        self._hearing.begin()
        _renew_generator_hooks()
        self._first = next_number()

    def end(self) -> None:
        """Stop listening and forget."""
        self._hearing.end()
        sys.set_coroutine_origin_tracking_depth(self._origins)
        self._threads.clear()
        self._recorder.forget(self._first)

    @contextlib.contextmanager
    def sparing(self) -> Iterator[None]:
        """While it is entered, what is made lives longer than this window by design."""
        descriptors = tables.descriptors()
        threads, children = tables.live_threads(), tables.children()
        self._recorder.sparing += 1
        try:
            yield
        finally:
            self._recorder.sparing -= 1
            for number, leads_to in tables.descriptors().items():
                if descriptors.get(number) != leads_to:
                    self._descriptors[number] = leads_to
            self._threads |= tables.live_threads() - threads
            self._children |= tables.children() - children

    # suspects

    def suspects(self) -> list[Suspect]:
        """Compare with the beginning: cheap, and empty after a test that cleaned up."""
        return [
            *self._open(),
            *self._ended(),
            *self._threads_left(),
            *self._paths_left(),
            *self._descriptors_left(),
            *self._children_left(),
        ]

    def may_end(self, suspects: list[Suspect]) -> bool:
        """Tell whether waiting a moment could clear some of them."""
        others = threading.active_count() > 1 or any(one.kind == "process" for one in suspects)
        return others and any(
            one.kind in _END_BY_THEMSELVES and one.gone_at is None for one in suspects
        )

    def is_about_to_clean(self) -> bool:
        """Tell whether a generator was dropped that the running loop has not begun to close."""
        return any(
            (generator := entry.reference()) is not None
            and generator.ag_frame is not None
            and not generator.ag_running
            for entry in self._recorder.cleaning.values()
        )

    def collect(self) -> None:
        """Let go of cycles; what is dropped now was unreachable already."""
        self._recorder.collecting = True
        try:
            gc.collect()
        finally:
            self._recorder.collecting = False

    def leaks(self) -> tuple[LeakedResource, ...]:
        """Judge: who owns the suspects, who keeps them."""
        suspects = self.suspects()
        if not suspects:
            return ()
        everything = gc.get_objects()
        self._find_objects(suspects, everything)
        older = [*self._longer(), *self._recorder.before(self._first), *self._strangers(everything)]
        del everything
        spared = reachable(older)
        # A response is lent by a session that may live longer: it is to be given back all the same.
        suspects = [
            one
            for one in suspects
            if one.resource is None or one.kind == "response" or id(one.resource) not in spared
        ]
        return tuple(_leaked(one, suspects) for one in without_parts(suspects))

    def _counts(self, creation: Creation) -> bool:
        return creation.number >= self._first and not creation.spared

    def _open(self) -> Iterator[Suspect]:
        here = threading.get_ident()
        of_loops: set[int] | None = None
        older = {thread.ident for thread in self._threads} - {here}
        for entry, resource in self._recorder.since(self._first):
            creation, kind = entry.creation, entry.kind
            if entry.closed or creation.spared or creation.thread in older:
                continue
            if kind.still_open(resource):
                name = kind.name
                if name in {"executor", "thread"}:
                    of_loops = of_loops if of_loops is not None else self._of_loops()
                    if id(resource) in of_loops:
                        continue
                if name == "socket" and listens(resource):
                    name = "port"
                yield Suspect(name, kind.text(resource), kind.omitted, creation, resource)
        for entry in self._recorder.cleaning.values():
            generator, kind = entry.reference(), entry.kind
            if not entry.closed and self._counts(entry.creation) and kind.still_open(generator):
                yield Suspect(
                    kind.name, kind.text(generator), kind.omitted, entry.creation, generator
                )

    def _of_loops(self) -> set[int]:
        """Return the default executors of loops that live longer, and their threads.

        Such a loop shuts its executor down when it is closed itself.
        """
        loops: list[Any] = [asyncio._get_running_loop()]  # noqa: SLF001 - the public one raises
        loops += [
            entry.reference()
            for entry in list(self._recorder.entries.values())
            if entry.kind.name == "loop" and not self._counts(entry.creation)
        ]
        found = set()
        for loop in loops:
            executor = getattr(loop, "_default_executor", None)
            found.add(id(executor))
            found.update(id(thread) for thread in getattr(executor, "_threads", ()))
        return found

    def _ended(self) -> Iterator[Suspect]:
        for one in self._recorder.ended:
            if self._counts(one.creation):
                yield Suspect(one.kind, one.what, one.how, one.creation, None, one.at)

    def _threads_left(self) -> Iterator[Suspect]:
        for thread in tables.live_threads() - self._threads:
            # Those that `threading` was told of are in the registry; the rest are strangers.
            if self._recorder.entry(thread) is None and thread.ident != threading.get_ident():
                yield Suspect("thread", THREAD.text(thread), THREAD.omitted, None, thread)

    def _paths_left(self) -> Iterator[Suspect]:
        if not self._recorder.paths:
            return
        left = [path.rstrip(os.sep) + os.sep for path in self._cleaned_up()]
        for path, creation in self._recorder.paths:
            if not self._counts(creation) or path.startswith(tuple(left)):
                continue
            if os.path.lexists(path):
                what = "folder" if Path(path).is_dir() else "file"
                left.append(path.rstrip(os.sep) + os.sep)
                yield Suspect("tempfile", f"the temporary {what} {path}", "not removed", creation)

    def _descriptors_left(self) -> Iterator[Suspect]:
        recorder = self._recorder
        now = tables.descriptors()
        new = [number for number, to in now.items() if self._descriptors.get(number) != to]
        if not new:
            return
        explained, databases = self._explained()
        for number in new:
            creation = recorder.descriptors.get(number)
            if number in explained or tables.is_harmless(number):
                continue
            if creation is not None and not self._counts(creation):
                if creation.spared:
                    continue
                creation = None  # of an earlier file that had the same number
            if tables.path_of(number).startswith(databases or ("\0",)):
                continue
            kind, what = tables.describe_descriptor(number)
            yield Suspect(kind, what, "never closed", creation, number=number)

    def _explained(self) -> tuple[set[int], tuple[str, ...]]:
        """Return the descriptors and the database files that known objects answer for."""
        numbers: set[int] = set()
        databases: list[str] = []
        for entry in list(self._recorder.entries.values()):
            resource: Any = entry.reference()
            with contextlib.suppress(Exception):
                if entry.kind.name in {"socket", "connection"}:
                    place = getattr(resource, "desvelo_place", "")
                    if place:
                        databases.append(place)
                    else:
                        numbers.add(resource.fileno())
                elif entry.kind.name == "process":
                    # A worker's pipes are closed with the object that stands for it.
                    numbers.update(resource._popen.finalizer._args)  # noqa: SLF001 - not public
                elif entry.kind.name == "loop":
                    numbers.add(resource._selector.fileno())  # noqa: SLF001 - not public
        return numbers, tuple(databases)

    def _children_left(self) -> Iterator[Suspect]:
        left = tables.children() - self._children
        if not left:
            return
        known = set()
        for entry in list(self._recorder.entries.values()):
            if entry.kind.name == "process":
                process = entry.reference()
                get_pid = getattr(process, "get_pid", None)
                known.add(get_pid() if get_pid else getattr(process, "pid", None))
            elif entry.kind.name == "executor":
                known.update(getattr(entry.reference(), "_processes", None) or ())
        for pid in left - known:
            yield Suspect("process", describe_child(pid, "made by a fork"), "left behind", None)

    def _strangers(self, everything: list[Any]) -> Iterator[Any]:
        """Find those that open things by themselves, and were there before we watched."""
        owners = tuple(self._recorder.owners)
        for one in everything:
            if issubclass(type(one), owners) and self._recorder.entry(one) is None:
                yield one

    def _find_objects(self, suspects: list[Suspect], everything: list[Any]) -> None:
        """Find the objects behind mere descriptors, so that their owners can be asked for."""
        bare = {one.number: one for one in suspects if one.number >= 0}
        if bare:
            for number, found in tables.objects_of(bare, everything).items():
                bare[number].resource = found


def _renew_generator_hooks() -> None:
    """Let a loop that already runs, and so has handed in its own hooks, hand in ours."""
    hooks = sys.get_asyncgen_hooks()
    loop = getattr(hooks.firstiter, "__self__", None)
    if isinstance(loop, asyncio.AbstractEventLoop):
        names = ("_asyncgen_firstiter_hook", "_asyncgen_finalizer_hook")
        sys.set_asyncgen_hooks(*(getattr(loop, name) for name in names))


def _leaked(one: Suspect, suspects: list[Suspect]) -> LeakedResource:
    creation = one.creation
    kept = ""
    if one.resource is not None and one.kind != "thread":  # which keeps itself, as long as it runs
        kept = holder(one.resource, [suspects, *suspects])
    return LeakedResource(
        kind=one.kind,
        what=one.what,
        how=one.how,
        made_at=creation.lines if creation is not None else (),
        made=creation.text() if creation is not None else "an unknown line",
        age=real_clock() - creation.at if creation is not None else 0.0,
        kept_by=kept,
    )
