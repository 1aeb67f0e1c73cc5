"""What was opened and never closed, judged when an execution has come to rest.

The world made every socket, task and job itself, so the answer is exact and costs a look at
three tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from desvelo.failure import Failure, Leak, waiting_at
from desvelo.world.network import describe_address

if TYPE_CHECKING:
    from desvelo.world import World

_DROPPED = {
    "Unclosed client session": "an aiohttp.ClientSession was dropped without close()",
    "Unclosed connector": "an aiohttp connector was dropped without close()",
    "Unclosed connection": "an aiohttp connection was dropped without being released",
    "Unclosed response": "an aiohttp response was dropped without being released",
    "Task was destroyed but it is pending!": "a task was dropped while it was still pending",
}


def left_open(world: World) -> Failure | None:
    """Return a leak when sockets, tasks or jobs outlive the teardown, else nothing."""
    found = []
    for sock in world.network.sockets.values():
        if sock.listening:
            what = f"a server still listens at {describe_address(sock.address)}"
        elif sock.connection is not None:
            side = "client" if sock.is_client else "server"
            what = f"the {side}'s end of {sock.label} is still open"
        else:
            what = "a socket was never closed"
        found.append(("socket", what + _made(sock.created_by, sock.created_at)))
    found += [
        ("task", f"task {task.get_name()!r} is still running at {waiting_at(task)}")
        for task in world.unfinished_tasks()
    ]
    found += [
        ("thread", f"thread {thread.name!r}, started at {thread.started_at}, has never ended")
        for thread in world.threads.left_running()
    ]
    if not found:
        return None
    lines = tuple(text for _, text in found)
    kinds = "+".join(sorted({kind for kind, _ in found}))
    return Failure(
        "leak",
        Leak(
            f"after teardown() {lines[0]}"
            + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else "")
        ),
        kinds,
        "teardown",
        lines,
    )


def leak_from_loop(context: dict[str, Any]) -> Failure | None:
    """Read a leak out of what the loop's exception handler was told, if it is one."""
    message = str(context.get("message", ""))
    what = _DROPPED.get(message)
    if what is None:
        return None
    task = context.get("task")
    if task is not None:
        what += f": {task!r}"
    return Failure("leak", Leak(what), message, "loop")


def _made(actor: str, line: str) -> str:
    return (f", opened by {actor}" if actor != "world" else "") + (f" at {line}" if line else "")
