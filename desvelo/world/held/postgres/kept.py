"""A real connection that stays open from execution to execution."""

from __future__ import annotations

from desvelo.world.held.postgres.connection import Address, PostgresConnection, message, query
from desvelo.world.held.postgres.wording import frames


class Kept(PostgresConnection):
    """A real connection that is lent to one session after another."""

    def __init__(self, address: Address, parameters: dict[str, str]) -> None:
        super().__init__(address, parameters)
        self.unanswered = 0
        """Requests for a reset whose answers have not been read."""
        self.tells = True
        """Whether it tells what it waits for."""
        self.kind: tuple[tuple[str, str], ...] = ()
        pieces = frames(self.greeting) or iter(())
        self.parameters = b"".join(message(b"S", body) for kind, body in pieces if kind == ord("S"))

    def reset(self) -> None:
        """Ask for the state of a new connection, without waiting for the answer."""
        data = query("DISCARD ALL")
        self.unanswered = 1
        if self.status != "I":
            data = query("ROLLBACK") + data
            self.unanswered = 2
        self.send(data)

    def wait_for_reset(self) -> None:
        """Wait until the reset is done."""
        while self.unanswered:
            kind, _ = self.receive()
            if kind == b"Z":
                self.unanswered -= 1
        self.status = "I"
