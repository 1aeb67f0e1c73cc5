"""Switch points by `sys.monitoring`, from Python 3.12 on: only the code that is wanted pays."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

from desvelo.world import inside
from desvelo.world.threads.lines import wants

_IDS = (4, 3, 5, 2)
"""Tools that nobody has by convention come first."""


class Monitor:
    """The one tool of the process; it looks at code as it is first run in a controlled thread."""

    def __init__(self) -> None:
        self._tool: int | None = None
        self._wanted: Callable[[str], bool] | None = None
        self._seen: dict[int, tuple[bool, CodeType]] = {}
        """By identity, for code of another file may be equal."""

    def watch(self, wanted: Callable[[str], bool]) -> None:
        """See to it that the wanted code has switch points from now on."""
        if self._tool is not None and wanted is self._wanted:
            return
        self.stop()
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore] # from 3.12 on
        for tool in _IDS:
            if monitoring.get_tool(tool) is None:
                break
        else:
            raise RuntimeError("every tool of sys.monitoring is taken")
        monitoring.use_tool_id(tool, "desvelo")
        self._tool, self._wanted = tool, wanted
        events = monitoring.events
        monitoring.register_callback(tool, events.PY_START, self._starter(monitoring, tool))
        monitoring.register_callback(tool, events.LINE, _line)
        monitoring.set_events(tool, events.PY_START)
        monitoring.restart_events()

    def stop(self) -> None:
        """Take every switch point out."""
        if self._tool is None:
            return
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore] # from 3.12 on
        tool, self._tool = self._tool, None
        monitoring.set_events(tool, 0)
        for own, code in self._seen.values():
            if own:
                monitoring.set_local_events(tool, code, 0)
        self._seen.clear()
        for kind in ("PY_START", "LINE"):
            monitoring.register_callback(tool, getattr(monitoring.events, kind), None)
        monitoring.free_tool_id(tool)

    def _starter(self, monitoring: Any, tool: int) -> Callable[..., Any]:
        seen, disable, kind = self._seen, monitoring.DISABLE, monitoring.events.LINE
        wanted = self._wanted
        assert wanted is not None

        def start(code: CodeType, offset: int) -> Any:
            found = seen.get(id(code))
            if found is None:
                found = seen[id(code)] = wants(code, wanted), code
                if found[0]:
                    monitoring.set_local_events(tool, code, kind)
            # Python 3.13 loses the line of a lambda where this is disabled in wanted code.
            return None if found[0] else disable

        return start


def _line(code: CodeType, number: int) -> Any:
    world = inside._inside
    if world is None or inside.get_ident() != inside._thread:
        return
    threads = world.threads
    thread = threads.running
    if thread is not None and world.preempting:
        thread.line_was_point = sys._getframe(1)
        threads.point()
    elif world.preempting:
        threads.preempt()


MONITOR = Monitor()
