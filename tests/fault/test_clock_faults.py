"""The wall clock jumps and summer time comes; monotonic time, timers and UTC do not notice."""

# ruff: noqa: DTZ005, DTZ006 - naive local time is what this is about

import asyncio
import datetime as dt
import os
import time

import pytest

from desvelo import World, fault


def watch(one, variant=0):
    """Return what a program sees pass, in seconds, when a fault strikes while it sleeps."""

    async def program():
        wall, steady = time.time(), time.monotonic()
        local, utc = dt.datetime.now(), dt.datetime.now(dt.UTC)
        hour = time.localtime().tm_hour
        await asyncio.sleep(10)
        return {
            "wall": round(time.time() - wall),
            "steady": round(time.monotonic() - steady),
            "local": round((dt.datetime.now() - local).total_seconds()),
            "utc": round((dt.datetime.now(dt.UTC) - utc).total_seconds()),
            "hours": (time.localtime().tm_hour - hour) % 24,
        }

    with World() as world:
        asked = world.start("watch", program)
        world.step(3)
        for fault_of_variant in [one] if not isinstance(one, list) else one:
            world.within(lambda f=fault_of_variant: f.strike(world, asked, variant))
        world.finish([asked])
        return asked.result


@pytest.mark.parametrize(("variant", "jump"), [(0, 3600), (1, -3600), (2, 60), (5, -86400)])
def test_a_jump_moves_the_wall_clock_and_nothing_else(variant, jump):
    seen = watch(fault.clock_jump, variant)
    assert (seen["wall"], seen["local"], seen["utc"]) == (10 + jump,) * 3
    assert seen["steady"] == 10


@pytest.mark.parametrize("zone", ["UTC", "Europe/Madrid", "America/St_Johns", "Asia/Tokyo"])
def test_summer_time_moves_local_time_and_nothing_else(zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        spring = watch(fault.daylight_saving.begins)
        assert spring == {"wall": 10, "steady": 10, "local": 3610, "utc": 10, "hours": 1}
        autumn = watch(fault.daylight_saving.ends)
        assert autumn == {"wall": 10, "steady": 10, "local": -3590, "utc": 10, "hours": 23}
        assert os.environ["TZ"] == zone
        assert time.tzname[0] != "STD"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_summer_time_that_has_begun_can_only_end():
    begins, ends = fault.daylight_saving.begins, fault.daylight_saving.ends
    assert watch([begins, begins])["local"] == 3610
    assert watch([begins, ends])["local"] == 10


def test_moments_before_the_change_keep_their_local_time():
    with World() as world:

        async def program():
            before = time.time() - 1
            then = dt.datetime.fromtimestamp(before)
            fault.daylight_saving.begins.strike(world, None, 0)
            assert dt.datetime.fromtimestamp(before) == then
            return (dt.datetime.now() - then).total_seconds()

        assert round(world.run(program())) == 3601
