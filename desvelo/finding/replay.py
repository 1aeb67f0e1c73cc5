"""Running a finding again: the same decisions, and a check that nothing else differs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from desvelo.errors import ReplayDiverged, TargetError, UsageError
from desvelo.finding.finding import Finding, Replay, versions
from desvelo.finding.source import changed_modules, source_hash

if TYPE_CHECKING:
    from desvelo.execution import Outcome, Settings
    from desvelo.scenario import Scenario


def replay(finding: Finding) -> Replay:
    """Replay a finding of `desvelo.explore`; raises `ReplayDiverged` when the code has changed."""
    from desvelo.execution import execute
    from desvelo.exploration import young_garbage_only
    from desvelo.schedule.policy import Fifo, Recorded
    from desvelo.story.details import every_step
    from desvelo.story.story import tell
    from desvelo.world.boundary import Boundary

    if finding.kind == "nondeterminism":
        raise UsageError(
            f"{finding.path or 'this finding'} is about a target that two runs of one schedule do "
            "not agree on; there is nothing to replay until that is mended"
        )
    if finding.choices is not None:
        from desvelo.machine.replay import replay_machine

        return replay_machine(finding)
    scenario = scenario_of(finding)
    settings = settings_of(finding, scenario)
    schedule, names = finding.schedule, finding.operations
    with Boundary(), young_garbage_only():
        # The first run of a process imports and caches; it is not like the others.
        plain = execute(scenario, Fifo(), settings, seed=schedule.seed)
        missing = [name for name in names if name not in plain.operations]
        if missing:
            raise ReplayDiverged(
                f"{_the_file(finding)} no longer fits the code: the scenario has no operation "
                f"{missing[0]!r} any more, it has {', '.join(plain.operations)}; explore again"
            )
        outcome = execute(
            scenario,
            Recorded(schedule.values()),
            settings,
            seed=schedule.seed,
            only=names,
            trace=True,
        )
        result = judge(finding, outcome, changed=changes(finding, scenario))
        if outcome.failure is not None:
            plain = execute(scenario, Fifo(), settings, seed=schedule.seed, only=names, trace=True)
            result.story = tell(finding, outcome, plain)
        result.trace = every_step(outcome)
    return result


def scenario_of(finding: Finding) -> Scenario:
    """Load the scenario that a finding names; a relative file also from beside the finding."""
    from desvelo.scenario import load_scenario

    reference = finding.scenario
    place, _, name = reference.partition(":")
    if "::" in reference:
        raise UsageError(
            f"{_the_file(finding)} was found by the test {reference}; replay it with "
            f"`pytest {reference} --replay={finding.path}`"
        )
    if place.endswith(".py") and not Path(place).is_file() and finding.path is not None:
        for folder in finding.path.resolve().parents:
            if (folder / place).is_file():
                reference = f"{folder / place}:{name}" if name else str(folder / place)
                break
    try:
        return load_scenario(reference)
    except UsageError as error:
        raise TargetError(
            f"the scenario of {_the_file(finding)} cannot be loaded: {error}"
        ) from error


def settings_of(finding: Finding, scenario: Scenario) -> Settings:
    """Return the settings that a finding was made with."""
    from desvelo.execution import Settings
    from desvelo.exploration import files_to_trace
    from desvelo.world import MAX_POLLS
    from desvelo.world.threads.where import files_to_switch_in

    known = finding.settings
    return Settings(
        latency=float(known.get("latency", 0.1)),
        mode=str(known.get("mode", "asyncio-order")),
        leaks=bool(known.get("leaks", True)),
        trace_files=files_to_trace(known.get("trace")),
        max_polls=int(known.get("max_polls", MAX_POLLS)),
        granularity=str(known.get("granularity", "line")),
        switch_files=files_to_switch_in(
            scenario.file, files_to_trace(known["trace"]) if known.get("trace") else None
        ),
    )


def changes(finding: Finding, scenario: Scenario) -> list[str]:
    """Name the parts of the code that are not what they were when the finding was made."""
    found = changed_modules(finding.sources)
    if not found and finding.source and source_hash(scenario.file) != finding.source:
        found = [scenario.name]
    return found


def changes_of(finding: Finding) -> list[str]:
    """Name the modules that are not what they were when the finding was made."""
    return changed_modules(finding.sources)


def judge(finding: Finding, outcome: Outcome, *, changed: list[str]) -> Replay:
    """Compare what a replay did with what the finding recorded."""
    digest = outcome.trace.digest() if outcome.trace is not None else ""
    identical = digest == finding.digest
    since = f"{_and(changed)} {'has' if len(changed) == 1 else 'have'} changed since"
    failure = outcome.failure
    if failure is not None:
        same_type = type(failure.error).__name__ == _error_type(finding)
        if same_type and _place(failure.site) == _place(finding.site):
            note = "every event the same" if identical else "but not every event was the same"
            if not identical:
                note += f": {since if changed else _versions(finding)}"
            return Replay(True, identical, f"it fails again, {note}: {failure.summary()}", digest)
        said = f"it fails in another way now: {failure.summary()} ({failure.site})"
        return Replay(False, False, said, digest, other=True)
    difference = first_divergence(finding, outcome)
    unmet = unmet_deviations(finding, outcome)
    if difference is None and not unmet:
        why = f"; {since}" if changed else ""
        said = f"it does not fail any more: the same decisions now end well{why}"
        return Replay(False, identical, said, digest)
    if changed and not unmet:
        # A repair changes what happens; what was out of the ordinary has still come about.
        return Replay(
            False,
            False,
            f"it does not fail any more: {since}, and with the same deviations it now ends well "
            f"(the run is another one: {difference})",
            digest,
        )
    parts = [difference] if difference else []
    if unmet:
        parts.append(f'the deviation "{unmet[0]}" never came up')
    why = since if changed else _versions(finding)
    raise ReplayDiverged(
        f"{_the_file(finding)} no longer fits the code: {', and '.join(parts)}; {why}"
    )


def first_divergence(finding: Finding, outcome: Outcome) -> str | None:
    """Say at which decision the replay left the recording, or nothing when it never did."""
    recorded = [(str(kind), str(actor)) for kind, actor, _ in finding.decisions]
    met = list(outcome.kinds or ())
    for number, (expected, got) in enumerate(zip(recorded, met, strict=False), 1):
        if expected != got:
            return (
                f"at decision {number} of {len(recorded)} the recording has {_name(expected)}, "
                f"the replay {_name(got)}"
            )
    if len(met) < len(recorded):
        return (
            f"at decision {len(met) + 1} of {len(recorded)} the recording has "
            f"{_name(recorded[len(met)])}, but the replay had ended"
        )
    if len(met) > len(recorded):
        return (
            f"the recording ends after {len(recorded)} decisions, the replay goes on with "
            f"{_name(met[len(recorded)])}"
        )
    return None


def unmet_deviations(finding: Finding, outcome: Outcome) -> list[str]:
    """Return the deviations of a finding whose decision was never asked in a run."""
    met = {deviation.key for deviation in outcome.schedule.deviations}
    return [d.describe() for d in finding.schedule.deviations if d.key not in met]


_KINDS = {
    "arrive": "the start",
    "deliver": "a delivery",
    "connect": "a connection",
    "accept": "an acceptance",
    "writable": "room to write",
    "job": "a job",
    "answer": "a job's result",
    "timer": "a timer",
    "ready": "a step",
    "split": "a message",
    "pause": "a switch point",
    "wake": "the end of a wait",
    "spawn": "the start of a thread",
    "call": "a call into the event loop",
    "preempt": "a switch point of the event loop",
    "cancel": "the cancellation",
    "fault": "a fault",
    "strike": "the moment of a fault",
}


def _name(pair: tuple[str, str]) -> str:
    kind, actor = pair
    return f"{_KINDS.get(kind, kind)} of {actor!r}"


def _the_file(finding: Finding) -> str:
    return str(finding.path) if finding.path is not None else "this finding"


def _place(site: str) -> str:
    """Strip the line, for code above it may have moved, and the folders, which differ by place."""
    return re.sub(r":\d+", "", site).rpartition("/")[2]


def _and(names: list[str]) -> str:
    shown = names[:3] + ([f"{len(names) - 3} more"] if len(names) > 3 else [])
    return (
        shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""
    )


def _versions(finding: Finding) -> str:
    """Say which version differs; if none does, the target itself must."""
    now = versions()
    for package, then in finding.versions.items():
        if now.get(package) != then:
            return f"it was made with {package} {then}, this is {now.get(package, 'without it')}"
    return "no source has changed, so something in the target is not under control"


def _error_type(finding: Finding) -> str:
    return str(getattr(finding.error, "type_name", type(finding.error).__name__))
