"""Files through a pipeline in real processes: what is judged wrongly or left behind is told."""

import re
import sys

import pytest

from desvelo.measure.context import Context
from desvelo.measure.phases import io
from desvelo.measure.plan import Io, Settings
from desvelo.measure.result import Status

TARGET = """
import os
import tempfile
import time

FAULT = {fault!r}


class Target:
    name = "pictures"

    def image_files(self, seed, count, folder):
        files = []
        for number in range(count):
            path = folder / f"{{number}}.png"
            path.write_bytes(b"broken" if number % 4 == 3 else b"picture")
            files.append((path, number % 4 != 3))
        return files

    def process_image(self, path):
        broken = path.read_bytes() == b"broken"
        if path.name == "2.png":
            if FAULT == "raises":
                raise MemoryError
            if FAULT == "dies":
                os._exit(9)
            if FAULT == "hangs":
                time.sleep(60)
            if FAULT == "copies":
                path.with_suffix(".copy").write_bytes(b"")
            if FAULT == "temporary":
                tempfile.mkstemp("left.png")
        if broken and FAULT == "accepts":
            return True
        return not broken


def load(variant=None):
    return Target()
"""


@pytest.fixture
def phase(tmp_path, monkeypatch):
    def run(fault):
        (tmp_path / "pictures.py").write_text(TARGET.format(fault=fault))
        (tmp_path / "work").mkdir()
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        sys.modules.pop("pictures", None)
        import pictures

        settings = Settings(target="pictures", io=Io(workers=2, images=4))
        return io.run(Context(pictures.load(), settings, tmp_path / "work"))

    return run


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("none", None),
        ("accepts", "2 images processed, and to be refused, such as 3.png"),
        ("raises", "1 image failed with MemoryError, and to be processed, such as 2.png"),
        ("copies", "1 file left behind, such as 2.copy"),
        ("temporary", r"1 file left behind, such as \w+left.png"),
    ],
)
def test_what_the_pipeline_does_wrong_is_told(phase, fault, problem):
    result = phase(fault)
    assert len(result.problems) == (problem is not None), result.problems
    if problem is not None:
        assert re.fullmatch(problem, result.problems[0]), result.problems
    assert result.metrics["images"].value == 8
    assert result.metrics["memory"].value > 0
    assert result.latency.count == 8


def test_a_worker_that_dies_fails_the_phase_and_the_rest_is_kept(phase):
    result = phase("dies")
    assert result.status is Status.FAILED
    assert result.reason.startswith("the image workers ended with status 9 after ")
    assert 4 <= result.metrics["images"].value < 8


def test_a_worker_that_hangs_is_ended(phase, monkeypatch):
    monkeypatch.setattr(io, "PATIENCE", 2.0)
    result = phase("hangs")
    assert result.reason == "for 2 s no image was done any more"
