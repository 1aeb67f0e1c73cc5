"""What must not be left half done is waited for."""

import asyncio

import pytest

from vigia_reference.outlast import outlast


@pytest.mark.asyncio
async def test_several_cancellations_are_passed_on_once_when_all_is_done() -> None:
    jobs = [asyncio.create_task(asyncio.sleep(0.01 * n, n)) for n in (1, 2)]
    waiting = asyncio.create_task(outlast(*jobs))
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [job.result() for job in jobs] == [1, 2]


@pytest.mark.asyncio
async def test_what_a_job_raises_is_left_to_it() -> None:
    async def fail() -> None:
        raise LookupError

    job = asyncio.create_task(fail())
    await outlast(job)
    assert isinstance(job.exception(), LookupError)
