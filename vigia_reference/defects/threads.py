"""Defects of what the clinical store's threads share."""

# ruff: noqa: D102 - what a method is for is told where it is correct

import contextlib
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from vigia_reference.clinical.cache import ExpiringCache
from vigia_reference.clinical.models import ModelRegistry, SharedModels
from vigia_reference.defects.catalogue import SYNC, Defect


class ThreadUnsafeCache(ExpiringCache):
    """Is used by many threads as if by one."""

    def _new_lock(self) -> AbstractContextManager[Any]:
        return contextlib.nullcontext()


class DoubleCheckedInitialisation(SharedModels):
    """Shows the registry to others before it is filled."""

    def registry(self) -> ModelRegistry:
        if self._registry is None:
            with self._lock:
                if self._registry is None:
                    self._registry = ModelRegistry()
                    self._registry.fill(self._load())
        return self._registry


THREAD_DEFECTS = (
    Defect(
        name="thread-unsafe-cache",
        kind="race",
        where="ExpiringCache.read_through",
        breaks="A patient read before a write is cached after it, or a lookup raises KeyError.",
        operations=2,
        deviations=1,
        parts=lambda parts: replace(
            parts, clinical=replace(parts.clinical, cache=ThreadUnsafeCache)
        ),
        backends=SYNC,
    ),
    Defect(
        name="double-checked-initialisation",
        kind="race",
        where="SharedModels.registry",
        breaks="A thread that comes while the models are loaded is told that there are none.",
        operations=2,
        deviations=1,
        parts=lambda parts: replace(
            parts, clinical=replace(parts.clinical, models=DoubleCheckedInitialisation)
        ),
        backends=SYNC,
    ),
)
