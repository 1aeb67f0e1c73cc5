"""Searching with a machine inside a test, and keeping what was found."""

import pytest
from hypothesis import settings

from desvelo.machine.options import SearchOptions, searching_with
from desvelo.machine.profiles import machine_settings
from desvelo.machine.search import run_machine


class Search:
    """One search: what it raised, and every finding it wrote, the last one last."""

    def __init__(self, folder):
        self.folder = folder
        self.findings = []
        self.error = None
        self.executions = 0

    @property
    def finding(self):
        return self.findings[-1]

    @property
    def text(self):
        notes = getattr(self.error, "__notes__", [])
        return "\n".join([str(self.error), *notes])

    @property
    def steps(self):
        return [line for line in self.finding.inputs[1:-1] if ".interleave(" not in line]

    @property
    def size(self):
        """Steps and deviations."""
        return len(self.steps), self.finding.deviations


@pytest.fixture
def find(tmp_path):
    """Return a function that searches with a machine and returns what came of it."""

    def search(machine, *, seed=1, examples=100, options=(), **changed):
        done = Search(tmp_path)

        def count(collector):
            done.executions = collector.executions

        chosen = SearchOptions(
            seed=seed,
            save=tmp_path,
            on_finding=lambda finding, final: done.findings.append(finding),
            on_execution=count,
            **dict(options),
        )
        configured = settings(machine_settings(), max_examples=examples, database=None, **changed)
        with searching_with(chosen):
            try:
                run_machine(machine, configured)
            except (Exception, pytest.fail.Exception) as error:
                done.error = error
        return done

    return search
