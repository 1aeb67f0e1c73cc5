"""What a generated locustfile uses: drawn requests, judged answers, and one ledger for all workers.

Every worker reports to the master what became of its requests, together with Locust's own numbers.
"""

from __future__ import annotations

import http.client
import sys
import time
from collections import deque
from typing import Any

from desvelo.measure.load.ledger import Fate, Ledger
from desvelo.measure.load.request import WebhookRequest
from desvelo.measure.load.tally import judged
from desvelo.targets import load_target

AT_ONCE = 50
"""Requests that are made together; meanwhile a worker sends nothing."""
_REPORTED = "desvelo"


class Checks:
    """Requests and checks of a target, for Locust's users."""

    def __init__(self, target: str, seed: int) -> None:
        self._target = load_target(target)
        self._seed = seed
        # Drawing takes a moment, in which a worker that had begun would seem to be missing.
        self._ready = deque(self._requests())
        # gevent looks at the clock only when it is given a turn, and would think that the run
        # had begun before the drawing.
        time.sleep(0.001)
        self._ledger = Ledger()
        self._unreported: dict[str, Fate] = {}

    def next_request(self) -> WebhookRequest:
        """Return a request that nobody has sent yet."""
        if not self._ready:
            self._ready.extend(self._requests())
        return self._ready.popleft()

    def _requests(self) -> list[WebhookRequest]:
        made: list[WebhookRequest] = self._target.webhook_requests(self._seed, AT_ONCE)
        return made

    def judge(
        self, request: WebhookRequest, status: int, body: bytes | None, error: object = None
    ) -> str:
        """Note an answer; return the kind of error, empty when it is as it should be.

        ``status`` 0 is a request that was not answered.
        """
        missing = "" if status else str(error or "no answer")
        fate, kind = judged(request, self._target.accepted, status, body or b"", missing)
        self._ledger.note(request.key, fate)
        if request.key:
            self._unreported[request.key] = self._ledger.fates[request.key]
        return kind

    def listen(self, events: Any) -> None:
        """Report to the master, and compare with the store when Locust quits."""
        events.report_to_master.add_listener(self._report)
        events.worker_report.add_listener(self._reported)
        events.quitting.add_listener(self._compare)

    def _report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        unreported, self._unreported = self._unreported, {}
        data[_REPORTED] = {key: int(fate) for key, fate in unreported.items()}

    def _reported(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        for key, fate in data.get(_REPORTED, {}).items():
            self._ledger.note(key, Fate(fate))

    def _compare(self, environment: Any, **_: Any) -> None:
        from locust.runners import WorkerRunner

        if isinstance(environment.runner, WorkerRunner):
            return
        host = environment.host or environment.user_classes[0].host
        try:
            problems = self._ledger.against(self._target.stored_keys(host)).sentences()
        except (OSError, http.client.HTTPException) as error:
            problems = [f"what is stored could not be read, so nothing is known of it: {error}"]
        if not self._ledger.fates:
            problems.append("no request was sent, so nothing was shown")
        if problems:
            environment.process_exit_code = 1
        counts = ", ".join(
            f"{len(self._ledger.of(fate)):,} {fate.name.lower()}" for fate in reversed(Fate)
        )
        told = "; ".join(problems) or "each is stored as it should be"
        sys.stderr.write(f"desvelo: of the keys sent {counts}: {told}\n")
