"""Everything that was made while the hooks were in place, as long as it lives.

Only weak references are held: a resource that its owner drops is collected at the very moment at
which it would have been without us.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from desvelo.resources.creation import (
    Creation,
    Line,
    capture,
    current_task,
    is_own,
    real_clock,
)
from desvelo.resources.kinds import Kind
from desvelo.world import inside

_MOST_GOING = 256


@dataclass(slots=True, eq=False)
class Entry:
    """One resource that lives, or did a moment ago."""

    reference: Callable[[], Any]
    """Returns the resource, or nothing once it is gone."""
    kind: Kind
    creation: Creation
    closed: bool = False
    """Its owner closed it, or it was judged when it was dropped."""
    tells: bool = False
    """Its closing is noted, so that one which goes without it was dropped."""
    finalized: bool = False
    """Its finalizer asks us."""
    initial: int = 0
    """A number that it began with, such as the value of a semaphore."""
    taken: str = ""
    """Who took a lock last, and where."""
    takers: weakref.WeakSet[Any] | None = None
    """The tasks that took it."""


@dataclass(slots=True, eq=False)
class Ended:
    """A resource that was dropped although it was open, or an event that says as much."""

    kind: str
    what: str
    creation: Creation
    """When it was made, or when we heard of it."""
    how: str
    at: float


class Recorder:
    """The weak registry behind the hooks."""

    def __init__(self) -> None:
        self.active = False
        self.entries: dict[int, Entry] = {}
        self.ended: list[Ended] = []
        self.descriptors: dict[int, Creation] = {}
        """Who opened a descriptor that no object of ours stands for, by its number."""
        self.paths: list[tuple[str, Creation]] = []
        """Temporary files and folders."""
        self.sparing = 0
        """Not 0 while something is set up that outlives the test on purpose."""
        self.collecting = False
        """Our own collection is under way: what is dropped now was in a reference cycle."""
        self.cleaning: dict[int, Entry] = {}
        """Async generators that were dropped before their end and that a loop closes now, by id."""
        self.owners: list[type] = []
        """Classes of resources that open further ones by themselves."""
        self._going: dict[int, Entry] = {}
        """Those whose weak reference is gone and whose finalizer is yet to come: in a cycle the
        collector does it in this order."""

    def listening(self) -> bool:
        """Tell whether what happens now, in this thread, is to be recorded."""
        return self.active and inside.current() is None

    def made(
        self,
        resource: Any,
        kind: Kind,
        depth: int,
        *,
        finalized: bool = False,
        creation: Creation | None = None,
    ) -> Entry:
        """Remember a resource that was just made, ``depth`` frames up from the caller.

        It may share the ``creation`` of something else that was made for it.
        """
        key = id(resource)
        known = self.entries.get(key)
        if known is not None and known.reference() is resource:
            return known
        reference: Callable[[], Any]
        try:
            reference = weakref.ref(resource, partial(self._gone, key))
        except TypeError:
            reference = partial(_found, type(resource), key)
            if not finalized:
                # Nobody would tell us when it goes, and its id is given to another.
                return Entry(reference, kind, self.capture(depth + 1))
        self._going.pop(key, None)
        creation = creation or self.capture(depth + 1)
        entry = Entry(reference, kind, creation, finalized=finalized)
        if kind.led_by is not None and not entry.creation.is_known():
            self._take_over(entry.creation, *kind.led_by(resource))
        # An entry that takes the place of a dead one must not take its place in the order too.
        self.entries.pop(key, None)
        self.entries[key] = entry
        return entry

    def capture(self, depth: int) -> Creation:
        """Take note of this moment; where no line of the user's led here, of how it came."""
        creation = capture(depth + 1)
        if self.sparing:
            creation.spared = True
        if not creation.lines or not is_own(creation.lines[0]):
            self._trace_back(creation)
        return creation

    def entry(self, resource: Any) -> Entry | None:
        """Return what is known of a resource."""
        known = self.entries.get(id(resource))
        return known if known is not None and known.reference() is resource else None

    def closed(self, resource: Any) -> None:
        """Note that its owner closed it."""
        known = self.entries.get(id(resource))
        if known is not None:
            known.closed = True

    def dropped(self, resource: Any) -> None:
        """Judge a resource that is about to go: it should have been closed before."""
        known = self.entries.get(id(resource)) or self._going.pop(id(resource), None)
        if known is not None and not isinstance(known.reference, weakref.ref):
            del self.entries[id(resource)]
        if known is not None and not known.closed:
            known.closed = True
            if known.kind.still_open(resource):
                self._note(known, known.kind.text(resource))

    def creation_of(self, resource: Any) -> Creation | None:
        """Return when something was made that lives, or is about to go."""
        known = self.entry(resource) or self._going.get(id(resource))
        return known.creation if known is not None else None

    def opened(self, number: int, creation: Creation, _opened: Any = None) -> None:
        """Remember who opened a descriptor, and the file that it is, if it is one."""
        self.descriptors[number] = creation

    def unknown(self, depth: int) -> Creation | None:
        """Return what is told of something that was dropped and whose making nobody saw."""
        return self.capture(depth + 1)

    def heard(self, kind: str, what: str, how: str, creation: Creation) -> None:
        """Remember what a library or the interpreter itself complained about."""
        self.ended.append(Ended(kind, what, creation, how, self.now()))

    def now(self) -> float:
        """Return the seconds that ages are told in."""
        return real_clock()

    def since(self, number: int) -> Iterator[tuple[Entry, Any]]:
        """Walk through what was made since a number was given, and lives."""
        for entry in reversed(list(self.entries.values())):
            if entry.creation.number < number:
                break
            resource = entry.reference()
            if resource is not None:
                yield entry, resource

    def before(self, number: int) -> Iterator[Any]:
        """Walk through what lives and was made earlier, or for longer than one test."""
        for entry in list(self.entries.values()):
            if entry.creation.number < number or entry.creation.spared:
                resource = entry.reference()
                if resource is not None:
                    yield resource

    def forget(self, number: int) -> None:
        """Drop what was noted about creations up to now: they have been judged."""
        self.ended = [one for one in self.ended if one.creation.number < number]
        self.paths = [one for one in self.paths if one[1].number < number]
        older = self.cleaning.items()
        self.cleaning = {key: one for key, one in older if one.creation.number < number}

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()
        self._going.clear()
        self.ended.clear()
        self.paths.clear()
        self.cleaning.clear()
        self.descriptors.clear()

    def _gone(self, key: int, reference: weakref.ref[Any]) -> None:
        known = self.entries.get(key)
        if known is None or known.reference is not reference:
            return
        del self.entries[key]
        if known.finalized and not known.closed:
            if len(self._going) >= _MOST_GOING:
                del self._going[next(iter(self._going))]
            self._going[key] = known
        if known.tells and not known.closed and self.active:
            self._note(known, known.kind.name)

    def _note(self, known: Entry, what: str) -> None:
        how = "dropped without being closed"
        if self.collecting:
            how += ", in a reference cycle"
        self.ended.append(Ended(known.kind.name, what, known.creation, how, self.now()))

    def _trace_back(self, creation: Creation) -> None:
        """Take over the lines of the task or the thread in which a package works."""
        task = current_task()
        if task is not None and self.creation_of(task) is not None:
            self._take_over(creation, task, "by the task that was made there")
            return
        # Not `current_thread`, which makes an object for a thread that is not of `threading`.
        thread = threading._active.get(creation.thread)  # type: ignore[attr-defined] # noqa: SLF001
        self._take_over(creation, thread, "by the thread that was started there")

    def _take_over(self, creation: Creation, maker: Any, through: str) -> None:
        known = self.creation_of(maker)
        found: tuple[Line, ...] = known.lines if known is not None else ()
        if known is not None and found and is_own(found[0]):
            creation.lines, creation.through = found, through
            creation.spared = creation.spared or known.spared


def _found(cls: type, key: int) -> Any:
    """Find an object that cannot be referenced weakly, and whose finalizer has not told us yet."""
    for candidate in gc.get_objects():
        if id(candidate) == key and type(candidate) is cls:
            return candidate
    return None
