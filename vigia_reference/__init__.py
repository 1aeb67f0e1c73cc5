"""A small, correct re-creation of Vigía's own surface: the system that the suite tests by default.

Webhook server and client, patient and detection store, cache, rate limiter, idempotency keys and
message outbox, on asyncio, aiohttp and SQLite, and nothing else.  `System` is all of it together;
`defects` names the mistakes that can be switched on.
"""

from vigia_reference.cache import Cache
from vigia_reference.client import SyncWebhookClient, WebhookClient, WebhookResponse
from vigia_reference.codes import InvalidPatientCode, patient_code, temporary_code
from vigia_reference.database import Database, DatabaseClosed
from vigia_reference.events import Event, EventRejected, EventType
from vigia_reference.handlers import Delivery, Handlers
from vigia_reference.idempotency import Idempotency
from vigia_reference.outbox import Message, Outbox
from vigia_reference.payloads import DetectionReport, InvalidPayload
from vigia_reference.rate_limit import RateLimiter, RateLimits
from vigia_reference.records import PatientRecords
from vigia_reference.server import WebhookServer
from vigia_reference.store import PatientStore
from vigia_reference.system import Parts, Settings, System

__all__ = [
    "Cache",
    "Database",
    "DatabaseClosed",
    "Delivery",
    "DetectionReport",
    "Event",
    "EventRejected",
    "EventType",
    "Handlers",
    "Idempotency",
    "InvalidPatientCode",
    "InvalidPayload",
    "Message",
    "Outbox",
    "Parts",
    "PatientRecords",
    "PatientStore",
    "RateLimiter",
    "RateLimits",
    "Settings",
    "SyncWebhookClient",
    "System",
    "WebhookClient",
    "WebhookResponse",
    "WebhookServer",
    "patient_code",
    "temporary_code",
]
