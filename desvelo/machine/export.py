"""The finding of a machine as a plain pytest test: its steps as code, nothing drawn."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from desvelo.errors import UsageError
from desvelo.machine.code import not_code
from desvelo.machine.replay import load_machine, module_of

if TYPE_CHECKING:
    from desvelo.finding.finding import Finding


def as_machine_test(finding: Finding) -> str:
    """Return the source of a test that takes the steps of a machine's finding."""
    machine = load_machine(finding)
    place, _, name = finding.scenario.partition(":")
    module, _ = module_of(Path(place).resolve())
    odd = not_code(finding.inputs)
    if odd is not None:
        raise UsageError(
            f"{finding.path or 'this finding'} cannot be written as a test: `{odd}` has a value "
            "that is no code; replay it instead"
        )
    story = [f"# {line}".rstrip() for line in finding.story().splitlines()]
    steps = [line for line in finding.inputs if line != "state.teardown()"][1:]
    chosen = f'    with using_target("{finding.target}"):\n' if finding.target else ""
    imports = "from desvelo.targets import using_target\n" if finding.target else ""
    indent = " " * (8 if chosen else 4)
    body = "\n".join(f"{indent}    {line}" for line in steps) or f"{indent}    pass"
    return (
        '"""A failure that a concurrent machine found, as a test that stays."""\n\n'
        f"{imports}from {module} import {name.partition('.')[0]}\n\n"
        + "\n".join(story)
        + f"\n\n\ndef test_{_words(machine.__name__)}_{finding.kind.replace('-', '_')}():\n"
        f"{chosen}{indent}state = {name}()\n{indent}try:\n{body}\n"
        f"{indent}finally:\n{indent}    state.teardown()\n"
    ).replace(os.linesep, "\n")


def _words(name: str) -> str:
    """Write the name of a class as that of a function.

    >>> _words("WebhookDelivery")
    'webhook_delivery'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
