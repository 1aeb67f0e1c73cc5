"""What the strategies for patient codes promise."""

import json
import re
import unicodedata

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from strategies import (
    code_pools,
    colliding_codes,
    confusable_with,
    hostile_codes,
    minimal,
    patient_codes,
    pooled_codes,
    skeleton,
)
from strategies.confusables import LOOK_ALIKES

same_every_time = settings(database=None, derandomize=True, max_examples=30, deadline=None)

_samples = {}


def sample(strategy):
    """Enough values to see every kind (the rarest come once in 50), drawn once for all tests."""
    key = repr(strategy)
    if key not in _samples:
        values = _samples[key] = []

        @settings(same_every_time, max_examples=250, phases=[Phase.generate])
        @given(strategy)
        def draw(value):
            values.append(value)

        draw()
    return _samples[key]


SEEN_IN_USE = {
    "padded": r"TEST-\d{3}",
    "counted": r"TEST-[1-9]\d*",
    "simulated": r"SIM-\d{3}",
    "worker": r"STRESS-\d+-\d+",
    "hospital": r"[A-Z]{2,6}-\d{4}-\d{3}",
    "temporary": r"TEMP-[0-9A-F]{8}",
}


@same_every_time
@given(patient_codes())
def test_every_patient_code_has_a_shape_that_was_seen_in_use(code):
    assert any(re.fullmatch(shape, code, re.ASCII) for shape in SEEN_IN_USE.values())


@pytest.mark.parametrize("shape", SEEN_IN_USE.values(), ids=SEEN_IN_USE)
def test_every_shape_seen_in_use_is_drawn(shape):
    assert any(re.fullmatch(shape, code) for code in sample(patient_codes()))


def test_some_codes_are_what_the_real_command_line_accepts():
    strict = re.compile(r"[A-Z]{2}-\d{4}-\d{3}")
    assert minimal(patient_codes(), strict.fullmatch) == "CD-2025-001"


def test_the_simplest_code_is_the_first_test_patient():
    assert minimal(patient_codes()) == "TEST-001"


@same_every_time
@given(st.data(), patient_codes())
def test_another_spelling_is_never_equal_and_always_near_equal(data, code):
    other = data.draw(confusable_with(code))
    assert other != code
    assert skeleton(other) == skeleton(code)


@same_every_time
@given(st.data(), st.text(max_size=8) | st.text("-0oO1lIi \u200bÉе٣", max_size=8))
def test_another_spelling_of_any_text_is_near_equal_too(data, text):
    other = data.draw(confusable_with(text))
    assert other != text
    assert skeleton(other) == skeleton(text)


@same_every_time
@given(st.data(), patient_codes())
def test_spellings_of_spellings_stay_near_equal(data, code):
    once = data.draw(confusable_with(code))
    assert skeleton(data.draw(confusable_with(once))) == skeleton(code)


KINDS_OF_SPELLING = {
    "other case": lambda new: new == "cd-2025-001",
    "blanks around": lambda new: new.strip() == "CD-2025-001",
    "newline after, which $ lets pass": lambda new: re.match("^CD-2025-001$", new),
    "more leading zeros": lambda new: re.fullmatch("CD-0*2025-00+1", new),
    "fewer leading zeros": lambda new: new == "CD-2025-1",
    "full width": lambda new: unicodedata.normalize("NFKC", new) == "CD-2025-001",
    "Cyrillic": lambda new: any("CYRILLIC" in unicodedata.name(char, "") for char in new),
    "letter for a digit": lambda new: re.fullmatch("CD-[2O]{2}25-[0O]{2}[1Il]", new),
    "digits that only str.isdigit knows": lambda new: re.fullmatch(r"CD-\d{4}-\d{3}", new),
    "decomposed": lambda new: "C\u0301" in new,
    "composed": lambda new: "Ć" in new,
    "zero width": lambda new: "\u200b" in new,
}


@pytest.mark.parametrize("kind", KINDS_OF_SPELLING.values(), ids=KINDS_OF_SPELLING)
def test_every_kind_of_spelling_is_found(kind):
    assert any(kind(new) for new in sample(confusable_with("CD-2025-001")))


