"""The baton: who runs, how a thread gives it back, and how it gets it again.

The loop's thread is the hub. It lets a controlled thread run inside `WorldSelector`'s firing of
an event, and sleeps until that thread ends, blocks or pauses; then it goes on with the next
event. A thread that pauses or is woken is an event like any other, so that first come, first
served with deviations describes the interleaving of threads as it does everything else.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from desvelo.errors import LoopBlocked, StepLimitReached, UnsupportedInWorld
from desvelo.schedule.decisions import MAX_HOLD
from desvelo.world import inside
from desvelo.world.actors import ACTOR, WORLD, Actor
from desvelo.world.threads.blocked import describe_call_from
from desvelo.world.threads.carriers import CARRIERS, Carrier, Release
from desvelo.world.threads.once import happens_once
from desvelo.world.threads.processor import PROCESSOR
from desvelo.world.threads.starting import register, unregister
from desvelo.world.threads.thread import ControlledThread, ThreadExit, Wait, stand_still
from desvelo.world.whereabouts import calling_line, display_path, user_frame

if TYPE_CHECKING:
    from desvelo.world.world import World

_allocate_lock = _thread.allocate_lock
_get_ident = _thread.get_ident

SLICE = 2_000
"""Switch points after which a thread that never waits lets the others have a turn."""

SLICE_NS = 1_000_000
"""Virtual time that a slice takes."""

PATIENT_SLICES = 100
"""Slices in a row after which a thread is taken to wait for a time that is far away."""

YIELDS = 20
"""Calls of ``time.sleep(0)`` that make a slice."""

POINTS_PER_POLL = 10
"""Of the bound on loop iterations: how many switch points make an execution endless."""

POINTS_BETWEEN_LOOKS = 1_000
"""Switch points between two looks at the real time, for an execution that has a bound on it."""

REAL_SECONDS = 5.0
"""Real time after which a thread that passes no switch point counts as blocked."""

ROUNDS = 10
"""Parts of that time; the thread is looked at after each."""

LAST_WORDS = 1.0
"""Real seconds that a thread has for its end."""

MOST_EXITS = 100
"""How often a thread may catch its own end."""

THREAD_KINDS = frozenset({"pause", "wake", "spawn", "job", "call"})
"""Events that let a controlled thread run."""


HANDED_OVER = frozenset({"pause", "wake", "spawn", "arrive"})
"""Those that one thread may let happen for another, in a world of nothing but threads."""


class Threads:
    """All controlled threads of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.running: ControlledThread | None = None
        """Who holds the baton; nothing while the loop's own thread does."""
        self.main = ControlledThread("main", WORLD, _nothing)
        """Stands for the loop's own thread where somebody is to be named."""
        self.alive: list[ControlledThread] = []
        self.started = 0
        self.waiting: list[Wait] = []
        self.points = 0
        """Switch points at which a decision was asked."""
        self.max_points = world.max_polls * POINTS_PER_POLL
        self._next_look = min(POINTS_BETWEEN_LOOKS, self.max_points)
        """Switch points at which the bounds are looked at again."""
        self.real_seconds = REAL_SECONDS
        self.install: Callable[[ControlledThread | None], Any] | None = None
        """Puts the tracer of lines in place, in the thread that is to be traced; nothing stands
        for the loop's own."""
        self.errors: list[tuple[str, BaseException]] = []
        """What ended a thread that nobody waits for, with its name."""
        self._names: set[str] = set()
        self._numbers: dict[tuple[str, int], dict[str, int]] = {}
        """By template and place in it: which digits in names of threads are which number."""
        self._pools: list[Any] = []
        self._hub: Any = _allocate_lock()
        self._hub.acquire()
        self.switches = 0
        self._choosing = False
        """Whether an event is let happen only to see which thread goes on by it."""
        self._chosen: ControlledThread | None = None
        self._control: BaseException | None = None
        self._ending = False

    # who there is

    def is_controlled(self) -> bool:
        """Tell whether what runs now may be blocked as a thread is."""
        return self.running is not None or self._world.runtime == "threads"

    def current(self) -> ControlledThread:
        """Return who runs; the loop's own thread is ``main``."""
        return self.running or self.main

    def name_for(self, wanted: str) -> str:
        """Return a name that no other thread of this world has."""
        name, number = wanted, 1
        while name in self._names:
            number += 1
            name = f"{wanted}-{number}"
        self._names.add(name)
        return name

    def number_for(self, template: str, place: int, digits: str) -> int:
        """Return what stands for some digits of a name: which of their place came first, from 1."""
        known = self._numbers.setdefault((template, place), {})
        return known.setdefault(digits, len(known) + 1)

    def spawn(
        self,
        name: str,
        run: Callable[[], Any],
        *,
        actor: Actor | None = None,
        daemon: bool = True,
        on_end: Callable[[ControlledThread], None] | None = None,
        started_at: str = "",
        title: str = "",
    ) -> ControlledThread:
        """Make a thread; it runs as soon as somebody resumes it.

        With a ``title`` it is made known to `threading` by that name.
        """
        thread = ControlledThread(
            name, actor or Actor(name), run, daemon=daemon, on_end=on_end, started_at=started_at
        )
        if not self.started and PROCESSOR.stay():
            CARRIERS.dismiss()
        thread.title = title
        self.alive.append(thread)
        self.started += 1
        return thread

    def left_running(self) -> list[ControlledThread]:
        """Return the threads that would keep a real process alive.

        The workers of a pool that is older than this world are none of its doing.
        """
        return [
            thread
            for thread in self.alive
            if not thread.daemon and not thread.ended and thread.started_at
        ]

    def workers_of(self, pool: Any) -> None:
        """Remember a pool, by weak reference, one of whose workers is a thread of this world."""
        if pool not in self._pools:
            self._pools.append(pool)

    # the hub's side

    def resume(self, thread: ControlledThread) -> None:
        """Give the baton to a thread and come back when it has given it back."""
        if thread.ended:
            return
        if self._choosing:
            self._chosen = thread
            return
        home = _get_ident()
        go_on = self._set_going(thread)
        seen = self.progress
        go_on()
        try:
            if not self._hub.acquire(True, self.real_seconds / ROUNDS):
                self._await_baton(seen)
        finally:
            self.running = None
            inside.pass_to(home)
        if self._control is not None:
            control, self._control = self._control, None
            raise control
        if self.waiting:
            self.look()

    def _set_going(self, thread: ControlledThread) -> Release:
        """Make everything ready for a thread to go on; it does when the lock is released."""
        thread.wait = None
        thread.streak = 0
        self.switches += 1
        thread.turn.append(None)
        self.running = thread
        if thread.begun:
            inside.pass_to(thread.ident)
            thread.parked = False
            release: Release = thread.gate.release
            return release
        thread.begun = True
        return CARRIERS.load(functools.partial(self._body, thread))

    def _next(self) -> ControlledThread | None:
        """Return the thread that goes on, if threads are all that there is to go on."""
        world = self._world
        if world.runtime != "threads" or self._control is not None or self._ending:
            return None
        if self.waiting:
            self.look()
        self._choosing, self._chosen = True, None
        try:
            while self._chosen is None:
                event = world.selector.take_for_thread()
                if event is None:
                    break
                event.fire()
        finally:
            self._choosing = False
        return self._chosen

    def _passing_on(self) -> Release:
        """Return what lets the next thread go on in place of the one that runs, or the hub."""
        following = self._next()
        return self._hub.release if following is None else self._set_going(following)

    def _ended(self, thread: ControlledThread) -> None:
        self.alive.remove(thread)
        if thread.on_end is not None:
            thread.on_end(thread)

    def _await_baton(self, seen: int) -> None:
        """Go on waiting, after the first round, as long as the threads pass switch points."""
        idle = 0
        while True:
            now = self.progress
            idle = idle + 1 if seen == now else 0
            seen = now
            if idle >= ROUNDS:
                thread = self.running
                # One that gives the baton back at this moment has taken its turn itself.
                if thread is not None and (thread.take_turn() or idle > 2 * ROUNDS):
                    self._abandon(thread)
            if self._hub.acquire(True, self.real_seconds / ROUNDS):
                return

    @property
    def progress(self) -> int:
        """What grows while threads go on: switch points, and switches."""
        return self.points + self.switches

    def _abandon(self, thread: ControlledThread) -> None:
        """Say which call holds a thread for real; there is no way to take it back from there."""
        frame = sys._current_frames().get(thread.ident)
        place = _place(frame)
        thread.stop_for_good()
        with contextlib.suppress(ValueError):
            self.alive.remove(thread)
        raise LoopBlocked(
            f"thread {thread.name!r} was held for {self.real_seconds:g} s of real time by "
            f"{place}; it waits for a lock or a call that this world cannot see, or never ends"
        )

    def look(self) -> None:
        """See whose waiting is over; when each goes on is for the schedule to decide."""
        over = [wait for wait in self.waiting if wait.timed_out or wait.ready()]
        if not over:
            return
        self.waiting = [wait for wait in self.waiting if wait not in over]
        post = self._world.selector.post
        for wait in over:
            post("wake", wait.thread.name, functools.partial(self._wake, wait))

    def _wake(self, wait: Wait) -> None:
        if wait.thread.ended:
            return
        if wait.timed_out or wait.ready():
            self.resume(wait.thread)
        else:
            # Somebody else was faster.
            self.waiting.append(wait)

    # the thread's side

    def _body(self, thread: ControlledThread, carrier: Carrier) -> Callable[[], Release]:
        thread.ident = ident = _get_ident()
        inside.pass_to(ident)
        ACTOR.set(thread.actor)
        remove = None
        if thread.title:
            register(thread.title)
        try:
            if self.install is not None and not thread.dying:
                remove = self.install(thread)
            thread.run()
        except ThreadExit:
            pass
        except BaseException as error:
            thread.error = error
        finally:
            if remove is not None:
                remove()
            if thread.title:
                unregister()
        if not thread.take_turn():
            stand_still()
        if thread.dying:
            # Nothing of what it still does is seen.
            inside.pass_to(0)
        carrier.forget()
        thread.ended = True
        if not thread.dying:
            try:
                self._ended(thread)
            except BaseException as error:
                self._control = error
        return self._passing_on

    def _park(self, thread: ControlledThread, *, before_line: bool = False) -> None:
        """Give the baton back and sleep until it comes again."""
        if thread.dying:
            self._exit(thread)
        lines = self._world.lines
        if lines is not None:
            lines.thread_stops(sys._getframe(1), before_line=before_line)
        gate = thread.gate or thread.new_gate()
        if not thread.take_turn():
            stand_still()
        thread.parked = True
        self._passing_on()()
        gate.acquire()
        if thread.dying:
            self._exit(thread)
        if lines is not None:
            lines.thread_goes_on(sys._getframe(1))

    def _exit(self, thread: ControlledThread) -> None:
        thread.exits += 1
        if thread.exits > MOST_EXITS or thread.ended:
            # It catches everything and goes on: let it sleep for ever.
            if thread.take_turn():
                thread.ended = True
                self._hub.release()
            stand_still()
        raise ThreadExit(thread.watch_again)

    def point(self, what: str = "") -> None:
        """Let the running thread pause, if the schedule says so."""
        thread = self.running
        if thread is None:
            return
        if thread.dying:
            self._exit(thread)
        world = self._world
        self.points += 1
        if self.points > self._next_look:
            self._look_at_bounds(thread)
        thread.streak += 1
        if thread.streak > SLICE:
            self._take_turns(thread)
        if not world.deciding or not world.preempting:
            return
        value = world.recorder.decide("pause", thread.name, MAX_HOLD)
        if value:
            self._pause(thread, value, what)

    def preempt(self) -> None:
        """Let a thread run before this line of the loop's own thread, if the schedule says so.

        Only while one could: it waits for its turn, or a job may be begun.
        """
        world = self._world
        if self.running is not None or not world.deciding or world.runtime == "threads":
            return
        waiting = world.selector.waiting_for_a_turn()
        if not waiting:
            return
        self.points += 1
        if self.points > self.max_points:
            raise StepLimitReached(self._too_many())
        actor = ACTOR.get()
        value = world.recorder.decide("preempt", actor.name, len(waiting) + 1)
        if not value:
            return
        if world.trace is not None:
            self._note_pause(actor, "")
        lines = world.lines
        if lines is not None:
            lines.thread_stops(sys._getframe(1), before_line=True)
        world.selector.let_happen(waiting[value - 1])
        if lines is not None:
            lines.thread_goes_on(sys._getframe(1))

    def before_lock(self, frame: FrameType) -> None:
        """Be a switch point before a lock is taken, unless the line itself has just been one."""
        thread = self.running
        if thread is None:
            return
        if thread.line_was_point is frame:
            thread.line_was_point = None
        elif not happens_once(frame.f_code):
            self.point("takes a lock")

    def _pause(self, thread: ControlledThread, value: int, what: str) -> None:
        world = self._world
        if world.trace is not None:
            self._note_pause(thread.actor, what)
        event = world.selector.hold("pause", thread.name, lambda: self.resume(thread), value)
        if world.selector.is_next(event):
            # Nobody else could run: the pause is over before it began.
            return
        self._park(thread, before_line=not what)

    def _note_pause(self, actor: Actor, what: str) -> None:
        world = self._world
        trace = world.trace
        assert trace is not None
        deviation = world.recorder.deviations[-1]
        said = deviation.describe() + (f" before it {what}" if what else "")
        world.note("deviation", actor.name, said, deviation=str(deviation.key))
        frame = user_frame(sys._getframe(1))
        if frame is not None:
            code = frame.f_code
            where = f"{display_path(code.co_filename)}:{frame.f_lineno}"
            trace.rows[-1] = replace(trace.rows[-1], where=where)

    def _take_turns(self, thread: ControlledThread) -> None:
        """A thread that never waits has had its time: all others have a turn before it.

        What it did took a while. A thread that goes on and on waits for something, which may
        be a time: then time passes faster and faster.
        """
        thread.streak = 0
        thread.slices += 1
        clock, selector = self._world.clock, self._world.selector
        clock.advance_to(clock.now_ns + (SLICE_NS << max(thread.slices - PATIENT_SLICES, 0)))
        event = selector.hold_to_the_end(thread.name, lambda: self.resume(thread))
        if selector.is_next(event):
            return
        self._park(thread)

    def before_call(self) -> None:
        """Decide when a thread calls into the event loop; the jobs of pools do so at once."""
        thread = self.running
        if thread is None or thread.works or thread.dying:
            return
        world = self._world
        value = world.decide("call", thread.name, MAX_HOLD)
        if value:
            world.selector.hold("call", thread.name, lambda: self.resume(thread), value)
            self._park(thread)

    def rest(self, thread: ControlledThread) -> None:
        """Give the baton back until somebody resumes the thread: a worker without a job."""
        self._park(thread)

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass for whoever runs."""
        if seconds > 0:
            self.wait(_never, f"{seconds:g} s to pass", seconds, None)
        else:
            self.yield_turn()

    def yield_turn(self) -> None:
        """Go to the end of the queue, as ``sched_yield`` does: no decision."""
        thread = self.running
        if thread is None:
            return
        thread.yields += 1
        if thread.yields >= YIELDS:
            thread.yields = 0
            self._take_turns(thread)
            return
        self.point()
        selector = self._world.selector
        event = selector.hold("pause", thread.name, lambda: self.resume(thread), 0)
        if not selector.is_next(event):
            self._park(thread)

    def _look_at_bounds(self, thread: ControlledThread) -> None:
        if self.points > self.max_points:
            self._endless(thread, StepLimitReached(self._too_many()))
        self._next_look = min(self.points + POINTS_BETWEEN_LOOKS, self.max_points)
        try:
            self._world.look_at_real_time()
        except StepLimitReached as limit:
            self._endless(thread, limit)

    def _endless(self, thread: ControlledThread, limit: StepLimitReached) -> None:
        self._control = limit
        # It stays where it is: the message says where.
        self._park(thread)

    def _too_many(self) -> str:
        return f"still running after {self.max_points} switch points of its threads"

    def wait(
        self,
        ready: Callable[[], bool],
        why: str,
        timeout: float | None,
        waits_for: Callable[[], str] | None,
    ) -> bool:
        """Block whoever runs until ``ready()``; False when the time is over."""
        thread = self.running
        if thread is None:
            return self._wait_at_home(ready, why, timeout, waits_for)
        if thread.dying:
            self._exit(thread)
        wait = Wait(thread, ready, why, waits_for)
        handle = self._alarm(wait, timeout)
        thread.wait = wait
        thread.slices = thread.yields = 0
        self.waiting.append(wait)
        self._park(thread)
        if handle is not None:
            handle.cancel()
        return ready() if wait.timed_out else True

    def _alarm(self, wait: Wait, timeout: float | None) -> Any:
        if timeout is None:
            return None
        loop = self._world.loop
        when = self._world.clock.monotonic() + max(timeout, 0.0)
        return loop.call_at(when, self._time_is_over, wait)

    def decide_on_alarms(self) -> None:
        """Take the decisions on times that were set before decisions were taken."""
        world = self._world
        for handle in sorted(world.loop._scheduled):
            if handle._callback == self._time_is_over and not handle.cancelled():  # type: ignore[attr-defined] # asyncio's own
                world.loop.decide_on_timer(handle, handle._args[0].thread.name)

    def _time_is_over(self, wait: Wait) -> None:
        wait.timed_out = True
        self.look()

    def _wait_at_home(
        self,
        ready: Callable[[], bool],
        why: str,
        timeout: float | None,
        waits_for: Callable[[], str] | None,
    ) -> bool:
        """The loop's own thread waits: everything else goes on meanwhile."""
        world = self._world
        wait = Wait(self.main, ready, why, waits_for)
        before, self.main.wait = self.main.wait, wait
        handle = self._alarm(wait, timeout)
        try:
            if world.runtime == "threads":
                while not wait.is_over():
                    world.loop._run_once()
            else:
                while not wait.is_over():
                    self._let_a_thread_run(why)
        finally:
            self.main.wait = before
            if handle is not None:
                handle.cancel()
        return ready() if wait.timed_out else True

    def home_may_go_on(self) -> bool:
        """Tell whether the loop's own thread waits for something that has happened."""
        wait = self.main.wait
        return wait is not None and wait.is_over()

    def _let_a_thread_run(self, why: str) -> None:
        """The loop is blocked by its own code: only threads and time go on."""
        world = self._world
        if world.selector.fire_one(THREAD_KINDS):
            return
        for handle in sorted(world.loop._scheduled):
            if handle._callback == self._time_is_over and not handle.cancelled():  # type: ignore[attr-defined] # asyncio's own
                world.clock.advance_to(int(handle.when() * 1e9))
                world.note_time()
                self._time_is_over(*handle._args)
                handle.cancel()
                return
        what = describe_call_from(sys._getframe(1)) or why
        raise UnsupportedInWorld(
            f"waiting for {what} at {calling_line()}: it would hold the event loop for ever, for "
            "no thread can make it true; await the asyncio counterpart instead"
        )

    # the end

    def end(self) -> None:
        """End every thread that is still there; what it does on its way out counts no more."""
        self._ending = True
        self.waiting.clear()
        # One that still runs, because somebody pressed Ctrl-C, must stop before others are woken.
        for thread in sorted(self.alive, key=lambda thread: thread.parked):
            self._end(thread)
        self.alive.clear()
        for reference in self._pools:
            pool = reference()
            if pool is not None and not pool._shutdown:
                # It outlives the world, its workers do not.
                pool._threads.clear()
                pool._idle_semaphore = threading.Semaphore(0)
                pool._work_queue = queue.SimpleQueue()

    def _end(self, thread: ControlledThread) -> None:
        thread.dying = True
        if not thread.begun or thread.ended:
            thread.ended = True
            return
        home = _get_ident()
        self.running = thread
        inside.pass_to(thread.ident)
        try:
            if thread.parked:
                # One that was left alone by Ctrl-C may have given the baton to nobody.
                self._hub.acquire(False)
                thread.parked = False
                thread.turn.append(None)
                thread.gate.release()
            for last in (False, True):
                if self._hub.acquire(True, LAST_WORDS):
                    break
                if thread.take_turn() or last:
                    thread.stop_for_good()
                    break
        finally:
            self.running = None
            inside.pass_to(home)


def _never() -> bool:
    return False


def _nothing() -> None:
    """What the main thread runs is not ours to say."""


def _place(frame: FrameType | None) -> str:
    found = user_frame(frame)
    if found is None:
        return "a call at an unknown line"
    code = found.f_code
    where = f"{display_path(code.co_filename)}:{found.f_lineno} in {code.co_name}"
    if frame is found or frame is None:
        return f"the call at {where}"
    return f"{frame.f_code.co_name}() called at {where}"


__all__ = ["THREAD_KINDS", "Threads"]
