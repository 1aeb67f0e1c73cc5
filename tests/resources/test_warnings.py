"""What a library reports by a ResourceWarning of its own counts, unless a filter hides it."""

import tempfile
import warnings

import pytest

from desvelo import leak_check
from desvelo.resources.leak import ResourceLeak


def leave_a_file():
    open(__file__, encoding="utf-8")  # noqa: SIM115, PTH123


def leave_a_folder():
    tempfile.TemporaryDirectory()


def warn():
    warnings.warn("unclosed till", ResourceWarning, stacklevel=1)


@pytest.mark.parametrize(
    ("leave", "kind"), [(leave_a_file, "file"), (leave_a_folder, "tempfile"), (warn, "resource")]
)
def test_a_resource_that_is_dropped_open_is_reported(leave, kind):
    with warnings.catch_warnings():
        # As Python begins: hidden by its default, which nobody chose.
        warnings.resetwarnings()
        warnings.simplefilter("ignore", ResourceWarning)
        before = list(warnings.filters)
        with pytest.raises(ResourceLeak) as caught, leak_check():
            leave()
        assert warnings.filters == before
    [leak] = caught.value.leaks
    assert leak.kind == kind
    assert f"in {leave.__name__}, called from " in leak.made


def test_what_a_filter_of_the_users_hides_stays_hidden():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="unclosed till", category=ResourceWarning)
        with leak_check():
            warn()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_warning_that_is_made_an_error_is_heard_too():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ResourceLeak) as caught, leak_check():
            leave_a_file()
    assert [leak.kind for leak in caught.value.leaks] == ["file"]