def test_an_accented_code_meets_its_other_normal_form():
    assert minimal(confusable_with("É"), lambda new: new == "E\u0301")
    assert minimal(confusable_with("E\u0301"), lambda new: new == "É")


def test_look_alikes_are_single_letters_of_other_scripts_that_no_normal_form_unifies():
    for char, likes in LOOK_ALIKES.items():
        for like in likes:
            assert len(like) == 1
            assert not like.isascii()
            assert unicodedata.normalize("NFKC", like) == like
            assert unicodedata.name(like).startswith(("CYRILLIC", "GREEK"))
            assert skeleton(like) == skeleton(char)


def test_different_patients_have_different_skeletons():
    codes = ["TEST-001", "TEST-002", "SIM-001", "CD-2025-001", "VG-2025-001", "STRESS-0-1"]
    assert len({skeleton(code) for code in codes}) == len(codes)


@same_every_time
@given(hostile_codes())
def test_a_hostile_code_survives_json_and_utf_8(code):
    assert json.loads(json.dumps(code, ensure_ascii=False).encode()) == code


@same_every_time
@given(hostile_codes())
def test_no_hostile_code_is_one_that_the_real_command_line_accepts(code):
    assert code is None or not re.fullmatch(r"[A-Z]{2}-[0-9]{4}-[0-9]{3}", code)


HOSTILE = [None, "", " ", "\u200b", "*", "'", "\x00", "\r\nX-Injected: 1", "A" * 2_705]


@pytest.mark.parametrize("end", HOSTILE, ids=lambda code: ascii(code)[:30])
def test_this_hostile_code_or_ending_is_found(end):
    codes = sample(hostile_codes())
    assert end in codes or any(code.endswith(end) for code in codes if code and end)


@same_every_time
@given(hostile_codes())
def test_no_hostile_code_is_too_long_to_be_printed_by_hypothesis(code):
    assert len(repr(code)) < 29_000


@same_every_time
@given(code_pools())
def test_a_pool_has_one_to_three_different_codes_of_at_most_two_patients(pool):
    assert 1 <= len(set(pool)) == len(pool) <= 3
    assert len({skeleton(code) for code in pool}) <= 2


def test_two_calls_on_one_pool_meet_in_most_cases():
    """By construction 0.76 of all pairs meet.

    With 200 independent draws fewer than 130 of them (0.65) would be 3.6 standard deviations away.
    Hypothesis' draws are not independent, but with a fixed seed the count is always the same.
    """
    met = []

    @settings(same_every_time, max_examples=200)
    @given(colliding_codes(2))
    def draw_pairs(codes):
        met.append(skeleton(codes[0]) == skeleton(codes[1]))

    draw_pairs()
    assert sum(met) / len(met) > 0.65


def test_calls_meet_on_equal_and_on_near_equal_codes_and_miss_each_other_too():
    assert minimal(colliding_codes(2)) == ["TEST-001", "TEST-001"]
    assert minimal(colliding_codes(2), lambda two: two[0] != two[1]) == ["TEST-001", "test-001"]
    apart = minimal(colliding_codes(2), lambda two: skeleton(two[0]) != skeleton(two[1]))
    assert apart == ["TEST-001", "TEST-002"]


def test_pools_are_made_from_the_codes_that_are_given():
    assert minimal(code_pools(st.just("VG-2025-007"))) == ("VG-2025-007",)


@same_every_time
@given(st.lists(pooled_codes(), min_size=9, max_size=9))
def test_nine_codes_drawn_apart_in_one_test_case_come_from_one_pool(codes):
    assert len(set(codes)) <= 3


def test_pools_with_different_keys_are_independent():
    mine, yours = pooled_codes(key="mine"), pooled_codes(key="yours")
    first, second = minimal(
        st.tuples(mine, yours), lambda pair: skeleton(pair[0]) < skeleton(pair[1])
    )
    assert (first, second) == ("TEST-001", "TEST-002")


def test_codes_outside_the_pool_are_never_drawn():
    with pytest.raises(NoSuchExample):
        find(
            pooled_codes(st.just(("A", "B"))),
            lambda code: code not in {"A", "B"},
            settings=same_every_time,
        )
