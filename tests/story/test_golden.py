import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import goldens

WIDEST = 118
SCREEN = 44


@pytest.mark.parametrize("name", sorted(goldens.SCHEDULES))
def test_a_story_is_told_as_in_its_golden_file(name):
    golden = (goldens.GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert goldens.story(name) == golden, "if this is wanted, run scripts/golden"


@pytest.mark.parametrize("path", sorted(goldens.GOLDEN.glob("*.txt")), ids=lambda p: p.stem)
def test_a_story_fits_on_one_screen_and_names_no_address(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= SCREEN
    assert max(len(line) for line in lines) <= WIDEST
    assert "0x" not in "\n".join(lines)
    assert path.stem in goldens.SCHEDULES


@pytest.mark.parametrize("path", sorted(goldens.GOLDEN.glob("*.txt")), ids=lambda p: p.stem)
def test_a_row_of_a_table_fills_one_cell(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        if line[1:4] != " | " or "---" in line:
            continue
        cells = [cell.strip() for cell in line[3:].strip("| ").split(" | ")]
        filled = [cell for cell in cells if cell]
        heading = len(filled) == len(cells) > 1
        assert heading or len(filled) == 1, line
