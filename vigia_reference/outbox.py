"""Messages to people: written with the detection they tell of, sent afterwards, each once."""

import asyncio
import logging
import sqlite3
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from vigia_reference.database import Database
from vigia_reference.payloads import DetectionReport

WHATSAPP_BODY_LIMIT = 1600
"""Longest WhatsApp body that Twilio accepts, in characters."""

_ALERT = (
    "Vigía: riesgo {risk} de lesión por presión.\n"
    "Paciente: {code}\n"
    "Lesiones detectadas: {count}, grado máximo {stage}.\n"
    "Imagen: {image}\n"
    "Revise al paciente lo antes posible."
)
logger = logging.getLogger(__name__)

_RISK_NAMES = {"HIGH": "ALTO", "CRITICAL": "CRÍTICO"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `id` is 0 until it has been enqueued."""

    channel: str
    recipient: str
    body: str
    id: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryCount:
    """What one round of deliveries did."""

    sent: int
    failed: int


class NotSent(Exception):
    """Raised by whoever sends: the message did not go out, and may be sent again."""


class Outbox:
    """Holds messages until `deliver_pending` is called.

    *chat_channel* and *whatsapp_number* are where alerts go.
    """

    def __init__(self, database: Database, chat_channel: str, whatsapp_number: str) -> None:
        self._database = database
        self._chat_channel = chat_channel
        self._whatsapp_number = whatsapp_number

    def alerts(self, report: DetectionReport) -> list[Message]:
        """The messages that a report calls for: chat from HIGH on, WhatsApp too when CRITICAL."""
        risk = report.risk_level
        if risk not in _RISK_NAMES:
            return []
        body = _ALERT.format(
            risk=_RISK_NAMES[risk],
            code=report.patient_code,
            count=len(report.lesions),
            stage=report.worst_stage,
            image=report.image_path or "sin imagen",
        )
        messages = [Message("chat", self._chat_channel, body)]
        if risk == "CRITICAL":
            messages.append(whatsapp_message(self._whatsapp_number, body))
        return messages

    def enqueue(self, connection: sqlite3.Connection, message: Message) -> None:
        """Write *message* as part of the caller's transaction."""
        connection.execute(
            "INSERT INTO outbox (channel, recipient, body, created_at) VALUES (?, ?, ?, ?)",
            (message.channel, message.recipient, message.body, datetime.now(UTC).isoformat()),
        )

    async def in_doubt(self) -> list[Message]:
        """Messages that somebody is sending, or began to send and was cancelled, oldest first."""
        return await self._database.run(self._with_status, "claimed")

    async def pending(self) -> list[Message]:
        """Messages that nobody has begun to send, oldest first."""
        return await self._database.run(self._with_status, "pending")

    async def deliver_pending(self, send: Callable[[Message], Awaitable[object]]) -> DeliveryCount:
        """Send what is pending, oldest first.

        Each message is claimed before it is sent, so several callers share the work and none is
        sent twice.  When *send* raises `NotSent`, the message becomes pending again for the next
        round.  When it raises anything else, or the caller is cancelled inside of it, nobody knows
        whether the message went out: it stays claimed, because an alert missed is seen in the
        table and one sent twice is not.
        """
        sent = failed = last = 0
        while (message := await self._claim(last)) is not None:
            last = message.id
            try:
                await send(message)
            except NotSent:
                failed += 1
                await self._database.run(self._settle, message.id, "pending")
            except Exception:
                failed += 1
                logger.exception("Nobody knows whether message %s went out", message.id)
            else:
                sent += 1
                await self._database.run(self._settle, message.id, "sent")
        return DeliveryCount(sent, failed)

    async def _claim(self, after: int) -> Message | None:
        claim = str(uuid.uuid4())
        try:
            return await self._database.run(self._claim_next, after, claim)
        except asyncio.CancelledError:
            # The claim is committed all the same, and nobody has begun to send.
            await self._database.run(self._release, claim)
            raise

    @staticmethod
    def _with_status(connection: sqlite3.Connection, status: str) -> list[Message]:
        rows = connection.execute(
            "SELECT channel, recipient, body, id FROM outbox WHERE status = ? ORDER BY id",
            (status,),
        )
        return [Message(*row) for row in rows]

    @staticmethod
    def _claim_next(connection: sqlite3.Connection, after: int, claim: str) -> Message | None:
        row = connection.execute(
            "UPDATE outbox SET status = 'claimed', claim = ?, attempts = attempts + 1 WHERE id = ("
            "SELECT id FROM outbox WHERE status = 'pending' AND id > ? ORDER BY id LIMIT 1"
            ") RETURNING channel, recipient, body, id",
            (claim, after),
        ).fetchone()
        return None if row is None else Message(*row)

    @staticmethod
    def _release(connection: sqlite3.Connection, claim: str) -> None:
        connection.execute(
            "UPDATE outbox SET status = 'pending' WHERE claim = ? AND status = 'claimed'", (claim,)
        )

    @staticmethod
    def _settle(connection: sqlite3.Connection, message_id: int, status: str) -> None:
        connection.execute(
            "UPDATE outbox SET status = ?, sent_at = ? WHERE id = ?",
            (status, datetime.now(UTC).isoformat() if status == "sent" else None, message_id),
        )


def whatsapp_message(number: str, body: str) -> Message:
    """Address a WhatsApp message, and cut a body that is too long.

    >>> whatsapp_message("+34600000001", "hola").recipient
    'whatsapp:+34600000001'
    >>> len(whatsapp_message("whatsapp:+34600000001", "x" * 2000).body)
    1600
    """
    if not number.startswith("whatsapp:"):
        number = f"whatsapp:{number}"
    if len(body) > WHATSAPP_BODY_LIMIT:
        body = f"{body[: WHATSAPP_BODY_LIMIT - 1]}…"
    return Message("whatsapp", number, body)
