"""asyncio: loops, tasks, async generators, servers, transports, and child processes."""

from __future__ import annotations

import asyncio
import functools
import gc
import select
import types
import weakref
from typing import Any

from desvelo.failure import waiting_at
from desvelo.resources.attaching import Hook, Library, part, unseen, watch_class
from desvelo.resources.creation import describe_line
from desvelo.resources.kinds import Kind
from desvelo.resources.recorder import Entry, Recorder
from desvelo.resources.watching.processes import describe_child
from desvelo.resources.watching.sockets import describe_socket, listens

UNKNOWN = "an unknown line"
_HUNG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


# transports and servers


def describe_transport(transport: Any) -> str:
    """Say what it leads to."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return f"an asyncio transport on {transport.get_extra_info('pipe')!r}"
    return f"an asyncio transport on {describe_socket(sock)}"


def _describe_server(server: Any) -> str:
    where = [
        describe_socket(sock).partition("listens at ")[2]
        for sock in server.sockets
        if listens(sock)
    ]
    return f"an asyncio server{' that listens at ' if where else ''}{', '.join(where)}"


def _transport_kind(recorder: Recorder) -> Kind:
    def is_open(transport: Any) -> bool:
        if transport.is_closing():
            return False
        # Accepted, and the caller has hung up: its loop stopped before it could look.
        return getattr(transport, "_server", None) is None or not hung_up(recorder, transport)

    def led_by(transport: Any) -> tuple[Any, str]:
        return getattr(transport, "_server", None), "accepted by the server that was made there"

    return Kind("transport", describe_transport, is_open, led_by=led_by)


def hung_up(recorder: Recorder, transport: Any) -> bool:
    """Tell whether the other side of a connection has closed it, or is about to."""
    if transport.is_closing():
        return True
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() == -1:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), _HUNG_UP)
    if poll.poll(0):
        return True
    peer = sock.getpeername()
    for entry in list(recorder.entries.values()):
        other = entry.reference() if entry.kind.name == "transport" else None
        if other is not None and other.is_closing():
            near = other.get_extra_info("socket")
            if near is not None and near.fileno() != -1 and near.getsockname() == peer:
                return True
    return False


SERVER = Kind("server", _describe_server, lambda server: bool(server.sockets))
_LOOP = Kind("loop", lambda loop: "an event loop", lambda loop: not loop.is_closed())
_CHILD = Kind(
    "process",
    lambda transport: describe_child(transport.get_pid(), "of asyncio"),
    lambda transport: not transport.is_closing() and transport.get_returncode() is None,
    "never waited for",
)


# tasks and async generators


def describe_task(task: Any) -> str:
    """Say what it runs, and where it stands or how it ended."""
    coroutine = task.get_coro()
    name = getattr(coroutine, "__qualname__", type(coroutine).__name__)
    text = f"the task {task.get_name()!r} of {name}()"
    if task.done():
        error = task._exception  # noqa: SLF001 - asking the public way would retrieve it
        return f"{text}, whose exception nobody retrieved: {type(error).__name__}: {error}"
    where = waiting_at(task)
    return f"{text}, still pending" + (f" at {where}" if where != UNKNOWN else "")


def _task_is_open(task: Any) -> bool:
    if task.done():
        return bool(task._log_traceback)  # noqa: SLF001 - nothing public says it
    return not task.cancelling()


TASK = Kind("task", describe_task, _task_is_open, "")


def _describe_generator(generator: Any) -> str:
    frame = generator.ag_frame
    name = generator.__qualname__
    if frame is None:
        return f"the async generator {name}()"
    code = frame.f_code
    line = describe_line((code.co_filename, frame.f_lineno, code.co_name))
    return f"the async generator {name}(), suspended at {line}"


GENERATOR = Kind(
    "asyncgen",
    _describe_generator,
    lambda generator: generator.ag_frame is not None and not generator.ag_running,
    "neither exhausted nor closed with aclose()",
)
CLEANING = Kind(
    "asyncgen",
    _describe_generator,
    lambda generator: generator.ag_frame is not None and generator.ag_running,
    "dropped before its end, and its own clean-up is still under way",
)


def _loop_hooks(recorder: Recorder, base_events: Any) -> list[Hook]:
    cls = part(base_events, "BaseEventLoop")
    for name in ("create_task", "call_exception_handler"):
        part(cls, name)
    return [
        *watch_class(recorder, cls, _LOOP),
        *watch_class(recorder, part(base_events, "Server"), SERVER),
        Hook(cls, "create_task", lambda original: _making_tasks(recorder, original)),
        *generator_hooks(recorder, cls),
        Hook(cls, "shutdown_asyncgens", lambda original: _ending(recorder, original)),
        Hook(cls, "call_exception_handler", lambda original: _complaining(recorder, original)),
    ]


def _making_tasks(recorder: Recorder, original: Any) -> Any:
    @functools.wraps(original)
    def create_task(self: Any, *args: Any, **options: Any) -> Any:
        task = original(self, *args, **options)
        if recorder.active and recorder.listening() and not cleaned_by(recorder, task):
            recorder.made(task, TASK, 2, finalized=True)
            unseen(task)
        return task

    return create_task


def generator_hooks(recorder: Recorder, loop: Any) -> list[Hook]:
    """Return the hooks by which a loop hears of async generators that begin, or are dropped."""
    for name in ("_asyncgen_firstiter_hook", "_asyncgen_finalizer_hook"):
        part(loop, name)
    return [
        Hook(loop, "_asyncgen_firstiter_hook", lambda original: _beginning(recorder, original)),
        Hook(loop, "_asyncgen_finalizer_hook", lambda original: _dropping(recorder, original)),
    ]


def _beginning(recorder: Recorder, original: Any) -> Any:
    @functools.wraps(original)
    def firstiter(self: Any, generator: Any) -> None:
        original(self, generator)
        if recorder.active and recorder.listening():
            recorder.made(generator, GENERATOR, 2, finalized=True)

    return firstiter


def _dropping(recorder: Recorder, original: Any) -> Any:
    @functools.wraps(original)
    def finalizer(self: Any, generator: Any) -> None:
        if recorder.active and recorder.listening():
            # Its weak references are gone already, and it lives again until it is closed.
            creation = recorder.creation_of(generator)
            if creation is not None:
                entry = Entry(weakref.ref(generator), CLEANING, creation)
                recorder.cleaning[id(generator)] = entry
        original(self, generator)

    return finalizer


def cleaned_by(recorder: Recorder, task: Any) -> tuple[Any, Entry] | None:
    """Return the dropped generator that a task of the loop's own closes, if it is such a one."""
    if recorder.cleaning:
        for one in gc.get_referents(task.get_coro()):
            entry = recorder.cleaning.get(id(one))
            if entry is not None and isinstance(one, types.AsyncGeneratorType):
                return one, entry
    return None


