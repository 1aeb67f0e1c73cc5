"""The models that detections may come from, read once and shared by all threads."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


class UnknownModel(LookupError):
    """No model of this name and version is registered."""


@dataclass(frozen=True, slots=True)
class Model:
    """One version of a model."""

    name: str
    version: str
    path: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


class ModelRegistry:
    """Models by name and version."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], Model] = {}

    def fill(self, models: Iterable[Mapping[str, Any]]) -> None:
        """Add *models*, as the store lists them."""
        for model in models:
            self._models[model["name"], model["version"]] = Model(**model)

    def find(self, name: str, version: str) -> Model:
        """The model; raises `UnknownModel`."""
        try:
            return self._models[name, version]
        except KeyError:
            raise UnknownModel(f"There is no model {name} {version}") from None

    def __len__(self) -> int:
        return len(self._models)


class SharedModels:
    """A registry that is filled when it is first asked for, once, whoever asks.

    *load* lists the models, as `ClinicalStore.list_models` does.

    >>> shared = SharedModels(lambda: [{"name": "lpp", "version": "1.0", "path": "lpp.pt"}])
    >>> shared.registry().find("lpp", "1.0").path
    'lpp.pt'
    """

    def __init__(self, load: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._registry: ModelRegistry | None = None

    def registry(self) -> ModelRegistry:
        """The registry; raises what *load* raises, and tries again when asked again."""
        with self._lock:
            if self._registry is None:
                registry = ModelRegistry()
                registry.fill(self._load())
                self._registry = registry
            return self._registry
