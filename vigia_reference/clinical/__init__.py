"""The clinical store: the hosted database's four schemas, on PostgreSQL and on SQLite.

`sync_store` makes one for threads (sqlite3, psycopg), `async_store` one for tasks (aiosqlite,
asyncpg).  Every operation is described once, in `Operations`, as the statements of transactions,
and both stores carry it out, at any isolation level.
"""

from vigia_reference.clinical.attempts import Attempts
from vigia_reference.clinical.cache import ExpiringCache
from vigia_reference.clinical.connect import (
    ASYNC_BACKENDS,
    BACKENDS,
    SYNC_BACKENDS,
    async_store,
    isolation_levels,
    sync_store,
)
from vigia_reference.clinical.models import ModelRegistry, SharedModels
from vigia_reference.clinical.operations import Operations
from vigia_reference.clinical.parts import ClinicalParts
from vigia_reference.clinical.pool import AsyncConnectionPool, ConnectionPool
from vigia_reference.clinical.records import ClinicalRecords
from vigia_reference.clinical.stores import AsyncClinicalStore, ClinicalStore
from vigia_reference.clinical.transaction import Isolation

__all__ = [
    "ASYNC_BACKENDS",
    "BACKENDS",
    "SYNC_BACKENDS",
    "AsyncClinicalStore",
    "AsyncConnectionPool",
    "Attempts",
    "ClinicalParts",
    "ClinicalRecords",
    "ClinicalStore",
    "ConnectionPool",
    "ExpiringCache",
    "Isolation",
    "ModelRegistry",
    "Operations",
    "SharedModels",
    "async_store",
    "isolation_levels",
    "sync_store",
]
