"""The webhook phase against real server processes, right ones and wrong ones."""

import socket

import pytest

from desvelo.errors import TargetError, UsageError
from desvelo.measure.phases import webhook
from desvelo.measure.plan import Webhook
from desvelo.measure.result import Status
from desvelo.servers.launch import free_port


def test_a_correct_server_passes_and_what_it_used_is_its_own(small):
    result = webhook.run(small())
    assert result.status is Status.PASSED, result.reason
    assert result.metrics["requests"].value == 100
    assert result.metrics["success_rate"].value == 1
    assert result.latency is not None
    assert result.latency.count == 100
    assert "80 keys acknowledged, 20 refused, 0 without a word" in result.notes[0]
    # A small server has far less memory than a machine has in use.
    assert 0 < result.metrics["memory"].value < 2**28


@pytest.mark.parametrize(
    ("fault", "metric", "word"),
    [
        ("loses", "lost", "acknowledged and not stored"),
        ("twice", "stored_twice", "stored more than once"),
        ("stores-refused", "stored_though_refused", "refused and stored all the same"),
    ],
)
def test_what_is_stored_wrongly_fails_the_phase_by_its_name(small, fault, metric, word):
    result = webhook.run(small(fault))
    assert result.status is Status.FAILED
    assert word in result.reason
    assert result.metrics[metric].value > 0
    assert result.metrics["success_rate"].value == 1, "the answers alone look well"
    others = {"lost", "stored_twice", "stored_though_refused"} - {metric}
    assert not any(result.metrics[other].value for other in others)


def test_a_server_that_dies_under_load_fails_the_phase_and_what_was_measured_is_kept(small):
    result = webhook.run(small("dies", requests=5_000))
    assert result.status is Status.FAILED
    assert "the server ended with exit status 7; its last output: out of ink" in result.reason
    assert 29 <= result.metrics["requests"].value < 5_000
    assert result.errors
    # It was started once more, and what it had acknowledged was there.
    assert result.metrics["lost"].value == 0


def test_an_interrupted_phase_has_what_was_measured_until_then(small):
    context = small(requests=10_000)

    class After:
        """Interrupts when fifty requests have ended."""

        count = 0

        def start(self, label, total):
            return self

        def advance(self, by=1):
            self.count += by
            if self.count == 50:
                context.interruption.set()

        def finish(self):
            self.finished = True

    context.progress = After()
    result = webhook.run(context)
    assert result.status is Status.INTERRUPTED
    assert 50 <= result.metrics["requests"].value < 10_000
    assert result.metrics["lost"].value == 0
    assert context.progress.finished


def test_without_requests_the_phase_has_shown_nothing(small):
    result = webhook.run(small(requests=0))
    assert result.status is Status.FAILED
    assert result.reason == "no request was sent, so nothing was shown"


def test_a_target_without_a_server_is_told_what_it_lacks(small):
    context = small()
    context.target = object()
    with pytest.raises(TargetError, match=r"has no webhook_requests\(\)"):
        webhook.run(context)


def test_a_live_server_that_does_not_answer_is_a_skip_with_a_reason(small):
    result = webhook.run(small(url=f"http://127.0.0.1:{free_port()}"))
    assert result.status is Status.SKIPPED
    assert "does not answer: Connection refused" in result.reason


def test_arrivals_at_a_rate_are_counted_as_such(small):
    result = webhook.run(small(webhook=Webhook(40, 10, rate=400)))
    assert result.status is Status.PASSED, result.reason
    assert (result.steps[0].users, result.steps[0].offered) == (0, 400)
    assert result.steps[0].requests == 40


def test_a_port_that_was_asked_for_and_is_taken_is_refused_with_its_owner(small):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port} is taken by \S+ \(process \d+\)"):
            webhook.run(small(port=port))
