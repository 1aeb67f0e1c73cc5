"""Running a finding again: the same decisions, and a check that nothing else differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from desvelo.errors import ReplayDiverged, TargetError, UsageError
from desvelo.finding.finding import Finding, Replay
from desvelo.finding.source import source_hash

if TYPE_CHECKING:
    from desvelo.execution import Outcome


def replay(finding: Finding) -> Replay:
    """Replay a finding of `desvelo.explore`; raises `ReplayDiverged` when the code has changed."""
    from desvelo.execution import Settings, execute  # noqa: PLC0415 - a replay starts from above
    from desvelo.explore import files_to_trace, young_garbage_only  # noqa: PLC0415
    from desvelo.scenario import load_scenario  # noqa: PLC0415
    from desvelo.schedule.policy import Fifo, Recorded  # noqa: PLC0415
    from desvelo.world.boundary import Boundary  # noqa: PLC0415

    if finding.kind == "nondeterminism":
        raise UsageError(f"{finding.path or 'this finding'} is about a target that two runs of one schedule do not "
                         "agree on; there is nothing to replay until that is mended")
    try:
        scenario = load_scenario(finding.scenario)
    except UsageError as error:
        raise TargetError(f"the scenario of this finding cannot be loaded: {error}") from error
    settings = Settings(latency=float(finding.settings.get("latency", 0.1)),
                        mode=str(finding.settings.get("mode", "asyncio-order")),
                        leaks=bool(finding.settings.get("leaks", True)),
                        trace_files=files_to_trace(finding.settings.get("trace")))
    with Boundary(), young_garbage_only():
        execute(scenario, Fifo(), settings, seed=finding.schedule.seed)
        outcome = execute(scenario, Recorded(finding.schedule.values()), settings, seed=finding.schedule.seed,
                          only=finding.operations, trace=True)
    changed = source_hash(scenario.file) != finding.source
    return judge(finding, outcome, changed=changed)


def judge(finding: Finding, outcome: Outcome, *, changed: bool) -> Replay:
    """Compare what a replay did with what the finding recorded."""
    missing = [name for name in finding.operations if name not in outcome.operations]
    if missing:
        raise ReplayDiverged(f"the code has changed: there is no operation {missing[0]!r} any more; explore again")
    digest = outcome.trace.digest() if outcome.trace is not None else ""
    failed = outcome.failure is not None and type(outcome.failure.error).__name__ == _error_type(finding)
    if failed:
        same = digest == finding.digest
        note = "every event the same" if same else "but not every event was the same"
        if not same and changed:
            note += ": the code has changed since"
        assert outcome.failure is not None
        return Replay(True, same, f"it fails again, {note}: {outcome.failure.summary()}", digest)
    difference = first_divergence(finding, outcome)
    if difference is not None:
        why = "the code has changed since" if changed else "the target is not deterministic or a version differs"
        raise ReplayDiverged(f"{difference}; {why}, so this file no longer fits")
    if outcome.failure is not None:
        return Replay(False, False, f"it fails in another way now: {outcome.failure.summary()}", digest)
    return Replay(False, False, "it does not fail any more: the same decisions now end well", digest)


def first_divergence(finding: Finding, outcome: Outcome) -> str | None:
    """Say at which decision the replay left the recording, or nothing when it never did."""
    recorded = [(str(kind), str(actor)) for kind, actor, _ in finding.decisions]
    met = list(outcome.kinds or ())
    for number, (expected, got) in enumerate(zip(recorded, met, strict=False), 1):
        if expected != got:
            return (f"the replay diverges at decision {number}: expected {_name(expected)}, "
                    f"got {_name(got)}")
    if len(met) < len(recorded):
        return (f"the replay diverges at decision {len(met) + 1}: expected {_name(recorded[len(met)])}, "
                "but the execution ended")
    if len(met) > len(recorded):
        return f"the replay diverges at decision {len(recorded) + 1}: expected the end, got {_name(met[len(recorded)])}"
    return None


def _name(pair: tuple[str, str]) -> str:
    kind, actor = pair
    return f"{kind!r} of {actor}"


def _error_type(finding: Finding) -> str:
    return str(getattr(finding.error, "type_name", type(finding.error).__name__))