def _ending(recorder: Recorder, original: Any) -> Any:
    @functools.wraps(original)
    async def shutdown_asyncgens(self: Any) -> None:
        if recorder.active and recorder.listening():
            # Closed with its loop, which some are made for.
            for generator in list(getattr(self, "_asyncgens", ())):
                recorder.closed(generator)
        await original(self)

    return shutdown_asyncgens


def end(recorder: Recorder, resource: Any, entry: Any, how: str) -> None:
    """Note that a resource went wrongly, and that it is judged herewith."""
    entry.closed = True
    recorder.heard(entry.kind.name, entry.kind.text(resource), how, entry.creation)


_COMPLAINTS = {
    "Task exception was never retrieved": "whose exception nobody retrieved",
    "Future exception was never retrieved": "whose exception nobody retrieved",
    "Task was destroyed but it is pending!": "dropped while it was pending",
}


def _complaining(recorder: Recorder, original: Any) -> Any:
    @functools.wraps(original)
    def call_exception_handler(self: Any, context: dict[str, Any]) -> None:
        how = _COMPLAINTS.get(str(context.get("message", "")))
        if how is not None and recorder.active and recorder.listening():
            future = context.get("task") or context.get("future")
            cleaned = cleaned_by(recorder, future) if "task" in context else None
            if cleaned is not None:
                end(recorder, *cleaned, UNCLEAN)
                original(self, context)
                return
            error = context.get("exception")
            creation = recorder.creation_of(future) or recorder.capture(2)
            name = getattr(future, "get_name", lambda: "")()
            what = f"the task {name!r}" if name else "a future"
            if error is not None:
                how += f": {type(error).__name__}: {error}"
            recorder.heard("task", what, how, creation)
        original(self, context)

    return call_exception_handler


