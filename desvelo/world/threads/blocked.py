"""Where a blocked thread stands, what it waits for, and who has that."""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from desvelo.world.whereabouts import display_path, is_foreign, is_ours, user_frame

if TYPE_CHECKING:
    from desvelo.world.threads.locks import Place
    from desvelo.world.threads.thread import ControlledThread

_CALLS = {
    ("Condition", "wait"): "a notification of the Condition",
    ("Condition", "wait_for"): "a notification of the Condition",
    ("Event", "wait"): "the Event",
    ("Semaphore", "acquire"): "the Semaphore",
    ("BoundedSemaphore", "acquire"): "the BoundedSemaphore",
    ("Barrier", "wait"): "the Barrier",
    ("Barrier", "_wait"): "the Barrier",
    ("Barrier", "_enter"): "the Barrier",
    ("get",): "an item of the {kind}",
    ("put",): "room in the {kind}",
    ("join",): "the end of all tasks of the {kind}",
    ("result",): "the result of the {kind}",
    ("exception",): "the result of the {kind}",
}
"""What a method of `threading`, `queue` or `concurrent.futures` waits for."""


def line_of(place: Place | None) -> str:
    """Return ``file.py:12`` of a place, or nothing when it is not known."""
    if place is None:
        return ""
    code, offset = place
    return f"{display_path(code.co_filename)}:{line_number(code, offset)}"


def line_number(code: CodeType, offset: int) -> int:
    """Return the line that the instruction at an offset belongs to."""
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno


def describe_lock(made: Place | None, owner: ControlledThread | None, since: Place | None) -> str:
    """Name a lock by where it was made, and who holds it since when."""
    text = "the lock"
    if made is not None and not is_foreign(made[0].co_filename):
        text += f" made at {line_of(made)}"
    if owner is not None:
        text += f", held by {owner.name}"
        if since is not None:
            text += f" since {line_of(since)}"
    return text


def frames_of(thread: ControlledThread) -> FrameType | None:
    """Return the innermost frame of a thread."""
    return sys._current_frames().get(thread.ident)


def stands_at(thread: ControlledThread) -> str:
    """Return ``file.py:12 in function`` of the user's line that a thread stands at."""
    frame = user_frame(frames_of(thread))
    if frame is None:
        return "an unknown line"
    code = frame.f_code
    return f"{display_path(code.co_filename)}:{frame.f_lineno} in {code.co_name}"


def waits_for(thread: ControlledThread) -> str:
    """Say what a blocked thread waits for, and who has it."""
    wait = thread.wait
    if wait is None:
        return ""
    found = describe_call_from(frames_of(thread))
    if found:
        return found
    return wait.waits_for() if wait.waits_for is not None else wait.why


def holder_of(thread: ControlledThread) -> str:
    """Return the name of the thread that has the lock which a thread waits for; else nothing.

    Who could put an item into a queue or notify a condition, nobody knows.
    """
    wait = thread.wait
    if wait is None or not _asks_itself(frames_of(thread)):
        return ""
    holder = getattr(getattr(wait.ready, "__self__", None), "holder", None)
    return holder.name if holder is not None else ""


def _asks_itself(frame: FrameType | None) -> bool:
    """Tell whether the target's own code asks for a lock, not a primitive for one inside it."""
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return frame is not None and not is_foreign(frame.f_code.co_filename)


def describe_call_from(frame: FrameType | None) -> str:
    """Name the outermost of the standard library's own primitives that a thread is inside of."""
    found = ""
    while frame is not None:
        code = frame.f_code
        if not is_foreign(code.co_filename):
            break
        owner: Any = frame.f_locals.get("self")
        name = code.co_name
        kinds = [kind.__name__ for kind in type(owner).__mro__] if owner is not None else []
        for kind in kinds:
            said = _CALLS.get((kind, name))
            if said is None and kind in ("Queue", "SimpleQueue", "Future"):
                said = _CALLS.get((name,))
            if said is not None:
                known = kinds[0].removeprefix("_Py")
                found = said.format(kind=known) + _made(owner)
                break
        frame = frame.f_back
    return found


def _made(owner: Any) -> str:
    """Say where a primitive was made, by the lock inside it."""
    for path in (
        ("mutex",),
        ("_lock",),
        ("_cond", "_lock"),
        ("_condition", "_lock"),
        ("_count", "_cond", "_lock"),
    ):
        held = owner
        for name in path:
            held = getattr(held, name, None)
        place = getattr(held, "_made", None)
        if place is not None and not is_foreign(place[0].co_filename):
            return f" made at {line_of(place)}"
    return ""
