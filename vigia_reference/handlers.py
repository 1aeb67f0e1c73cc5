"""What is done for each event: the built-in handler first, then those that were registered."""

import asyncio
import inspect
import json
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from vigia_reference.codes import InvalidPatientCode
from vigia_reference.database import DatabaseClosed
from vigia_reference.events import Event, EventType
from vigia_reference.idempotency import AlreadyAnswered, Idempotency
from vigia_reference.listeners import Listeners
from vigia_reference.outbox import Outbox
from vigia_reference.payloads import DetectionReport, InvalidPayload, new_values, text_field
from vigia_reference.records import PatientRecords
from vigia_reference.remote import CacheUnavailable
from vigia_reference.store import AuditEntry, OutcomeT, PatientStore, Record, Write

# Before anything is stored, these say that it was done before, or that nothing can be promised.
_NOT_THE_HANDLERS_FAULT = (AlreadyAnswered, sqlite3.Error, DatabaseClosed, CacheUnavailable)


class Delivery:
    """One event on its way through its handlers."""

    def __init__(self, event: Event, ledger: Idempotency) -> None:
        self.event = event
        self._ledger = ledger
        self._results: list[Record] = []
        self._running = ""
        # What the database holds of this delivery, once it holds something: results and answer.
        self._recorded: list[Record] | None = None
        self._answer = ""
        self._checked = False

    async def commit(self, write: Write[OutcomeT]) -> OutcomeT:
        """Run *write* in one transaction with the record that this event has been processed.

        The answer on record is what it would be if this were the last handler; `finish` amends it
        when others follow.  May be called once per delivery.
        """
        recorded: list[Record] = []
        text = ""

        def preliminary(outcome: OutcomeT) -> str:
            nonlocal recorded, text
            recorded = [*self._results, _done(self._running, outcome.summary())]
            text = _answer(recorded)
            return text

        outcome = await self._ledger.commit(self.event.webhook_id, write, preliminary)
        self._recorded, self._answer = recorded, text
        return outcome

    async def run(self, name: str, work: Awaitable[Any]) -> None:
        """Wait for one handler and note its result, or that it raised."""
        self._running = name
        try:
            self._results.append(_done(name, await work))
        except Exception as error:
            if self._recorded is None and isinstance(error, _NOT_THE_HANDLERS_FAULT):
                raise
            self._results.append(_failed(name, error))

    async def check(self) -> None:
        """Raise `AlreadyAnswered` unless this delivery is the first of its event."""
        if self._recorded is None and not self._checked:
            await self._ledger.check(self.event.webhook_id)
            self._checked = True

    async def finish(self) -> str:
        """The answer, which is on record when this returns."""
        if self._recorded == self._results:
            return self._answer
        answer = _answer(self._results, self.event.event_type)
        if self._recorded is None:
            await self._ledger.commit(
                self.event.webhook_id, lambda connection: None, lambda nothing: answer
            )
        else:
            await self._ledger.amend(self.event.webhook_id, answer)
        return answer


Handler = Callable[[Delivery], Any]
"""A plain function or a coroutine function; what it returns is reported to the sender."""