UNCLEAN = "dropped before its end, and its own clean-up never came to one"
_CUT = "cancelled by the end of its event loop"


def _runner_hooks(recorder: Recorder, runners: Any) -> list[Hook]:
    def make(original: Any) -> Any:
        @functools.wraps(original)
        def cancel_all_tasks(loop: Any) -> None:
            if recorder.active and recorder.listening():
                for task in asyncio.all_tasks(loop):
                    entry = recorder.entry(task)
                    if entry is not None and _is_left(recorder, task):
                        end(recorder, task, entry, _CUT)
                for entry in recorder.cleaning.values():
                    generator = entry.reference()
                    if generator is not None and CLEANING.still_open(generator):
                        end(recorder, generator, entry, f"dropped before its end, and {_CUT}")
            original(loop)

        return cancel_all_tasks

    part(runners, "_cancel_all_tasks")
    return [Hook(runners, "_cancel_all_tasks", make)]


def _is_left(recorder: Recorder, task: Any) -> bool:
    """Tell whether a pending task was forgotten; one that serves a caller who has gone was not."""
    if not TASK.still_open(task) or task.done():
        return False
    for entry in list(recorder.entries.values()):
        transport = entry.reference() if entry.kind.name == "transport" else None
        if transport is not None and getattr(transport, "_server", None) is not None:
            protocol = transport.get_protocol()
            if getattr(protocol, "_task", None) is task and hung_up(recorder, transport):
                return False
    return True


def _selector_hooks(recorder: Recorder, selector_events: Any) -> list[Hook]:
    kind = _transport_kind(recorder)
    return watch_class(recorder, part(selector_events, "_SelectorTransport"), kind)


def _pipe_hooks(recorder: Recorder, unix_events: Any) -> list[Hook]:
    kind = _transport_kind(recorder)
    return [
        hook
        for name in ("_UnixReadPipeTransport", "_UnixWritePipeTransport")
        for hook in watch_class(recorder, part(unix_events, name), kind)
    ]


def writer_hooks(recorder: Recorder, streams: Any) -> list[Hook]:
    """Return the hook for the writers of streams, which close their transport when they go."""
    writer = part(streams, "StreamWriter")
    if "__del__" not in vars(writer):
        return []  # before 3.11.5: the transport stays open, and is seen itself

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def __del__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - its place
            if recorder.active and recorder.listening():
                transport = getattr(self, "_transport", None)
                encrypted = getattr(transport, "_ssl_protocol", None)
                recorder.dropped(getattr(encrypted, "_transport", None) or transport)
            original(self, *args, **options)

        return __del__

    return [Hook(writer, "__del__", make)]


def _process_hooks(recorder: Recorder, base_subprocess: Any) -> list[Hook]:
    return watch_class(recorder, part(base_subprocess, "BaseSubprocessTransport"), _CHILD)


LIBRARIES = [
    Library("asyncio.base_events", _loop_hooks),
    Library("asyncio.runners", _runner_hooks),
    Library("asyncio.selector_events", _selector_hooks),
    Library("asyncio.streams", writer_hooks),
    Library("asyncio.unix_events", _pipe_hooks),
    Library("asyncio.base_subprocess", _process_hooks),
]
