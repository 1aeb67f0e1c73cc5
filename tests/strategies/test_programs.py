"""What the strategy for programs promises: short lists of calls that meet."""

from collections import Counter
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import Call, envelopes, minimal, patient_codes, programs, skeleton
from strategies.programs import KINDS

same_every_time = settings(database=None, derandomize=True, max_examples=150, deadline=None)


def kinds(calls):
    return [call.kind for call in calls]


def delivered(calls):
    """All envelopes that a program sends for the first time."""
    for call in calls:
        if call.kind == "deliver":
            yield call.body
        elif call.kind == "batch":
            yield from call.body


@same_every_time
@given(programs())
def test_the_first_two_calls_are_concurrent_near_equal_and_not_both_readers(calls):
    first, second = calls[:2]
    assert first.after is None
    assert second.after is None
    assert skeleton(first.code) == skeleton(second.code)
    assert {first.kind, second.kind} != {"get_patient"}


@pytest.mark.parametrize("most", [2, 3, 6])
def test_a_program_has_at_least_two_calls_and_at_most_as_many_as_allowed(most):
    lengths = Counter()

    @same_every_time
    @given(programs(max_calls=most))
    def count(calls):
        lengths[len(calls)] += 1

    count()
    assert set(lengths) == set(range(2, most + 1))


def test_one_call_cannot_meet_anything():
    with pytest.raises(ValueError, match="max_calls is 1, but it takes two calls to meet"):
        minimal(programs(max_calls=1))


@same_every_time
@given(programs(max_calls=5))
def test_a_call_only_waits_for_earlier_calls(calls):
    assert all(call.after is None or 0 <= call.after < at for at, call in enumerate(calls))


@same_every_time
@given(programs())
def test_every_body_is_about_the_patient_of_its_call(calls):
    for call in calls:
        if call.kind == "get_patient":
            assert call.body is None
        elif call.kind == "update_patient":
            assert call.body["patient_code"] == call.code
        elif call.kind == "batch":
            assert 2 <= len(call.body) <= 3
            assert call.body[0]["payload"]["patient_code"] == call.code
            pool = {one.code for one in calls}
            assert all(len(pool | {one["payload"]["patient_code"]}) <= 3 for one in call.body)
        else:
            assert call.body["payload"]["patient_code"] == call.code


@same_every_time
@given(programs())
def test_a_duplicate_repeats_an_earlier_delivery_in_a_body_of_its_own(calls):
    for at, call in enumerate(calls):
        if call.kind == "duplicate":
            originals = [one for one in calls[:at] if one.kind == "deliver"]
            assert call.body in [one.body for one in originals]
            assert all(call.body is not one.body for one in originals)


@same_every_time
@given(programs())
def test_only_duplicates_share_an_identifier(calls):
    ids = [body["webhook_id"] for body in delivered(calls)]
    assert len(set(ids)) == len(ids)


@same_every_time
@given(programs(codes=patient_codes().map(lambda code: (code,))))
def test_calls_stay_on_the_codes_that_are_given(calls):
    assert len({call.code for call in calls}) == 1


def test_every_kind_of_call_is_common():
    """At least one call of twenty: rarer kinds would be missed by budgets of a few seconds."""
    seen = Counter()

    @settings(same_every_time, max_examples=300)
    @given(programs())
    def count(calls):
        seen.update(kinds(calls))

    count()
    assert set(seen) == set(KINDS)
    assert min(seen.values()) > seen.total() / 20


def test_the_simplest_program_delivers_twice_for_one_patient():
    calls = minimal(programs())
    assert kinds(calls) == ["deliver", "deliver"]
    plain = minimal(envelopes())
    for call in calls:
        assert (call.code, call.after) == ("TEST-001", None)
        assert call.body == {**plain, "webhook_id": call.body["webhook_id"]}


SHRUNK = {
    ("deliver", "duplicate"): lambda calls: "duplicate" in kinds(calls),
    ("get_patient", "batch"): lambda calls: {"get_patient", "batch"} <= set(kinds(calls)),
    ("deliver", "update_patient"): lambda calls: {"deliver", "update_patient"} <= set(kinds(calls)),
    ("deliver", "deliver", "deliver"): lambda calls: kinds(calls).count("deliver") == 3,
}


@pytest.mark.parametrize(("simplest", "wanted"), SHRUNK.items(), ids=lambda x: str(x)[:40])
def test_calls_that_do_not_matter_are_shrunk_away(simplest, wanted):
    calls = minimal(programs(), wanted)
    assert sorted(kinds(calls)) == sorted(simplest)
    assert {call.code for call in calls} == {"TEST-001"}
    assert {call.after for call in calls} == {None}


def test_near_equal_codes_meet_in_two_calls():
    def on_two_spellings(calls):
        return calls[0].code != calls[1].code

    assert [call.code for call in minimal(programs(), on_two_spellings)] == ["TEST-001", "test-001"]


def test_a_retry_can_come_after_the_answer_was_lost():
    def retried(calls):
        return any(
            call.kind == "duplicate"
            and call.after is not None
            and calls[call.after].kind == "deliver"
            for call in calls
        )

    assert len(minimal(programs(), retried)) == 3


def test_a_call_cannot_be_changed_by_accident():
    call = Call("get_patient", "TEST-001")
    with pytest.raises(FrozenInstanceError):
        call.code = "TEST-002"


def test_programs_follow_the_pool_that_is_given():
    codes = st.just(("A", "B"))
    assert {call.code for call in minimal(programs(codes=codes), lambda calls: len(calls) > 2)} <= {
        "A",
        "B",
    }
