"""The folder of a run goes with the run, however that ends."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from desvelo.measure.scratch import scratch_folder

RUN = (
    "import time; from desvelo.measure.scratch import scratch_folder\n"
    "with scratch_folder() as folder:\n"
    "    (folder / 'store').write_text('x'); print(folder, flush=True); time.sleep(60)\n"
)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def made_long_ago(folder):
    os.utime(folder, (time.time() - 3600,) * 2)


def test_a_folder_is_gone_after_the_run(temporary):
    with scratch_folder() as folder:
        (folder / "store").write_text("x")
        assert list(temporary.iterdir()) == [folder]
    assert not list(temporary.iterdir())


def test_what_a_killed_run_has_left_is_taken_away_by_the_next_and_nothing_else(temporary):
    bystander = temporary / "desvelo-running"
    bystander.mkdir()
    made_long_ago(bystander)
    with subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        left = Path(run.stdout.readline().decode().strip())
        made_long_ago(left)
        with scratch_folder():
            assert (left / "store").exists(), "it is still in use"
        run.send_signal(signal.SIGKILL)
    with scratch_folder() as folder:
        assert sorted(temporary.iterdir()) == sorted([bystander, folder])
