"""Faults of scenarios are decisions of the schedule: drawn, shrunk, told, kept and replayed."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from desvelo import explore, fault
from desvelo.errors import UsageError
from desvelo.finding.export import export
from desvelo.finding.finding import Finding

ROOT = Path(__file__).parents[2]
EXAMPLE = str(ROOT / "examples" / "lost_answer.py")


def test_a_fault_is_found_shrunk_told_replayed_and_exported(tmp_path):
    finding = explore(EXAMPLE, max_seconds=20, seed=1, save=tmp_path)
    assert str(finding.error).startswith("stored: ")
    [deviation] = finding.schedule.deviations
    assert (deviation.key.kind, deviation.value) == ("fault", 2)
    name = deviation.key.actor
    assert f"fault: the connection of {name} breaks before its response" in finding.story()
    assert finding.confirmed
    [saved] = tmp_path.glob("*.json")
    again = Finding.load(saved).replay()
    assert again.failed
    assert again.identical
    output = subprocess.run(
        [sys.executable, "-m", "desvelo", "replay", saved],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "it fails again, every event the same" in output.stdout
    written = export(finding, tmp_path / "test_exported.py")
    assert f"schedule.strike('{name}', 2)" in written.read_text().replace('"', "'")


class Restarted:
    """Forgets on a restart what it has acknowledged."""

    faults = (fault.restart_server,)

    async def setup(self):
        state = {"kept": [], "told": 0}
        state["server"] = await self.listening(state)
        return state

    async def listening(self, state):
        async def serve(reader, writer):
            if line := await reader.readline():
                state["kept"].append(line)
                writer.write(b"ok\n")
            writer.close()

        return await asyncio.start_server(serve, "127.0.0.1", 80)

    async def restart(self, state):
        state["server"].close()
        state["kept"].clear()
        state["server"] = await self.listening(state)

    def operations(self, state):
        async def order():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", 80)
            except OSError:
                return
            try:
                writer.write(b"x\n")
                state["told"] += await reader.readline() == b"ok\n"
                await asyncio.sleep(1)
            except OSError:
                pass
            finally:
                writer.close()

        return {"order": order}

    def check(self, state):
        assert len(state["kept"]) >= state["told"]

    async def teardown(self, state):
        state["server"].close()


def test_a_scenario_restarts_its_server_itself():
    finding = explore(Restarted, max_seconds=20, seed=1)
    assert {one.key.kind for one in finding.schedule.deviations} == {"fault", "strike"}
    assert finding.confirmed, finding.confirmation


def test_no_more_faults_come_than_are_allowed():
    struck = []

    class Counting:
        faults = (
            fault.Fault("one", lambda world, operation, variant: struck[-1].append("one")),
            fault.Fault("two", lambda world, operation, variant: struck[-1].append("two")).at_most(
                1
            ),
        )
        most_faults = 3

        def setup(self):
            struck.append([])

        def operations(self, state):
            return {f"op{number}": lambda: asyncio.sleep(1) for number in range(5)}

    assert explore(Counting, max_seconds=20, max_executions=150, seed=1) is None
    assert max(len(one) for one in struck) == 3
    assert max(one.count("two") for one in struck) == 1
    assert not struck[0]


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"faults": (fault.restart_server,)}, "which needs a function restart(); write one"),
        ({"fault": (fault.stall,)}, "there is no attribute 'fault'; did you mean 'faults'?"),
        ({"cancelable": True}, "there is no attribute 'cancelable'; did you mean 'cancellable'?"),
        ({"most_faults": 2}, "has most_faults, but no faults; list them in faults"),
        ({"faults": (fault.stall,), "most_faults": "3"}, "most_faults is '3'; it must be"),
    ],
)
def test_what_cannot_be_declared_is_said(declared, sentence):
    with pytest.raises(UsageError, match="scenario 'Wrong'") as raised:
        explore(type("Wrong", (), {"operations": lambda self, state: {}, **declared}))
    assert sentence in str(raised.value)
