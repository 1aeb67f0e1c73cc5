"""The selector: it decides which of the possible things the loop sees in this iteration.

The loop above is the stock one; it calls `WorldSelector.select` once an iteration, as it calls
epoll. What may be reported is what a kernel may report: nothing while other work is ready, one
descriptor, or several at once in some order. Ready callbacks are never reordered.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Mapping
from sys import modules
from typing import TYPE_CHECKING, Any

from desvelo.errors import StepLimitReached, WorldStuck
from desvelo.schedule.decisions import MAX_HOLD, ORDERS
from desvelo.world import boundary
from desvelo.world.clock import MILLISECOND_NS
from desvelo.world.events import NEVER_NS, PendingEvent
from desvelo.world.lateness import Lateness
from desvelo.world.threads.baton import HANDED_OVER, THREAD_KINDS

if TYPE_CHECKING:
    from desvelo.world.world import World

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
EventList = list[tuple[selectors.SelectorKey, int]]


RELEASED = {
    "arrive": "its start is let through",
    "deliver": "the delivery is let through",
    "connect": "the connection is let through",
    "accept": "the connection may be accepted",
    "writable": "there is room to write",
    "job": "the job may start",
    "answer": "the answer of the job is let through",
    "pause": "goes on",
    "wake": "wakes up",
    "spawn": "its start is let through",
    "call": "the call into the event loop is made",
    "cancel": "its cancellation comes",
    "strike": "the fault strikes",
}


POLLS_BETWEEN_LOOKS = 64
"""Iterations between two looks at the real time, for an execution that has a bound on it."""


class WorldSelector(selectors.BaseSelector):
    """Reports simulated descriptors, starts of operations, answers of jobs and timers."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._pending: list[PendingEvent] = []
        self._due_timers: list[tuple[int, int, Any]] = []
        """Timers that fire although the loop is busy: (poll or -1, value, handle)."""
        self._touched: dict[int, int] = {}
        """Descriptors to look at, in the order in which they became ready: fd to mask."""
        self._callbacks: list[Callable[[], None]] = []
        self._cancellations: list[Callable[[], None]] = []
        """Those that come before what else this poll reports."""
        self.busy_polls: set[int] = set()
        """Polls in which something was seen besides cancellations, for who wants to know."""
        self._stalled: dict[str, int] = {}
        self._sequence = 0
        self._ready: Any = ()
        """The loop's own ready queue; it is made after the selector."""
        self._left = 0
        """How many events of this turn are still to come."""
        self._modules = 0
        self._lateness = Lateness(world.latency_ns)
        self.polls = 0

    # the interface of selectors.BaseSelector

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a simulated descriptor."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd not in self._world.network.sockets:
            self._world.refuse_descriptor(fd)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._keys[fd] = key
        self._touched[fd] = self._touched.get(fd, 0) | events
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Change what is watched."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd not in self._keys:
            raise KeyError(f"{fileobj!r} is not registered")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._keys[fd] = key
        self._touched[fd] = self._touched.get(fd, 0) | events
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch no longer."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        try:
            return self._keys.pop(fd)
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return what is watched, by descriptor."""
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return the key of a descriptor."""
        return self._keys[fileobj if isinstance(fileobj, int) else fileobj.fileno()]

    def close(self) -> None:
        """Forget everything."""
        self._keys.clear()
        self._pending.clear()
        self._touched.clear()
        self._callbacks.clear()
        self._due_timers.clear()

    # what the world tells it

    def readable(self, fd: int) -> None:
        """Look at a descriptor for reading in this poll."""
        self._touched[fd] = self._touched.get(fd, 0) | READ

    def writable(self, fd: int) -> None:
        """Look at a descriptor for writing in this poll."""
        self._touched[fd] = self._touched.get(fd, 0) | WRITE

    def gone(self, fd: int) -> None:
        """Forget a closed descriptor."""
        self._touched.pop(fd, None)

    def post(
        self,
        kind: str,
        actor: str,
        fire: Callable[[], None],
        *,
        delay_ns: int = 0,
        unhurried: bool = False,
        behind: bool = False,
    ) -> PendingEvent:
        """Make something possible, seen as the schedule decides.

        ``delay_ns`` is time that must pass first. An ``unhurried`` event may be overtaken by
        any number of sleeps, not only by those within the bound on latency. One ``behind`` is
        seen a poll after what was posted just before it.
        """
        value = self._world.decide(kind, actor, MAX_HOLD)
        return self.hold(
            kind, actor, fire, value, delay_ns=delay_ns, unhurried=unhurried, behind=behind
        )

    def hold(
        self,
        kind: str,
        actor: str,
        fire: Callable[[], None],
        value: int,
        *,
        delay_ns: int = 0,
        unhurried: bool = False,
        behind: bool = False,
    ) -> PendingEvent:
        """Make something possible that is held back as ``value`` says: it was decided before."""
        world = self._world
        self._sequence += 1
        polls, place = (value // ORDERS, value % ORDERS) if value else (0, 0)
        if behind:
            polls += 2
        now = world.clock.now_ns
        event = PendingEvent(
            self._sequence,
            kind,
            actor,
            self.polls + polls,
            place,
            now + delay_ns + world.latency_ns,
            fire,
            yields_to_sleep=unhurried,
        )
        if self._stalled and actor in self._stalled:
            self._stall(event, self._stalled[actor])
        if value and world.tracing:
            event.held = str(world.recorder.deviations[-1].key)
        if delay_ns:
            world.loop.plain_call_at((now + delay_ns) / 1e9, self._begin_to_wait, event, polls)
        else:
            self._pending.append(event)
        return event

    def cancel_after(self, value: int, actor: str, strike: Callable[[], None]) -> PendingEvent:
        """Cancel an operation some polls from now, before or after what else the poll brings.

        It may come before a descriptor is reported, as from another one. No time-out is hurried
        by it, and nothing waits for it.
        """

        def fire() -> None:
            (self._callbacks if value % ORDERS else self._cancellations).append(strike)

        event = self.hold("cancel", actor, fire, value, unhurried=True)
        event.deadline_ns = NEVER_NS
        event.held = ""
        return event

    def withdraw(self, event: PendingEvent) -> None:
        """Take back what need not happen any more."""
        if event in self._pending:
            self._pending.remove(event)

    def hold_to_the_end(self, actor: str, fire: Callable[[], None]) -> PendingEvent:
        """Let everything else that is possible have its turn first."""
        event = self.hold("pause", actor, fire, 0)
        event.due = max(self.polls + 1, *(one.due for one in self._pending))
        return event

    def is_next(self, event: PendingEvent) -> bool:
        """Take an event back when nothing else could happen before it; tell whether it was so.

        Only where there is no loop to go on: threads and nothing else.
        """
        if (
            self._left
            or self._callbacks
            or self._touched
            or self._world.runtime != "threads"
            or self._world.loop._scheduled
            or self._world.loop._ready
        ):
            return False
        first = min(self._pending, key=_turn)
        if first is not event:
            return False
        self._pending.remove(event)
        if event.held:
            self._world.note("release", event.actor, RELEASED[event.kind], deviation=event.held)
        return True

    def take_for_thread(self) -> PendingEvent | None:
        """Return the next event if nothing but threads could go on now, else nothing.

        The thread that gives the baton back then hands it to the next one itself.
        """
        if (
            self._left
            or self._callbacks
            or self._touched
            or self._ready
            or self._world.loop._scheduled
            or not self._pending
        ):
            return None
        first = min(self._pending, key=_turn)
        if first.kind not in HANDED_OVER:
            return None
        self._pending.remove(first)
        if first.held:
            self._world.note("release", first.actor, RELEASED[first.kind], deviation=first.held)
        return first

    def decide_on_threads(self) -> None:
        """Take the decisions on threads that were under way before decisions were taken."""
        world = self._world
        for event in self._pending:
            if event.kind not in THREAD_KINDS:
                continue
            value = world.decide(event.kind, event.actor, MAX_HOLD)
            if value:
                event.due, event.place = self.polls + value // ORDERS, value % ORDERS
                if world.tracing:
                    event.held = str(world.recorder.deviations[-1].key)
        world.threads.decide_on_alarms()

    def fire_one(self, kinds: frozenset[str]) -> bool:
        """Let the next event of some kinds happen, outside of any poll; tell whether there is one.

        The loop's thread is blocked by its own code, and only threads can go on.
        """
        possible = [event for event in self._pending if event.kind in kinds]
        if not possible:
            return False
        self.let_happen(min(possible, key=_turn))
        return True

    def waiting_for_a_turn(self) -> list[PendingEvent]:
        """Return the events that would let a thread go on, in their order."""
        waiting = [event for event in self._pending if event.kind in THREAD_KINDS]
        if len(waiting) > 1:
            waiting.sort(key=_turn)
        return waiting

    def let_happen(self, event: PendingEvent) -> None:
        """Let something happen here and now that waits for its poll."""
        self._pending.remove(event)
        if event.held:
            self._world.note("release", event.actor, RELEASED[event.kind], deviation=event.held)
        event.fire()

    def stall(self, actor: str, seconds: float) -> None:
        """A fault: what is under way for an actor, now and later, takes that much longer."""
        self._stalled[actor] = int(seconds * 1e9)
        for event in self._pending:
            if event.actor == actor:
                self._stall(event, self._stalled[actor])

    def later(self, actor: str, fire: Callable[[], None], nanoseconds: int) -> Callable[[], None]:
        """Let something happen when so much time has passed: a fault's doing, not a decision.

        Returns what calls it off.
        """
        event = self.hold("deliver", actor, fire, 0)
        self._stall(event, nanoseconds)

        def call_off() -> None:
            if event in self._pending:
                self._pending.remove(event)

        return call_off

    def _stall(self, event: PendingEvent, nanoseconds: int) -> None:
        event.due += MAX_HOLD
        event.not_before_ns = max(event.not_before_ns, self._world.clock.now_ns) + nanoseconds
        event.deadline_ns += nanoseconds

    def _begin_to_wait(self, event: PendingEvent, polls: int) -> None:
        event.due = self.polls + polls
        self._pending.append(event)

    def call(self, callback: Callable[[], None]) -> None:
        """Report something that is not a descriptor in this poll: run it as a ready callback."""
        self._callbacks.append(callback)

    def watch_timer(self, handle: Any, value: int) -> None:
        """Let a timer fire some polls after it came near, although the loop is busy."""
        self._due_timers.append((-1, value, handle))

    def busy(self) -> bool:
        """Tell whether anything is possible or to be reported besides timers."""
        if self._callbacks or self._cancellations:
            return True
        if any(event.kind != "cancel" for event in self._pending):
            return True
        sockets = self._world.network.sockets
        for fd in self._touched:
            sock, key = sockets.get(fd), self._keys.get(fd)
            if sock is None or key is None:
                continue
            if (key.events & READ and sock.has_input()) or (key.events & WRITE and sock.has_room()):
                return True
        return False

    # the iteration

    def select(self, timeout: float | None = None) -> EventList:
        """Return what the loop sees in this iteration."""
        self.polls += 1
        world = self._world
        if self.polls > world.max_polls:
            raise StepLimitReached(f"still running after {world.max_polls} {world.rounds}")
        if not self.polls % POLLS_BETWEEN_LOOKS:
            world.look_at_real_time()
        if world.on_poll is not None:
            world.on_poll()
        if self._due_timers:
            self._let_timers_come()
        if len(modules) != self._modules:
            self._modules = len(modules)
            boundary.notice_imports()
        while True:
            due = self._take_due()
            if due:
                self._fire(due)
            reported = (
                self._report() if self._touched or self._callbacks or self._cancellations else []
            )
            if reported or due:
                self.busy_polls.add(self.polls)
            if reported or timeout == 0 or self._ready or world.threads.home_may_go_on():
                # A thread may have called into the loop, which wakes it.
                return reported
            if world.resting is not None and world.resting():
                world.loop.stop()
                return reported
            if self._timer_is_due() or not self._move_on():
                return reported

    def _take_due(self) -> list[PendingEvent]:
        if not self._pending:
            return []
        polls = self.polls
        due = [event for event in self._pending if event.due <= polls]
        if due:
            self._pending = [event for event in self._pending if event.due > polls]
            if len(due) > 1:
                due.sort(key=PendingEvent.order)
        return due

    def _fire(self, due: list[PendingEvent]) -> None:
        threads = self._world.threads
        self._left = len(due)
        for event in due:
            self._left -= 1
            if event.held:
                self._world.note("release", event.actor, RELEASED[event.kind], deviation=event.held)
            event.fire()
            if threads.waiting:
                threads.look()
        # What became possible by this and is not held is seen in the same poll.
        while True:
            more = self._take_due()
            if not more:
                return
            self._left = len(more)
            for event in more:
                self._left -= 1
                if event.held and event.kind in THREAD_KINDS:
                    self._world.note(
                        "release", event.actor, RELEASED[event.kind], deviation=event.held
                    )
                event.fire()
                if threads.waiting:
                    threads.look()

    def _report(self) -> EventList:
        reported: EventList = []
        again: dict[int, int] = {}
        sockets = self._world.network.sockets
        if self._cancellations:
            self._report_calls(self._cancellations, reported)
            self._cancellations = []
        for fd, mask in self._touched.items():
            sock = sockets.get(fd)
            key = self._keys.get(fd)
            if sock is None or key is None:
                continue
            mask = key.events  # noqa: PLW2901 - level-triggered: whatever is watched and true
            ready = (READ if mask & READ and sock.has_input() else 0) | (
                WRITE if mask & WRITE and sock.has_room() else 0
            )
            if ready:
                reported.append((key, ready))
                again[fd] = ready
        self._touched = again
        if self._callbacks:
            self._report_calls(self._callbacks, reported)
            self._callbacks = []
        return reported

    def _report_calls(self, callbacks: list[Callable[[], None]], reported: EventList) -> None:
        for callback in callbacks:
            handle = self._world.loop.handle_for(callback)
            reported.append((selectors.SelectorKey(-1, -1, READ, (handle, None)), READ))

    # time

    def _next_timer(self) -> Any | None:
        for handle in self._world.loop.scheduled:
            if not handle.cancelled():
                return handle
        return None

    def _timer_is_due(self) -> bool:
        handle = self._next_timer()
        return handle is not None and handle.when() * 1e9 <= self._world.clock.now_ns

    def _move_on(self) -> bool:
        """Nothing is due: let time pass to the next timer, or see what was held back.

        Returns whether the poll goes on (something became due) or ends (a timer fires).
        """
        handle = self._next_timer()
        if handle is not None and self._may_pass(handle):
            self._pass_time_to(handle)
            return False
        if self._pending:
            self._hurry()
            return True
        if handle is not None:
            self._pass_time_to(handle)
            return False
        raise WorldStuck("nothing can happen any more")

    def _hurry(self) -> None:
        """See what was held back longest; what a fault holds back is seen when its time comes."""
        now = self._world.clock.now_ns
        possible = [event for event in self._pending if event.not_before_ns <= now]
        if not possible:
            moment = min(event.not_before_ns for event in self._pending)
            possible = [event for event in self._pending if event.not_before_ns == moment]
            self._world.clock.advance_to(moment)
            self._world.note_time()
        soonest = min(event.due for event in possible)
        for event in possible:
            if event.due == soonest:
                event.due = self.polls

    def _may_pass(self, handle: Any) -> bool:
        """Tell whether time may pass to a timer before what is under way is seen."""
        if not self._pending:
            return True
        when = int(handle.when() * 1e9)
        sleep = self._world.loop.is_sleep(handle)
        hurried = False
        for event in self._pending:
            if when > event.deadline_ns and not (sleep and event.yields_to_sleep):
                return False
            hurried = hurried or not (event.yields_to_sleep or when <= event.not_before_ns)
        return not hurried or self._may_be_late_until(when)

    def _may_be_late_until(self, when: int) -> bool:
        now = self._world.clock.now_ns
        return when - now <= self._lateness.left(now)

    def _pass_time_to(self, handle: Any) -> None:
        """Move the clock as epoll would wake: at the next whole millisecond."""
        clock = self._world.clock
        wait = max(int(handle.when() * 1e9) - clock.now_ns, 0)
        rounded = -(-wait // MILLISECOND_NS) * MILLISECOND_NS
        limit = min(
            (
                event.deadline_ns
                for event in self._pending
                if not event.yields_to_sleep and event.not_before_ns <= clock.now_ns
            ),
            default=NEVER_NS,
        )
        passed = max(min(rounded, limit - clock.now_ns), wait + 1)
        if limit != NEVER_NS:
            self._lateness.spend(passed)
        clock.now_ns += passed
        self._world.note_time()
        if self._due_timers:
            self._let_timers_come()

    def _let_timers_come(self) -> None:
        """Jump to the timers whose decision was to fire although other work is ready."""
        world = self._world
        now, bound, polls = world.clock.now_ns, world.latency_ns, self.polls
        kept: list[tuple[int, int, Any]] = []
        jump = 0
        for due, value, handle in self._due_timers:
            if handle.cancelled():
                continue
            when = int(handle.when() * 1e9)
            if when <= now:
                continue
            at = due
            if at < 0 and when - now <= bound:
                at = polls + value // ORDERS
            if at < 0 or at > polls or not self._may_pass(handle):
                kept.append((at, value, handle))
            elif self._may_be_late_until(when):
                jump = max(jump, when)
        self._due_timers = kept
        if jump:
            self._lateness.spend(jump + 1 - now)
            world.clock.advance_to(jump + 1)
            world.note_time()


def _turn(event: PendingEvent) -> tuple[int, int, int]:
    return event.due, event.place, event.sequence
