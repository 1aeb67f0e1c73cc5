"""Time and chance inside SQLite are the world's."""

import sqlite3

from desvelo.world import World
from desvelo.world.sqlite import library, system

QUESTION = (
    "SELECT CURRENT_TIMESTAMP, datetime('now'), julianday('now'), unixepoch('now'), "
    "random(), hex(randomblob(8))"
)


def ask(seed):
    def question():
        connection = sqlite3.connect(":memory:")
        answer = connection.execute(QUESTION).fetchone()
        connection.close()
        return answer

    with World(seed=seed) as world:
        return world.within(question)


def test_the_library_of_this_python_can_be_reached():
    assert library.library() is not None


def test_sqlite_sees_the_worlds_time_and_chance():
    first = ask(1)
    assert first[:2] == ("2025-01-01 12:00:00", "2025-01-01 12:00:00")
    assert first[2:4] == (2460677.0, 1735732800)
    assert ask(1) == first
    assert ask(2)[:4] == first[:4]
    assert ask(2)[4:] != first[4:]


def test_outside_it_sees_its_own():
    connection = sqlite3.connect(":memory:")
    before = connection.execute(QUESTION).fetchone()
    ask(1)
    after = connection.execute(QUESTION).fetchone()
    assert before[0] > "2025-06"
    assert after[4:] != ask(1)[4:]
    assert not system.is_ours()
    connection.close()


def test_a_connection_of_the_world_sees_real_time_when_the_world_is_over():
    with World() as world:
        connection = world.within(lambda: sqlite3.connect(":memory:"))
    assert connection.execute("SELECT CURRENT_TIMESTAMP").fetchone() > ("2025-06",)
    connection.close()


def test_time_goes_on_inside_sqlite_as_it_does_outside():
    async def main():
        import asyncio

        connection = sqlite3.connect(":memory:")
        await asyncio.sleep(3600)
        answer = connection.execute("SELECT datetime('now')").fetchone()
        connection.close()
        return answer

    with World() as world:
        assert world.run(main()) == ("2025-01-01 13:00:00",)
