"""Statements of the target's own code as rows of the trace: what ran, what it read and wrote.

A statement that waits is a row where it begins and, when something comes of it, one more where
it goes on: other rows may lie between. What it changed is judged within the stretches in which
it ran by itself, so that nobody is blamed for what happened while they waited.
"""

from __future__ import annotations

import ast
import dis
import functools
import re
import sys
import types
import weakref
from collections.abc import Callable, Collection
from dataclasses import replace
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from desvelo.world.actors import ACTOR
from desvelo.world.statements import Path, Statement, source_of
from desvelo.world.trace import LINE_KINDS, Access, Facts, Row, Trace
from desvelo.world.values import CONTAINERS, PRIMITIVES, describe_value, fingerprint, is_plain
from desvelo.world.whereabouts import display_path, is_foreign, is_installed

if TYPE_CHECKING:
    from desvelo.world.world import World

MAX_ROWS = 20_000
"""Statements kept of one execution: a target that spins must not fill the memory."""

_MISSING = object()
_UNREADABLE = object()
"""A value behind a key that cannot be computed without running the target's code."""
_UNEVENTFUL = (StopIteration, StopAsyncIteration, GeneratorExit)
_RESUME = dis.opmap["RESUME"]
_SUSPENSIONS = (dis.opmap["YIELD_VALUE"], _RESUME)
"""Where a frame stands that waits: before 3.13 at the yield, from then on behind it."""


def is_own_code(filename: str) -> bool:
    """Tell whether a file is the user's own, the default of what a story shows lines of."""
    return not is_foreign(filename) and not is_installed(filename)


