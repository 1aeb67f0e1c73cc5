"""Sets of futures, threads and queues are walked in one order in every process."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

SCRIPT = """
import concurrent.futures, functools, queue, sys, threading, time
from desvelo.execution import Settings, execute
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Scale, make_policy
from desvelo.world.boundary import Boundary

def mapped(seen):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        seen.append(list(pool.map(abs, range(4))))

def waited(seen):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done, _ = concurrent.futures.wait([pool.submit(abs, number) for number in range(6)])
        seen.append([future.result() for future in done])

def completed(seen):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(abs, number) for number in range(6)]
        time.sleep(1)
        seen.append([future.result() for future in concurrent.futures.as_completed(futures)])

def kept(seen):
    threads = {threading.Thread(target=seen.append, args=(number,)) for number in range(5)}
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    boxes = {queue.Queue(number) for number in range(1, 6)}
    seen.append([box.maxsize for box in boxes])

class Two:
    runtime = "threads"
    last = None
    what = ""

    def setup(self):
        self.seen = []
        return self.seen

    def operations(self, seen):
        work = globals()[self.what]
        return {name: functools.partial(work, seen) for name in ("one", "two")}

    def teardown(self, seen):
        Two.last = list(seen)

padding = [object() for _ in range(int(sys.argv[1]))]
scenario, scale = Scenario(Two), Scale(decisions=100, arrivals=2, threads=True)
with Boundary():
    for Two.what in ("mapped", "waited", "completed", "kept"):
        for seed in range(6):
            run = execute(scenario, make_policy("mix", seed, scale), Settings(), trace=True)
            assert run.failure is None, run.failure.summary()
            padding.append([object() for _ in range(seed * 7)])
            print(Two.what, run.trace.digest(), run.schedule, Two.last)
"""


def test_what_is_kept_in_sets_comes_out_in_one_order_in_every_process():
    said = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, padding],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed, padding in (("1", "0"), ("2", "1001"), ("3", "54321"))
    ]
    assert len(said[0].splitlines()) == 24
    assert said[0] == said[1] == said[2]
