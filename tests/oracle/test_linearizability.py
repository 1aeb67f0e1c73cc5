"""Linearizability: orders that the model allows are found, others are refused."""

from types import SimpleNamespace

from desvelo.oracle.linearizability import Call, check_history, linearizable


class Register:
    def __init__(self):
        self.value = 0

    def write(self, value):
        self.value = value

    def read(self):
        return self.value

    def take(self):
        if not self.value:
            raise LookupError("nothing there")
        taken, self.value = self.value, 0
        return taken


def call(name, begun, ended, result=None, error=None, **arguments):
    handle = SimpleNamespace(
        name=name,
        begun_at=begun,
        ended_at=ended,
        done=ended is not None,
        error=error,
        result=result,
        outcome=lambda: f"returns {result}",
    )
    return Call(name, arguments, handle)


def test_no_calls_fit():
    assert linearizable([], Register)


def test_calls_one_after_the_other_must_fit_in_that_order():
    write = call("write", 0, 1, value=3)
    assert linearizable([write, call("read", 2, 3, result=3)], Register)
    assert not linearizable([write, call("read", 2, 3, result=0)], Register)


def test_calls_at_the_same_time_may_fit_in_either_order():
    write = call("write", 0, 5, value=3)
    for seen in (0, 3):
        assert linearizable([write, call("read", 2, 3, result=seen)], Register)


def test_two_reads_cannot_see_the_old_value_after_the_new():
    history = [
        call("write", 0, 9, value=3),
        call("read", 1, 2, result=3),
        call("read", 4, 5, result=0),
    ]
    assert not linearizable(history, Register)


def test_a_call_that_did_not_end_may_have_taken_effect_or_not():
    pending = call("write", 0, None, value=3)
    for seen in (0, 3):
        assert linearizable([pending, call("read", 2, 3, result=seen)], Register)


def test_a_call_that_failed_may_have_taken_effect_or_not_at_any_time_later():
    failed = call("write", 0, 1, value=3, error=OSError())
    history = [failed, call("read", 2, 3, result=0), call("read", 4, 5, result=3)]
    assert linearizable(history, Register)


def test_a_call_that_the_model_refuses_comes_at_another_time():
    taken = call("take", 0, 5, result=3)
    assert linearizable([taken, call("write", 1, 2, value=3)], Register)
    assert not linearizable([taken], Register)


def test_what_the_model_does_not_have_and_what_never_began_is_left_out():
    assert check_history([call("other", 0, 1), call("read", -1, None)], Register) is None


def test_a_failure_lists_the_calls():
    failure = check_history([call("read", 0, 1, result=7)], Register)
    assert failure.kind == "not-linearizable"
    assert failure.details[1:] == ("  read  ├┤  read() ➜ 7   ✗",)
    assert failure.summary() == (
        "no order of the calls explains read() ➜ 7 of read: the model says 0 in every order"
    )


def test_many_calls_at_the_same_time_are_judged_soon():
    history = [call("write", 0, 99, value=n) for n in range(9)]
    assert not linearizable([*history, call("read", 100, 101, result=77)], Register)