class _Call:
    """One call of a function of the target: where it is and what it saw there."""

    __slots__ = (
        "again", "before", "done", "leaving", "number", "raised", "row", "statement", "unread"
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.statement: Statement | None = None
        self.row = -1
        """The row of the running stretch of the statement, -1 while there is none."""
        self.before: list[tuple[Path, _Place, tuple[str, int]]] = []
        self.raised = ""
        self.done = False
        """Whether the statement was settled as its thread stopped before the next one."""
        self.again = False
        """Whether the statement is to begin once more when its thread goes on."""
        self.leaving = False
        """Whether the statement is a ``with`` that is on its way out."""
        self.unread: frozenset[str] = frozenset()
        """What the statement had not read yet when its thread stopped in the middle of it."""


class _Place:
    """What a path leads to: its keys, its value, and whether it outlives the function."""

    __slots__ = ("keys", "lasting", "value")

    def __init__(self, keys: tuple[str, ...], value: Any, *, lasting: bool) -> None:
        self.keys = keys
        self.value = value
        self.lasting = lasting


class LineTracer:
    """Adds a row for each statement that the target executes, with what it read and wrote."""

    def __init__(self, world: World, files: Callable[[str], bool] | None) -> None:
        self._world = world
        self._wanted = files or is_own_code
        self._calls: dict[int, _Call] = {}
        self._numbers = 0
        self._objects: dict[int, tuple[int, Any]] = {}
        self._raised: set[int] = set()
        self._before: Any = None
        self._count = 0

    def start(self) -> None:
        """Begin to listen."""
        self._before = sys.gettrace()
        sys.settrace(self.enter)

    def stop(self) -> None:
        """Listen no longer."""
        sys.settrace(self._before)

    def let_go(self) -> None:
        """Hold none of the target's objects any longer: a leak must not hide behind the tracer."""
        self._calls.clear()
        self._objects.clear()

    # events

    def enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Be told of a call, as a trace function is."""
        code = frame.f_code
        if code.co_name.startswith("<") or not self._wanted(code.co_filename):
            return None
        if self._world.trace is None or self._count > MAX_ROWS:
            return None
        call = self._calls.get(id(frame))
        if call is None or _begins(frame):
            self._numbers += 1
            self._calls[id(frame)] = _Call(self._numbers)
        else:
            call.row = -1
            call.before = [] if call.leaving else self._look(frame, call.statement)
        return self._event

    def _event(self, frame: FrameType, event: str, argument: Any) -> Any:
        call = self._calls.get(id(frame))
        if call is None or self._world.trace is None or self._count > MAX_ROWS:
            return None
        if event == "line":
            statement = source_of(frame.f_code.co_filename).at(frame.f_lineno)
            if statement is not call.statement:
                if not call.done:
                    self._finish(call, frame, statement)
                call.done = False
                self._begin(call, frame, statement)
        elif event == "exception":
            self._exception(call, argument)
        elif event == "return":
            if _waits(frame):
                self._pause(call, frame)
            else:
                self._finish(call, frame, None, returned=argument)
                # Nothing of a call that is over is held: what it had may be garbage by now.
                self._calls.pop(id(frame), None)
        return self._event

    def _exception(self, call: _Call, argument: Any) -> None:
        kind, error, _ = argument
        # Told once, in the innermost of the target's own functions.
        if issubclass(kind, _UNEVENTFUL) or error is None or id(error) in self._raised:
            return
        self._raised.add(id(error))
        text = str(error).strip().splitlines()
        call.raised = f"{kind.__name__}: {text[0]}" if text else kind.__name__

    # threads

    def thread_stops(self, frame: FrameType | None, *, before_line: bool) -> None:
        """Settle what the calls of a thread did so far: others run now.

        A thread that stops ``before_line`` has done with the line above, whether this tracer
        has been told of the new line already or not.
        """
        if self._world.trace is None:
            return
        innermost = before_line
        while frame is not None:
            call = self._calls.get(id(frame))
            if call is not None:
                if not (innermost and self._between_lines(call, frame)):
                    self._pause(call, frame)
                innermost = False
            frame = frame.f_back

    def _between_lines(self, call: _Call, frame: FrameType) -> bool:
        """Settle a call that is between two statements; tell whether it is."""
        trace = self._world.trace
        assert trace is not None
        statement = source_of(frame.f_code.co_filename).at(frame.f_lineno)
        if statement is not call.statement:
            self._finish(call, frame, statement)
            call.done = True
            return True
        loaded = _loaded_so_far(frame) if frame.f_trace_opcodes else None
        if loaded is not None:
            self._leave_unread(call, loaded)
            return False
        last = next((i for i in range(len(trace.rows) - 1, -1, -1) if _is_of_code(trace, i)), -1)
        if call.row < 0 or call.row != last or trace.rows[last].kind != "line":
            return False
        # Its row was written a moment ago: it begins when the thread goes on.
        del trace.rows[last]
        call.row = -1
        call.again = True
        return True

    def _leave_unread(self, call: _Call, loaded: Collection[str]) -> None:
        """Take from a statement's row what it has not read yet: the rest of it will read that."""
        if call.row < 0 or self._world.trace is None:
            return
        row = self._world.trace.rows[call.row]
        assert row.facts is not None
        read = tuple(a for a in row.facts.accesses if a.write or _last_step(a.path) in loaded)
        call.unread = frozenset(a.path for a in row.facts.accesses if a not in read)
        # ``n += 1`` names its target once, and reads it before it writes it.
        read += tuple(
            _access(path, place, write=False)
            for path, place, _ in call.before
            if path.stored and _last_step(path.text) in loaded and _adds_to(row.text, path.text)
        )
        facts = replace(row.facts, accesses=read)
        self._world.trace.rows[call.row] = replace(row, facts=facts)

    def thread_goes_on(self, frame: FrameType | None) -> None:
        """Look again at what the calls of a thread use: others may have changed it."""
        if self._world.trace is None:
            return
        while frame is not None:
            call = self._calls.get(id(frame))
            if call is not None and not call.done:
                call.row = -1
                call.before = [] if call.leaving else self._look(frame, call.statement)
                if call.again and call.statement is not None:
                    kind = "exit" if call.leaving else call.statement.kind
                    self._add(call, frame, "line", kind)
                call.again = False
            frame = frame.f_back

    # rows

    def _begin(self, call: _Call, frame: FrameType, statement: Statement) -> None:
        before = call.statement
        call.leaving = before is not None and statement in before.inside
        call.statement = statement
        call.raised = ""
        call.row = -1
        call.unread = frozenset()
        call.before = [] if call.leaving else self._look(frame, statement)
        if statement.kind == "silent":
            return
        self._add(call, frame, "line", "exit" if call.leaving else statement.kind)

    def _add(self, call: _Call, frame: FrameType, kind: str, statement_kind: str) -> None:
        trace, statement = self._world.trace, call.statement
        assert trace is not None
        assert statement is not None
        code = frame.f_code
        world = self._world
        self._count += 1
        leaving = statement_kind == "exit"
        facts = Facts(
            frame=call.number,
            function=code.co_name,
            kind=statement_kind,
            accesses=tuple(
                _access(path, place, write=False)
                for path, place, _ in call.before
                if path.loaded and (kind == "line" or path.text in call.unread)
            ),
            condition=statement.condition,
            target=statement.target,
            awaits=statement.awaits and not leaving,
            resumed=kind == "step",
        )
        where = f"{display_path(code.co_filename)}:{statement.line}"
        lane = ACTOR.get().lane
        text = statement.text
        row = Row(world.selector.polls, world.clock.now_ns, lane, kind, text, where, "", facts)
        call.row = len(trace.rows)
        trace.rows.append(row)

    def _pause(self, call: _Call, frame: FrameType) -> None:
        """The statement lets others run: settle what it did so far."""
        statement = call.statement
        if statement is None or statement.kind == "silent":
            return
        writes = self._changes(call, frame, stored=False)
        call.before = []
        if call.row < 0 and writes:
            self._add(call, frame, "step", statement.kind)
        if call.row >= 0:
            self._update(call, writes, suspended=True)

    def _finish(
        self,
        call: _Call,
        frame: FrameType,
        following: Statement | None,
        *,
        returned: Any = _MISSING,
    ) -> None:
        """The statement is done: say on its row what came of it."""
        statement = call.statement
        if statement is None or statement.kind == "silent":
            return
        raised, call.raised = call.raised, ""
        writes = self._changes(call, frame, stored=not raised)
        entered = not call.leaving and following is not None and statement in following.inside
        shown = ""
        if returned is not _MISSING and statement.kind == "return" and not raised:
            shown = describe_value(returned) if is_plain(returned) and returned is not None else ""
        test = ""
        if statement.condition and statement.body and not raised and following is not None:
            test = "yes" if following.line in statement.body else "no"
        if call.row < 0 and (writes or raised or entered or shown or test):
            self._add(call, frame, "step", statement.kind)
        if call.row < 0:
            return
        self._update(call, writes, test=test, raised=raised, entered=entered, returned=shown)

    def _update(self, call: _Call, writes: tuple[Access, ...], **known: Any) -> None:
        trace = self._world.trace
        assert trace is not None
        row = trace.rows[call.row]
        assert row.facts is not None
        facts = replace(row.facts, accesses=(*row.facts.accesses, *writes), **known)
        trace.rows[call.row] = replace(row, facts=facts)

    # values

    def _look(
        self, frame: FrameType, statement: Statement | None
    ) -> list[tuple[Path, _Place, tuple[str, int]]]:
        if statement is None:
            return []
        seen = []
        for path in statement.paths:
            place = self._resolve(frame, path)
            if place is not None:
                seen.append((path, place, fingerprint(place.value)))
        return seen

    def _changes(self, call: _Call, frame: FrameType, *, stored: bool) -> tuple[Access, ...]:
        """Return what the running stretch wrote: by assignment, or by changing in place."""
        found: dict[str, Access] = {}
        statement = call.statement
        assert statement is not None
        for path, place, before in call.before:
            if path.loaded and fingerprint(place.value) != before:
                found[path.text] = _access(path, place, write=True)
        if stored and not call.leaving:
            for path in statement.paths:
                now = self._resolve(frame, path) if path.stored else None
                if now is not None:
                    found[path.text] = _access(path, now, write=True)
        return tuple(found.values())

    def _resolve(self, frame: FrameType, path: Path) -> _Place | None:
        """Follow a path without running any of the target's code, or return nothing."""
        code = frame.f_code
        keys: tuple[str, ...] = ()
        variables = frame.f_locals
        if path.root in variables:
            value = variables[path.root]
            enclosed = path.root in code.co_freevars or path.root in code.co_cellvars
            # A function that runs many times has a variable of its own each time.
            shared = enclosed and _runs_once(code)
            if shared:
                keys = (f"variable {path.root} of {code.co_filename}",)
        elif path.root in frame.f_globals:
            value = frame.f_globals[path.root]
            shared = True
            keys = (f"global {path.root} of {frame.f_globals.get('__name__')}",)
            if not path.hops and (callable(value) or isinstance(value, types.ModuleType)):
                return None
        elif path.stored and not path.hops:
            return None
        else:
            return None
        lasting = shared
        for hop in path.hops:
            base = value
            lasting = True
            if isinstance(hop, ast.Attribute):
                value = _attribute(base, hop.attr)
                keys = (f"attribute {hop.attr} of {self._number(base)}",)
            elif isinstance(hop, ast.Subscript) and isinstance(base, CONTAINERS):
                keys = (f"inside of {self._number(base)}",)
                lasting = shared or len(path.hops) > 1
                value = _item(base, hop.slice, variables)
            else:
                return None
            if (value is _MISSING or value is _UNREADABLE) and hop is not path.hops[-1]:
                return None
        if value is _UNREADABLE:
            return None
        if value is _MISSING:
            return _Place(keys, None, lasting=lasting) if path.stored else None
        if isinstance(value, (*CONTAINERS, *PRIMITIVES)) or not is_plain(value):
            keys = (*keys, f"inside of {self._number(value)}")
        # Such an object can be told from a later one at its address, so it may be compared.
        lasting = lasting or isinstance(value, PRIMITIVES)
        return _Place(keys, value, lasting=lasting)

    def _number(self, value: Any) -> int:
        """Number an object; one that took a dead one's place in memory gets its own."""
        known = self._objects.get(id(value))
        if known is not None and (known[1] is None or known[1]() is value):
            return known[0]
        try:
            alive = weakref.ref(value)
        except TypeError:
            alive = None
        number = len(self._objects) + 1 if known is None else known[0] + 1_000_000
        self._objects[id(value)] = (number, alive)
        return number


def _is_of_code(trace: Trace, index: int) -> bool:
    return trace.rows[index].kind in LINE_KINDS


def _loaded_so_far(frame: FrameType) -> frozenset[str] | None:
    """Return what a line has read when it is stopped between two instructions of it.

    Returns nothing when nothing that others see has happened in it yet.
    """
    from desvelo.world.threads.lines import shared_offsets

    code, stopped = frame.f_code, frame.f_lasti
    start = stopped
    for first, end, line in reversed(list(code.co_lines())):
        if first <= start and (line == frame.f_lineno or first <= stopped < end):
            if line != frame.f_lineno:
                break
            start = first
        elif first < start:
            break
    shared = shared_offsets(code)
    done = [
        instruction
        for instruction in dis.get_instructions(code)
        if start <= instruction.offset < stopped
    ]
    if not any(instruction.offset in shared for instruction in done):
        return None
    return frozenset(
        "[]" if instruction.opname == "BINARY_SUBSCR" else str(instruction.argval)
        for instruction in done
        if instruction.opname == "BINARY_SUBSCR" or instruction.opname.startswith("LOAD_")
    )


def _adds_to(statement: str, path: str) -> bool:
    """Tell an assignment such as ``n += 1`` from a plain one."""
    return re.match(rf"{re.escape(path)} [^\s=]+= ", statement) is not None


def _last_step(path: str) -> str:
    """Return the name of the attribute that a path ends with, or ``[]`` for an item.

    >>> _last_step("self.stock.count"), _last_step("self.rows[key]")
    ('count', '[]')
    """
    return "[]" if path.endswith("]") else path.rpartition(".")[2]


def _runs_once(code: CodeType) -> bool:
    """Tell whether the outermost function around some code is one that sets a scene, once."""
    name = code.co_qualname.partition(".<locals>")[0].rpartition(".")[2]
    return name in ("setup", "operations") or name.startswith("test")


def _access(path: Path, place: _Place, *, write: bool) -> Access:
    value = place.value
    plain = is_plain(value)
    return Access(
        keys=place.keys,
        path=path.text,
        value=describe_value(value) if plain else "",
        write=write,
        lasting=place.lasting,
        primitive=isinstance(value, PRIMITIVES),
        opaque=not plain and path.called,
    )


def _attribute(base: Any, name: str) -> Any:
    """Read an attribute that is stored, never one that is computed."""
    if isinstance(base, (type, types.ModuleType)):
        return vars(base).get(name, _MISSING)
    try:
        namespace = object.__getattribute__(base, "__dict__")
    except AttributeError:
        namespace = {}
    if isinstance(namespace, dict) and name in namespace:
        return namespace[name]
    for kind in type(base).__mro__:
        slot = vars(kind).get(name)
        if isinstance(slot, types.MemberDescriptorType):
            try:
                return slot.__get__(base)
            except AttributeError:
                return _MISSING
        if name in vars(kind):
            # A default in the class, which the instance hides as soon as it is assigned.
            return slot if is_plain(slot) else _MISSING
    return _MISSING


def _item(base: Any, index: ast.expr, variables: Any) -> Any:
    if isinstance(index, ast.Constant):
        key = index.value
    elif isinstance(index, ast.Name) and index.id in variables:
        key = variables[index.id]
    else:
        return _UNREADABLE
    if type(key) not in (int, str, bytes, bool, float, type(None)):
        return _UNREADABLE
    try:
        return dict.get(base, key, _MISSING) if isinstance(base, dict) else base[key]
    except (LookupError, TypeError):
        return _MISSING


@functools.lru_cache(maxsize=4096)
def _bytecode(code: CodeType) -> bytes:
    return code.co_code


def _begins(frame: FrameType) -> bool:
    """Tell the first entry of a call from one that goes on after it waited."""
    at = frame.f_lasti
    code = _bytecode(frame.f_code)
    return 0 <= at < len(code) - 1 and code[at] == _RESUME and code[at + 1] == 0


def _waits(frame: FrameType) -> bool:
    at = frame.f_lasti
    return at >= 0 and _bytecode(frame.f_code)[at] in _SUSPENSIONS
