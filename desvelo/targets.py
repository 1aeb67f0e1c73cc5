"""Targets: the systems under test, chosen by name with ``--target`` or in the configuration.

A target is a module (or any object) found through the entry point group ``desvelo.targets`` or
by its import path. It has a function ``load(variant)`` that returns the adapter; what stands
behind a colon in the name (``vigia_reference:DEFECT``) is the variant.
"""

from __future__ import annotations

import difflib
import importlib
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from desvelo.errors import DesveloError, TargetError, UsageError

GROUP = "desvelo.targets"
DEFAULT = "vigia_reference"

_current: Any = None
_current_name: str | None = None


def known_targets() -> dict[str, str]:
    """Return the import path of each installed target by its name."""
    return {point.name: point.value for point in metadata.entry_points(group=GROUP)}


def load_target(name: str) -> Any:
    """Load a target by name.

    Raises `UsageError` for an unknown one, `TargetError` for one that does not import.

    >>> load_target("vigia_referenz")
    Traceback (most recent call last):
        ...
    desvelo.errors.UsageError: no target is called 'vigia_referenz'; did you mean \
'vigia_reference'? (known: vigia_reference)
    """
    base, _, variant = name.partition(":")
    known = known_targets()
    place = known.get(base, base)
    if not all(part.isidentifier() for part in place.split(".")):
        raise UsageError(_no_such_target(base, known))
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{place}.".startswith(f"{error.name}."):
            raise UsageError(_no_such_target(base, known)) from error
        raise TargetError(f"target {base!r} does not import: {error}") from error
    except Exception as error:
        raise TargetError(
            f"target {base!r} does not import: {type(error).__name__}: {error}"
        ) from error
    load = getattr(module, "load", None)
    if load is None:
        raise UsageError(f"{place} is not a target: it has no function load(variant)")
    try:
        return load(variant or None)
    except DesveloError:
        raise
    except (KeyError, LookupError, ValueError) as error:
        message = error.args[0] if error.args else error
        raise UsageError(f"target {name!r}: {message}") from error
    except Exception as error:
        raise TargetError(
            f"target {name!r} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _no_such_target(name: str, known: dict[str, str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    names = ", ".join(sorted(known)) or "none is installed"
    return f"no target is called {name!r}{hint} (known: {names})"


def choose_target(name: str) -> Any:
    """Load a target and make it the current one."""
    global _current, _current_name  # noqa: PLW0603 - one run has one target
    _current = load_target(name)
    _current_name = name
    return _current


@contextmanager
def using_target(name: str) -> Iterator[Any]:
    """Make another target the current one for a while.

    >>> with using_target("vigia_reference:stale-cache-fill") as target:
    ...     target.name
    'vigia_reference:stale-cache-fill'
    """
    global _current, _current_name
    before = _current, _current_name
    try:
        yield choose_target(name)
    finally:
        _current, _current_name = before


def current_target() -> Any:
    """Return the target of this run: the chosen one, or that of the configuration."""
    return _current if _current is not None else choose_target(configured_target(Path.cwd()))


def configured_target(folder: Path) -> str:
    """Return ``target`` of ``[tool.desvelo]`` in the nearest ``pyproject.toml``, or the default.

    Raises `UsageError` when that file cannot be read or the value is no text.
    """
    for place in (folder, *folder.resolve().parents):
        file = place / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from error
        name = table.get("tool", {}).get("desvelo", {}).get("target", DEFAULT)
        if not isinstance(name, str):
            raise UsageError(f"{file}: target in [tool.desvelo] is {name!r}; it must be a name")
        return name
    return DEFAULT


def current_target_name() -> str | None:
    """Return the name of the target of this run, if one was chosen."""
    return _current_name
