"""A finding as a plain pytest test: no drawing, the schedule stated in words."""

from __future__ import annotations

import os
import re
from pathlib import Path

from desvelo.errors import UsageError
from desvelo.finding.files import write_whole
from desvelo.finding.finding import Finding
from desvelo.finding.interleaving import as_call

_DEFAULTS = {
    "mode": "asyncio-order",
    "latency": 0.1,
    "leaks": True,
    "granularity": "line",
    "max_polls": 50_000,
}


def export(finding: Finding, output: Path, *, force: bool = False) -> Path:
    """Write a test that runs the schedule of a finding; refuses to overwrite without ``force``."""
    text = as_test(finding, output)
    try:
        write_whole(output, text, replace=force)
    except FileExistsError:
        raise UsageError(f"{output} is already there; give --force to overwrite it") from None
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    return output


def as_test(finding: Finding, output: Path) -> str:
    """Return the source of the test."""
    if finding.kind == "nondeterminism":
        raise UsageError(
            f"{finding.path or 'this finding'} is about a target that two runs of one schedule do "
            "not agree on; no test can pin that"
        )
    if finding.choices is not None:
        from desvelo.machine.export import as_machine_test

        return as_machine_test(finding)
    imports, scenario = _scenario(finding, output)
    story = [f"# {line}".rstrip() for line in finding.story().splitlines()]
    arguments = [scenario, f"operations={_quoted(repr(finding.operations))}"]
    if finding.schedule.seed:
        arguments.append(f"seed={finding.schedule.seed}")
    for name, usual in _DEFAULTS.items():
        value = finding.settings.get(name, usual)
        if value != usual:
            arguments.append(f"{name}={_quoted(repr(value))}")
    body = [f"    schedule = Interleaving({', '.join(arguments)})"]
    if len(body[0]) > 96:
        lines = [f"        {argument}," for argument in arguments]
        body = ["    schedule = Interleaving(", *lines, "    )"]
    for deviation in finding.schedule.deviations:
        body.append(
            f"    schedule.{_quoted(as_call(deviation))}  # {_effect(deviation.describe())}"
        )
    if not finding.schedule.deviations:
        body.append("    # Plain order: nothing has to be held back.")
    body.append("    schedule.run()")
    return "\n".join(
        [
            '"""A failure that `desvelo explore` found, as a test that stays."""',
            "",
            *imports,
            "",
            *story,
            "",
            "",
            f"def {_name(finding)}():",
            *body,
            "",
        ]
    )


def _scenario(finding: Finding, output: Path) -> tuple[list[str], str]:
    """Return the lines that import the scenario and the expression that names it."""
    place, _, name = finding.scenario.partition(":")
    ours = "from desvelo.finding.interleaving import Interleaving"
    if not place.endswith(".py"):
        package, _, module = place.rpartition(".")
        line = f"from {package} import {module}" if package else f"import {module}"
        if name:
            line, module = f"from {place} import {name}", name
        return [*sorted([ours, line])], module
    file = _find(finding, place)
    relative = Path(os.path.relpath(file, output.resolve().parent)).as_posix()
    parts = relative.split("/")
    up = parts.count("..")
    where = f'Path(__file__).parent{".parent" * up} / "{"/".join(parts[up:])}"'
    if name:
        where = f'f"{{{where.replace(chr(34), chr(39))}}}:{name}"'
    return ["from pathlib import Path", "", ours, "", f"SCENARIO = {where}"], "SCENARIO"


def _find(finding: Finding, place: str) -> Path:
    if not Path(place).is_file() and finding.path is not None:
        for folder in finding.path.resolve().parents:
            if (folder / place).is_file():
                return folder / place
    return Path(place).resolve()


def _name(finding: Finding) -> str:
    words = re.sub(r"\W+", "_", "_and_".join(finding.operations[:3])).strip("_").lower()
    ends = (
        {"race": "does_not_race", "deadlock": "does_not_deadlock", "leak": "leaks_nothing"}
        if len(finding.operations) == 1
        else {"race": "do_not_race", "deadlock": "do_not_deadlock", "leak": "leak_nothing"}
    )
    usual = "ends_well" if len(finding.operations) == 1 else "end_well"
    return f"test_{words or 'operations'}_{ends.get(finding.kind, usual)}"


def _effect(text: str) -> str:
    return text.partition(": ")[2] or text


def _quoted(text: str) -> str:
    """Turn the quotes of a repr into those that formatters want, where none are inside."""
    return text.replace("'", '"') if '"' not in text else text
