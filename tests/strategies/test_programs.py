"""What the strategy for programs promises: short lists of calls that meet."""

from collections import Counter
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import Phase, given, settings

from strategies import Call, envelopes, minimal, patient_codes, programs, skeleton
from strategies.programs import KINDS

same_every_time = settings(database=None, derandomize=True, max_examples=20, deadline=None)


@pytest.fixture(scope="module")
def many():
    """A hundred programs of up to four calls."""
    drawn = []

    @settings(same_every_time, max_examples=100, phases=[Phase.generate])
    @given(programs())
    def draw(calls):
        drawn.append(calls)

    draw()
    return drawn


def kinds(calls):
    return [call.kind for call in calls]


def delivered(calls):
    """All envelopes that a program sends for the first time."""
    for call in calls:
        if call.kind == "deliver":
            yield call.body
        elif call.kind == "batch":
            yield from call.body


def test_the_first_two_calls_are_concurrent_near_equal_and_not_both_readers(many):
    for calls in many:
        first, second = calls[:2]
        assert first.after is None
        assert second.after is None
        assert skeleton(first.code) == skeleton(second.code)
        assert {first.kind, second.kind} != {"get_patient"}


@pytest.mark.parametrize("most", [2, 5])
def test_a_program_has_at_least_two_calls_and_at_most_as_many_as_allowed(most):
    lengths = Counter()

    @settings(same_every_time, max_examples=40, phases=[Phase.generate])
    @given(programs(max_calls=most))
    def count(calls):
        lengths[len(calls)] += 1

    count()
    assert set(lengths) == set(range(2, most + 1))


def test_one_call_cannot_meet_anything():
    with pytest.raises(ValueError, match="max_calls is 1, but it takes two calls to meet"):
        minimal(programs(max_calls=1))


def test_a_call_only_waits_for_earlier_calls(many):
    for calls in many:
        assert all(call.after is None or 0 <= call.after < at for at, call in enumerate(calls))


def test_every_body_is_about_the_patient_of_its_call(many):
    for calls in many:
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


def test_a_duplicate_repeats_an_earlier_delivery_in_a_body_of_its_own(many):
    for calls in many:
        for at, call in enumerate(calls):
            if call.kind == "duplicate":
                originals = [one for one in calls[:at] if one.kind == "deliver"]
                assert call.body in [one.body for one in originals]
                assert all(call.body is not one.body for one in originals)


def test_only_duplicates_share_an_identifier(many):
    for calls in many:
        ids = [body["webhook_id"] for body in delivered(calls)]
        assert len(set(ids)) == len(ids)


@same_every_time
@given(programs(codes=patient_codes().map(lambda code: (code,))))
def test_calls_stay_on_the_codes_that_are_given(calls):
    assert len({call.code for call in calls}) == 1


def test_every_kind_of_call_is_common(many):
    """At least one call of twenty: rarer kinds would be missed by budgets of a few seconds."""
    seen = Counter(kind for calls in many for kind in kinds(calls))
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
    ("get_patient", "update_patient"): lambda calls: (
        {"get_patient", "update_patient"} <= set(kinds(calls))
    ),
}


@pytest.mark.parametrize(("simplest", "wanted"), SHRUNK.items(), ids=map(" ".join, SHRUNK))
def test_calls_that_do_not_matter_are_shrunk_away(simplest, wanted):
    calls = minimal(programs(), wanted)
    assert sorted(kinds(calls)) == sorted(simplest)
    assert {call.code for call in calls} == {"TEST-001"}
    assert {call.after for call in calls} == {None}


def test_near_equal_codes_meet_in_two_calls():
    def on_two_spellings(calls):
        return calls[0].code != calls[1].code

    assert [call.code for call in minimal(programs(), on_two_spellings)] == ["TEST-001", "test-001"]


def test_a_retry_that_is_not_concurrent_follows_its_original():
    calls = minimal(
        programs(),
        lambda calls: any(call.kind == "duplicate" and call.after is not None for call in calls),
    )
    assert kinds(calls) == ["deliver", "deliver", "duplicate"]
    assert calls[calls[2].after].body == calls[2].body


def test_a_call_cannot_be_changed_by_accident():
    call = Call("get_patient", "TEST-001")
    with pytest.raises(FrozenInstanceError):
        call.code = "TEST-002"
