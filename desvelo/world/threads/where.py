"""Which files have switch points inside: the user's own, and what the scenario imports itself."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Callable
from pathlib import Path

from desvelo.world.tracing import is_own_code
from desvelo.world.whereabouts import is_foreign, is_installed

_NEVER = frozenset({"desvelo", "hypothesis", "pytest", "_pytest", "pluggy", "freezegun"})
"""Packages that serve the test, not the target."""


def files_to_switch_in(
    scenario_file: str | None, named: Callable[[str], bool] | None = None
) -> Callable[[str], bool]:
    """Return a test for the files whose lines are switch points of threads.

    By default these are the user's own files and the installed packages that the file of the
    scenario imports itself, so that a race inside a library is found without being told where.
    ``named`` adds those that the user has named. The standard library has none.

    >>> import queue
    >>> files_to_switch_in(None)(queue.__file__)
    False
    """
    folders = _imported(scenario_file) if scenario_file else ()

    @functools.lru_cache(maxsize=4096)
    def wanted(filename: str) -> bool:
        if is_foreign(filename):
            return False
        if is_own_code(filename) or (named is not None and named(filename)):
            return True
        return filename.startswith(folders) if folders else False

    return wanted


def _imported(file: str) -> tuple[str, ...]:
    """Return the folders, or files, of the installed packages that a file imports."""
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ()
    names: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(dict.fromkeys(alias.name.partition(".")[0] for alias in node.names))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names[node.module.partition(".")[0]] = None
    found = []
    for name in names:
        place = getattr(sys.modules.get(name), "__file__", None)
        if name in _NEVER or not isinstance(place, str) or not is_installed(place):
            continue
        path = Path(place)
        found.append(f"{path.parent}/" if path.name == "__init__.py" else str(path))
    return tuple(found)
