"""A scenario: what is set up, which operations run concurrently, what must hold afterwards."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from desvelo.errors import TargetError, UsageError
from desvelo.fault.fault import Fault, are_faults, wrong_with
from desvelo.misspelt import misspelt
from desvelo.oracle.leaks import allowed_leaks
from desvelo.world.boundary import Boundary

RUNTIMES = ("asyncio", "threads")
GRANULARITIES = ("line", "instruction")
_DECLARATIONS: dict[str, Callable[[Any], bool]] = {
    "runtime": RUNTIMES.__contains__,
    "granularity": GRANULARITIES.__contains__,
    "cancellable": lambda value: isinstance(value, (bool, tuple, list)),
    "most_cancels": lambda value: isinstance(value, int),
    "faults": are_faults,
    "most_faults": lambda value: isinstance(value, int),
    "allow_leaks": lambda value: isinstance(value, Mapping),
}
"""What a scenario may declare besides its functions, each with a test of its value."""


class Scenario:
    """A checked view of a scenario object: a module, a class, an instance or a namespace.

    It needs ``operations(state)``; ``setup``, ``check``, ``teardown``, ``runtime``,
    ``cancellable``, ``most_cancels``, ``faults``, ``most_faults``, ``leaks``, ``allow_leaks`` and
    ``servers`` are optional.
    Each function may be plain or async. ``servers`` lists the real servers that the scenario
    reaches, such as `desvelo.servers.postgres`, or is a plain function that returns them.
    """

    def __init__(self, source: Any, name: str = "", reference: str = "") -> None:
        if isinstance(source, type):
            source = _made(source)
        self.source = source
        self.name = name or getattr(source, "__name__", type(source).__name__)
        self.reference = reference or _reference_of(source)
        if wrong := misspelt(source, _DECLARATIONS):
            raise UsageError(f"scenario {self.name!r}: {wrong}")
        self.runtime: str = getattr(source, "runtime", "asyncio")
        if self.runtime not in RUNTIMES:
            raise UsageError(
                f"scenario {self.name!r}: runtime is {self.runtime!r}; "
                f"it is one of {', '.join(RUNTIMES)}"
            )
        self.granularity: str = getattr(source, "granularity", "line")
        if self.granularity not in GRANULARITIES:
            raise UsageError(
                f"scenario {self.name!r}: granularity is {self.granularity!r}; "
                f"it is one of {', '.join(GRANULARITIES)}"
            )
        self.servers: Any = getattr(source, "servers", ())
        self.leaks: bool = getattr(source, "leaks", True)
        """Whether what it leaves open is a failure."""
        if not isinstance(self.leaks, bool):
            raise UsageError(
                f"scenario {self.name!r}: leaks is {self.leaks!r}; it must be True or False"
            )
        self.allow_leaks = allowed_leaks(
            getattr(source, "allow_leaks", {}), f"scenario {self.name!r}"
        )
        """The kinds of resources that it leaves open on purpose, each with the reason."""
        self.cancellable: bool | tuple[str, ...] = self._cancellable(source)
        """Whether operations may be cancelled, or the names of those that may."""
        self.most_cancels: int = self._most_cancels(source)
        self.faults: tuple[Fault, ...] = self._faults(source)
        """The faults that may strike its operations."""
        self.most_faults: int = getattr(source, "most_faults", 1)
        self._setup = self._optional(source, "setup")
        self._check = self._optional(source, "check")
        self._teardown = self._optional(source, "teardown")
        operations = self._optional(source, "operations")
        if operations is None:
            raise UsageError(
                f"scenario {self.name!r} has no function operations(state); it returns a dict of "
                "name to function, which are run concurrently"
            )
        self._operations: Callable[..., Any] = operations
        if self.runtime == "threads":
            for part in ("setup", "operations", "check", "teardown"):
                self._refuse_async(part, getattr(source, part, None))
        self.has_teardown = self._teardown is not None
        self.file: str | None = _file_of(source)

    def _optional(self, source: Any, name: str) -> Callable[..., Any] | None:
        value = getattr(source, name, None)
        if value is not None and not callable(value):
            raise UsageError(
                f"scenario {self.name!r}: {name} is {type(value).__name__}, not a function"
            )
        return value

    def _faults(self, source: Any) -> tuple[Fault, ...]:
        given = getattr(source, "faults", ())
        if hasattr(source, "most_faults") and not hasattr(source, "faults"):
            raise UsageError(
                f"scenario {self.name!r} has most_faults, but no faults; list them in faults"
            )
        wrong = wrong_with(
            given, getattr(source, "most_faults", 1), lambda name: getattr(source, name, None)
        )
        if wrong:
            raise UsageError(f"scenario {self.name!r}: {wrong}")
        return tuple(given)

    def _cancellable(self, source: Any) -> bool | tuple[str, ...]:
        given = getattr(source, "cancellable", False)
        if given and self.runtime == "threads":
            raise UsageError(
                f"scenario {self.name!r}: cancellable is {given!r}, but a thread cannot be "
                "cancelled; leave it out with runtime 'threads'"
            )
        if isinstance(given, bool):
            return given
        if isinstance(given, (tuple, list)) and all(isinstance(name, str) for name in given):
            return tuple(given)
        raise UsageError(
            f"scenario {self.name!r}: cancellable is {given!r}; it is True, or a tuple of names "
            "of operations"
        )

    def _most_cancels(self, source: Any) -> int:
        given = getattr(source, "most_cancels", 1)
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise UsageError(
                f"scenario {self.name!r}: most_cancels is {given!r}; it is a whole number from 1"
            )
        return given

    def may_be_cancelled(self, names: Collection[str]) -> tuple[str, ...]:
        """Return those of some operations that may be cancelled.

        Raises `UsageError` when ``cancellable`` names one that there is not.
        """
        if isinstance(self.cancellable, bool):
            return tuple(names) if self.cancellable else ()
        unknown = [name for name in self.cancellable if name not in names]
        if unknown:
            raise UsageError(
                f"scenario {self.name!r}: cancellable names {unknown[0]!r}, but the operations "
                f"are {', '.join(names)}"
            )
        return tuple(name for name in names if name in self.cancellable)

    def _refuse_async(self, name: str, function: Any) -> None:
        if inspect.iscoroutinefunction(function):
            raise UsageError(
                f"scenario {self.name!r}: {name} is an async function; with runtime 'threads' "
                "all functions are plain ones, each operation being a thread"
            )

    def setup(self) -> Any:
        """Return the state, or an awaitable of it."""
        return self._setup() if self._setup is not None else None

    def operations(self, state: Any) -> dict[str, Callable[[], Any]]:
        """Return the operations by name; raises `UsageError` when they are not that."""
        found = self._operations(state)
        if not isinstance(found, Mapping) or not all(callable(call) for call in found.values()):
            raise UsageError(
                f"scenario {self.name!r}: operations(state) returned {type(found).__name__}; "
                "it must be a dict of name to function"
            )
        if not found:
            raise UsageError(f"scenario {self.name!r}: operations(state) returned no operation")
        if self.runtime == "threads":
            for name, call in found.items():
                self._refuse_async(f"operation {name!r}", call)
        return {str(name): call for name, call in found.items()}

    def check(self, state: Any) -> Any:
        """Check the invariant, when there is one."""
        return self._check(state) if self._check is not None else None

    def teardown(self, state: Any) -> Any:
        """Release what the state holds, when the scenario says how."""
        return self._teardown(state) if self._teardown is not None else None


def _made(source: type) -> Any:
    """Make an instance of a scenario given as a class."""
    try:
        inspect.signature(source).bind()
    except TypeError as error:
        raise UsageError(
            f"scenario {source.__name__!r}: the class cannot be made without arguments ({error}); "
            "pass an instance"
        ) from error
    except ValueError:
        pass  # a class without a signature that Python knows: try it
    return source()


def _called(factory: Any, reference: str) -> Any:
    """Call a function that makes a scenario."""
    try:
        return factory()
    except Exception as error:
        raise TargetError(
            f"{reference} is a function, and calling it to get a scenario failed: "
            f"{type(error).__name__}: {error}"
        ) from error


def load_scenario(reference: str) -> Scenario:
    """Load ``FILE.py``, ``FILE.py:NAME``, ``package.module`` or ``package.module:NAME``.

    Raises `UsageError` when there is no such file or name, `TargetError` when it does not
    import.
    """
    place, _, name = reference.partition(":")
    # Locks that are made while a file is loaded are made as the world wants them.
    with Boundary():
        module = (
            _import_file(Path(place))
            if place.endswith(".py") or "/" in place
            else _import_module(place)
        )
    source: Any = module
    if name:
        source = getattr(module, name, None)
        if source is None:
            raise UsageError(f"{place} has nothing called {name!r}")
        if callable(source) and not isinstance(source, type) and not hasattr(source, "operations"):
            source = _called(source, f"{place}:{name}")
    absolute = str(Path(place).resolve()) if place.endswith(".py") or "/" in place else place
    return Scenario(source, name or Path(place).stem, f"{absolute}:{name}" if name else absolute)


def _import_file(path: Path) -> types.ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    resolved = path.resolve()
    # Under its own name, so that other files of the user find the same module; but never under
    # one that somebody else has or may still want.
    name, number = resolved.stem, 0
    while name in sys.stdlib_module_names or name in sys.modules:
        known = sys.modules.get(name)
        if known is not None and getattr(known, "__file__", None) == str(resolved):
            return known
        number += 1
        name = f"desvelo_scenario_{resolved.stem}_{number}"
    folder = str(resolved.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise TargetError(f"{path} does not import: {type(error).__name__}: {error}") from error
    return module


def _import_module(name: str) -> types.ModuleType:
    if not name:
        raise UsageError("no scenario was named; give FILE.py, FILE.py:NAME or package.module:NAME")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise UsageError(f"there is no module {name!r} (nor a file of that name)") from error
        raise TargetError(f"module {name!r} does not import: {error}") from error
    except Exception as error:
        raise TargetError(
            f"module {name!r} does not import: {type(error).__name__}: {error}"
        ) from error


def _file_of(source: Any) -> str | None:
    module = (
        source if isinstance(source, types.ModuleType) else sys.modules.get(type(source).__module__)
    )
    return getattr(module, "__file__", None)


def _reference_of(source: Any) -> str:
    if isinstance(source, types.ModuleType):
        return getattr(source, "__file__", None) or source.__name__
    return f"{type(source).__module__}:{type(source).__qualname__}"
