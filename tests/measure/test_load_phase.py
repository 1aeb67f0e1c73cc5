"""The load phase against a real server process."""

from desvelo.measure.phases import load
from desvelo.measure.result import Run, Status


def test_users_and_then_arrivals_are_measured_and_compared_with_the_store(small):
    result = load.run(small())
    assert result.status is Status.PASSED, result.reason
    assert result.errors == {}
    closed = [step for step in result.steps if step.users]
    # Beyond those that were planned the ramp goes on until it has seen a knee, or too many users.
    assert [step.users for step in closed] in ([1, 2], [1, 2, 5], [1, 2, 5, 10])
    if result.knee is None:
        assert any("no knee was found" in note for note in result.notes)
        best = max(closed, key=lambda step: step.throughput)
    else:
        best = closed[result.knee]
        assert result.metrics["knee_users"].value == best.users
    offered = [step.offered for step in result.steps if not step.users]
    assert offered == [0.5 * best.throughput, 0.8 * best.throughput]
    assert result.metrics["throughput"].value == best.throughput
    assert result.metrics["lost"].value == 0
    assert result.latency == result.steps[-1].latency
    run = Run("r", "2026-01-01T00:00:00+00:00", "small", "quick", phases=[result])
    assert Run.from_json(run.as_json()) == run


def test_a_server_that_dies_ends_the_ramp(small):
    result = load.run(small("dies"))
    assert result.status is Status.FAILED
    assert "exit status 7" in result.reason
    assert result.metrics["lost"].value == 0
