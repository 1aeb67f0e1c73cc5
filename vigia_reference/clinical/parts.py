"""The classes that the clinical side is built from; `dataclasses.replace` swaps one for another."""

from dataclasses import dataclass

from vigia_reference.clinical.attempts import Attempts
from vigia_reference.clinical.cache import ExpiringCache
from vigia_reference.clinical.models import SharedModels
from vigia_reference.clinical.operations import Operations
from vigia_reference.clinical.pool import AsyncConnectionPool, ConnectionPool


@dataclass(frozen=True, slots=True)
class ClinicalParts:
    """What stores, cache and model registry are made of."""

    operations: type[Operations] = Operations
    attempts: type[Attempts] = Attempts
    pool: type[ConnectionPool] = ConnectionPool
    async_pool: type[AsyncConnectionPool] = AsyncConnectionPool
    cache: type[ExpiringCache] = ExpiringCache
    models: type[SharedModels] = SharedModels