class Handlers:
    """Runs the handlers of an event in order.

    A handler that raises is reported in the answer and does not stop the others.  Built-in
    handlers have their effect exactly once; registered ones are called at most once per event
    that carries a `webhook_id`.  When all have ended, *listeners* are told.
    """

    def __init__(
        self,
        store: PatientStore,
        records: PatientRecords,
        outbox: Outbox,
        ledger: Idempotency,
        listeners: Listeners | None = None,
    ) -> None:
        self._store = store
        self._records = records
        self._outbox = outbox
        self._ledger = ledger
        self._listeners = Listeners() if listeners is None else listeners
        self._builtin: dict[EventType, Callable[[Delivery], Awaitable[Record]]] = {
            EventType.DETECTION_COMPLETED: self.detection_completed,
            EventType.DETECTION_FAILED: self.detection_failed,
            EventType.PATIENT_UPDATED: self.patient_updated,
            EventType.PROTOCOL_TRIGGERED: self.protocol_triggered,
            EventType.ANALYSIS_READY: self.analysis_ready,
        }
        self._registered: dict[EventType, list[Handler]] = {event: [] for event in EventType}

    def register(self, event_type: EventType, handler: Handler) -> None:
        """Call *handler* with the `Delivery` of every event of this type, after those before it.

        A plain function runs in another thread, so that it may block.
        """
        self._registered[event_type].append(handler)

    def clear(self, event_type: EventType) -> None:
        """Remove all handlers of an event, the built-in one too."""
        self._builtin.pop(event_type, None)
        self._registered[event_type].clear()

    def counts(self) -> dict[str, int]:
        """How many handlers each event has, by wire name."""
        return {
            event.value: (event in self._builtin) + len(self._registered[event])
            for event in EventType
        }

    async def handle(self, event: Event) -> str:
        """Process *event* and return the answer's `data` as JSON text.

        Raises `sqlite3.Error`, `DatabaseClosed` or `CacheUnavailable` when the event could not be
        stored.
        """
        return await self._ledger.once(event.webhook_id, partial(self._attempt, event))

    async def detection_completed(self, delivery: Delivery) -> Record:
        """Store patient, image and detections, update the cache, and enqueue the alerts."""
        event = delivery.event
        report = DetectionReport.from_payload(event.payload, self._store.identify, event.timestamp)
        alerts = self._outbox.alerts(report)

        async def with_alerts(write: Write[OutcomeT]) -> OutcomeT:
            def write_both(connection: sqlite3.Connection) -> OutcomeT:
                outcome = write(connection)
                for alert in alerts:
                    self._outbox.enqueue(connection, alert)
                return outcome

            return await delivery.commit(write_both)

        saved = await self._records.save_detection(report, commit=with_alerts)
        return saved.summary()

    async def patient_updated(self, delivery: Delivery) -> Record:
        """Apply the changes that are news, and drop what is cached about the patient."""
        payload = delivery.event.payload
        updated = await self._records.update_patient(
            payload.get("patient_code"),
            new_values(payload.get("changes")),
            delivery.event.timestamp,
            commit=delivery.commit,
        )
        return updated.summary()

    async def detection_failed(self, delivery: Delivery) -> Record:
        """Write it to the audit log."""
        text_field(delivery.event.payload, "error")
        return await self._log(delivery, "lpp_image", None)

    async def protocol_triggered(self, delivery: Delivery) -> Record:
        """Write it to the audit log."""
        name = text_field(delivery.event.payload, "protocol_name")
        return await self._log(delivery, "protocol", name)

    async def analysis_ready(self, delivery: Delivery) -> Record:
        """Write it to the audit log."""
        analysis = text_field(delivery.event.payload, "analysis_id")
        return await self._log(delivery, "analysis", analysis)

    async def _attempt(self, event: Event) -> str:
        delivery = Delivery(event, self._ledger)
        builtin = self._builtin.get(event.event_type)
        if builtin is not None:
            await delivery.run(event.event_type.value, builtin(delivery))
        for handler in list(self._registered[event.event_type]):
            # Before anything that is not undone by a rollback.
            await delivery.check()
            await delivery.run(_name_of(handler), _call(handler, delivery))
        answer = await delivery.finish()
        self._listeners.tell(event)
        return answer

    async def _log(self, delivery: Delivery, entity_type: str, entity_id: str | None) -> Record:
        event = delivery.event
        self._store.identify(event.payload.get("patient_code"))
        entry: AuditEntry = await self._store.record_audit(
            event.event_type.value, entity_type, entity_id, event.payload, commit=delivery.commit
        )
        return entry.summary()


async def _call(handler: Handler, delivery: Delivery) -> Any:
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object whose call is a coroutine
    ):
        return await handler(delivery)
    result = await asyncio.get_running_loop().run_in_executor(None, handler, delivery)
    return await result if isinstance(result, Awaitable) else result


def _name_of(handler: Handler) -> str:
    return str(getattr(handler, "__name__", type(handler).__name__))


def _done(name: str, result: Any) -> Record:
    return {"handler": name, "success": True, "result": result}


def _failed(name: str, error: Exception) -> Record:
    told = str(error) if isinstance(error, InvalidPayload | InvalidPatientCode) else repr(error)
    return {"handler": name, "success": False, "error": told}


def _answer(results: list[Record], event_type: EventType | None = None) -> str:
    data: Record = {"processed_by": len(results), "results": results}
    if not results and event_type is not None:
        data["warning"] = f"No handlers registered for event type: {event_type.value}"
    try:
        return json.dumps(data)
    except (TypeError, ValueError):
        # A registered handler may return anything.
        return json.dumps(data, default=str, skipkeys=True)
