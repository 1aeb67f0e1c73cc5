from pathlib import Path

import pytest

from desvelo.errors import UsageError
from desvelo.measure.plan import PHASES, PROFILES, Webhook, Wishes, plan


def test_without_a_name_all_phases_run_in_order_behind_the_baseline():
    assert plan(Wishes()).phases == PHASES
    assert plan(Wishes()).full_system
    some = plan(Wishes(("webhook", "baseline")))
    assert (some.phases, some.full_system) == (("baseline", "webhook"), False)


def test_the_profile_ci_has_the_numbers_of_the_strategy_document():
    ci = PROFILES["ci"]
    assert (ci.load.workers, ci.load.maxfail) == ((10, 20), (5, 10))
    assert (ci.endurance.times, ci.endurance.images) == (100, 50)
    assert ci.webhook == Webhook(1000, 50)
    assert (ci.database.threads, ci.database.iterations) == (20, 50)
    assert (ci.memory.repetitions, ci.io.workers, ci.io.images) == (20, 10, 100)


def test_numbers_of_the_command_line_come_before_those_of_the_profile():
    settings = plan(Wishes(requests=7, users=30, times=4, workers=3, maxfail=2, seconds=0.5))
    assert settings.webhook.requests == settings.webhook.concurrency == 7
    assert settings.load.users == (1, 2, 5, 10, 20, 30)
    assert (settings.load.workers, settings.load.maxfail) == ((3,), (2,))
    assert (settings.endurance.times, settings.memory.repetitions) == (4, 4)
    assert (settings.endurance.seconds, settings.load.seconds) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (Wishes(requests=0), "--requests is 0; it must be more than 0, for a phase that ran noth"),
        (Wishes(rate=-1.0), "--rate is -1"),
        (Wishes(rate=float("nan")), "--rate is nan"),
        (Wishes(seconds=0.0), "--for is 0"),
        (Wishes(port=70000), "--port is 70000"),
        (Wishes(port=8000, url="http://127.0.0.1:1"), "with --url there is none"),
        (Wishes(profile="nightli"), "did you mean 'nightly'?"),
        (Wishes(url="vigia.example"), "is not a URL such as http://127.0.0.1:8000"),
        (Wishes(url="http://127.0.0.1:99999"), "is not a URL"),
        (Wishes(url="http://localhost.evil.example"), "--allow-host localhost.evil.example"),
        (Wishes(url="http://127.0.0.1@evil.example/"), "a name and password in a URL"),
        (Wishes(url="http://127.0.0.1:8000/?token=x"), "no '?' or '#'"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_name(wishes, said):
    with pytest.raises(UsageError) as refused:
        plan(wishes)
    assert said in str(refused.value)


def test_another_machine_is_allowed_by_name_only():
    url = "http://vigia.example:8000/"
    assert plan(Wishes(url=url, allowed_hosts=("vigia.example",))).url == url[:-1]
    with pytest.raises(UsageError):
        plan(Wishes(url=url, allowed_hosts=("example",)))


def numbers_told(profile):
    """Return the cells of a profile in the table of docs/phases/index.md."""
    load = profile.load
    suites = zip(load.workers, load.maxfail, strict=True)
    return [
        ", ".join(map(str, load.users)),
        f"{load.seconds:g}",
        ", ".join(f"{workers} ({maxfail})" for workers, maxfail in suites),
        str(profile.endurance.times),
        str(profile.endurance.images),
        str(profile.memory.repetitions),
        f"{profile.memory.every:g}",
        f"{profile.io.workers} × {profile.io.images}",
        f"{profile.database.threads} × {profile.database.iterations} × 3",
        f"{profile.webhook.requests:,}, {profile.webhook.concurrency}",
    ]


def test_the_documented_numbers_of_the_profiles_are_true():
    page = Path(__file__).parents[2] / "docs/phases/index.md"
    table = page.read_text(encoding="utf-8").partition("| | `quick` |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.split("|")[2:-1]] for row in table.splitlines()[2:]]
    assert [list(column) for column in zip(*rows, strict=True)] == [
        numbers_told(PROFILES[name]) for name in ("quick", "ci", "nightly")
    ]
