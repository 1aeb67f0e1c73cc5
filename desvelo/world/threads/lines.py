"""Switch points inside the target's own files: before each line, or before instructions.

Up to Python 3.11 a trace function in each controlled thread sees the lines. From 3.12 on
`sys.monitoring` does, which costs nothing in code that is not looked at; instructions are left
to the trace function. A story's tracer of statements may run beside either: a run with a story
takes the decisions of one without.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from desvelo.world.threads.thread import ControlledThread
from desvelo.world.tracing import is_own_code

if TYPE_CHECKING:
    from desvelo.world.world import World

GRANULARITIES = ("line", "instruction")

Install = Callable[[ControlledThread | None], Callable[[], None]]

_SHARED = frozenset(
    {
        "LOAD_ATTR", "STORE_ATTR", "DELETE_ATTR", "LOAD_METHOD",
        "LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "STORE_NAME",
        "LOAD_DEREF", "STORE_DEREF", "LOAD_SUPER_ATTR",
        "BINARY_SUBSCR", "STORE_SUBSCR", "DELETE_SUBSCR", "BINARY_SLICE", "STORE_SLICE",
        "CALL", "CALL_FUNCTION_EX", "CALL_KW", "CONTAINS_OP", "FOR_ITER", "GET_ITER",
        "UNPACK_SEQUENCE", "UNPACK_EX", "LIST_EXTEND", "SET_UPDATE", "DICT_UPDATE", "DICT_MERGE",
        "COMPARE_OP", "BINARY_OP", "BEFORE_WITH", "YIELD_VALUE",
    }
)  # fmt: skip
"""Instructions that may read or change what another thread sees."""


def installer(world: World, files: Callable[[str], bool] | None, granularity: str) -> Install:
    """Return what puts the switch points into a thread, and what takes them out again.

    In the place of the event loop's own thread stands nothing.
    """
    wanted = files or is_own_code
    fine = granularity == "instruction"
    # Of instructions sys.monitoring loses sight in code that a trace function has looked at.
    if sys.version_info >= (3, 12) and not fine:
        from desvelo.world.threads.monitoring import MONITOR

        def watch(thread: ControlledThread | None) -> Callable[[], None]:
            lines = world.lines
            if world.preempting:
                MONITOR.watch(wanted)
            if lines is not None:
                lines.start()
                return lines.stop
            return _nothing

        return watch

    def install(thread: ControlledThread | None) -> Callable[[], None]:
        lines = world.lines
        if not world.preempting:
            if lines is None:
                return _nothing
            lines.start()
            return lines.stop
        stop_watching()
        before = sys.gettrace()
        sys.settrace(_tracer(world, thread, wanted, fine=fine))

        def remove() -> None:
            if thread is not None:
                thread.watch_again = None
            sys.settrace(before)

        return remove

    return install


def stop_watching() -> None:
    """Take every switch point out of the code that has any."""
    module = sys.modules.get("desvelo.world.threads.monitoring")
    if module is not None:
        module.MONITOR.stop()


def _nothing() -> None:
    """There is nothing to take out."""


def _tracer(
    world: World, thread: ControlledThread | None, wanted: Callable[[str], bool], *, fine: bool
) -> Any:
    threads = world.threads
    known: dict[int, tuple[bool, CodeType]] = {}
    lines = world.lines
    point, preempt = threads.point, threads.preempt

    def at_line(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and threads.running is thread:
            if thread is None:
                preempt()
            else:
                thread.line_was_point = frame
                point()
        return at_line

    def at_instruction(frame: FrameType, event: str, argument: Any) -> Any:
        if (
            event == "opcode"
            and threads.running is thread
            and frame.f_lasti in shared_offsets(frame.f_code)
        ):
            if thread is None:
                preempt()
            else:
                thread.line_was_point = frame
                point()
        return at_instruction

    local = at_instruction if fine else at_line

    def want_code(code: CodeType) -> bool:
        # Code of another file may be equal: its identity counts, which is kept as long.
        found = known.get(id(code))
        if found is None:
            found = known[id(code)] = wants(code, wanted), code
        return found[0]

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        if not want_code(frame.f_code):
            return None
        if fine:
            # From Python 3.13 on this has an effect only where a trace function is in place.
            frame.f_trace = local
            frame.f_trace_opcodes = True
        return local

    def watch_again() -> None:
        if thread is None or thread.watch_again is None:
            return
        sys.settrace(enter)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if want_code(frame.f_code):
                frame.f_trace = enter(frame, "call", None)
            frame = frame.f_back

    if thread is not None and not (fine and sys.version_info[:2] == (3, 12)):
        # Python 3.12 may crash where instructions come to be watched while others are.
        thread.watch_again = watch_again
    if lines is None:
        return enter

    def both(story: Any) -> Any:
        def event_of_both(frame: FrameType, event: str, argument: Any) -> Any:
            if want_code(frame.f_code):
                local(frame, event, argument)
            nonlocal story
            if event != "opcode" and story is not None:
                story = story(frame, event, argument)
            return event_of_both

        return event_of_both

    def enter_both(frame: FrameType, event: str, argument: Any) -> Any:
        story = lines.enter(frame, event, argument)
        if not want_code(frame.f_code):
            return story
        traced = both(story)
        if fine:
            frame.f_trace = traced
            frame.f_trace_opcodes = True
        return traced

    return enter_both


def wants(code: CodeType, wanted: Callable[[str], bool]) -> bool:
    """Tell whether the lines of some code are switch points; those of a module never are.

    A module runs once, under the lock of the import.
    """
    return code.co_name != "<module>" and wanted(code.co_filename)


@functools.lru_cache(maxsize=4096)
def shared_offsets(code: CodeType) -> frozenset[int]:
    """Return where the instructions are that may read or change what others see."""
    return frozenset(
        instruction.offset
        for instruction in dis.get_instructions(code)
        if instruction.opname in _SHARED
    )
