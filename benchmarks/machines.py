"""The machines of `stress_tests/`: of the webhook service, and of the clinical store."""

from __future__ import annotations

from desvelo import ConcurrentMachine
from stress_tests.test_cancelled_waiters import CancelledWaiters
from stress_tests.test_clock import Limits, Times, Tokens
from stress_tests.test_detection_store import (
    AiosqliteDetectionStore,
    AsyncpgDetectionStore,
    PsycopgDetectionStore,
    SqliteDetectionStore,
)
from stress_tests.test_faulty_network import FaultyChat, FaultyNetwork
from stress_tests.test_faulty_store import FaultyStore
from stress_tests.test_patient_registry import (
    AiosqliteRegistry,
    AsyncpgCarePlans,
    AsyncpgReadCommittedRegistry,
    AsyncpgRepeatableReadRegistry,
    AsyncpgSerializableRegistry,
    PatientRegistry,
    PsycopgCarePlans,
    PsycopgReadCommittedRegistry,
    PsycopgRepeatableReadRegistry,
    PsycopgSerializableRegistry,
    SharedCache,
    SharedModels,
    SqliteRegistry,
)
from stress_tests.test_ports import Ports
from stress_tests.test_redis_cache import RedisCache, RedisRateLimit
from stress_tests.test_resource_leaks import ClientResources, SystemResources
from stress_tests.test_schema_contention import (
    AsyncpgContention,
    PsycopgContention,
    SqliteContention,
)
from stress_tests.test_shutdown import Shutdown
from stress_tests.test_webhook_client import RateLimit, WebhookClient
from stress_tests.test_webhook_delivery import WebhookDelivery

MACHINES: tuple[type[ConcurrentMachine], ...] = (
    PatientRegistry,
    WebhookClient,
    RateLimit,
    WebhookDelivery,
    RedisCache,
    RedisRateLimit,
    ClientResources,
    SystemResources,
    Ports,
    Shutdown,
    FaultyNetwork,
    FaultyChat,
    FaultyStore,
    Tokens,
    Times,
    Limits,
)
CLINICAL_MACHINES: tuple[type[ConcurrentMachine], ...] = (
    SqliteRegistry,
    SqliteDetectionStore,
    SqliteContention,
    SharedCache,
    SharedModels,
    AiosqliteRegistry,
    AiosqliteDetectionStore,
    CancelledWaiters,
    AsyncpgCarePlans,
    AsyncpgReadCommittedRegistry,
    AsyncpgRepeatableReadRegistry,
    AsyncpgSerializableRegistry,
    AsyncpgDetectionStore,
    AsyncpgContention,
    PsycopgCarePlans,
    PsycopgReadCommittedRegistry,
    PsycopgRepeatableReadRegistry,
    PsycopgSerializableRegistry,
    PsycopgDetectionStore,
    PsycopgContention,
)


def backend_of(machine: type[ConcurrentMachine]) -> str:
    """Return the driver that a machine of the clinical store uses, or nothing."""
    return str(getattr(machine, "backend", ""))


def isolation_of(machine: type[ConcurrentMachine]) -> str:
    """Return the isolation level at which a machine of the clinical store runs."""
    return getattr(machine, "isolation", None) or "serializable"
