"""For those who outgrow one machine: a locustfile that sends and checks what the load phase does.

Locust has a master and workers on many machines, each with this package and the target installed.
"""

from __future__ import annotations

from pathlib import Path

from desvelo.errors import UsageError

HOST = "http://127.0.0.1:8000"

_FILE = '''"""Load on {target}, by Locust; written by `desvelo run load --locust`.

    locust -f {name} --headless --users 100 --spawn-rate 20 --run-time 1m
    locust -f {name} --headless --users 1000 --spawn-rate 50 --run-time 1m --master \\
        --expect-workers 2
    locust -f {name} --worker --master-host 127.0.0.1      # on each machine, or several times

The requests are drawn by the strategies of {target}, and every answer is judged as the load phase
judges it. When the test ends, the master compares what is stored with what was acknowledged to
all workers, and ends with status 1 when they differ.
"""

from locust import FastHttpUser, constant, events, task

from desvelo.measure.load.locust_checks import Checks

checks = Checks({target!r}, seed={seed})
checks.listen(events)


class Sender(FastHttpUser):
    host = {host!r}
    wait_time = constant(0)

    @task
    def send(self):
        request = checks.next_request()
        with self.client.request(
            request.method,
            request.path,
            data=request.body,
            headers=dict(request.headers),
            name=f"{{request.method}} {{request.path}}",
            catch_response=True,
        ) as answer:
            problem = checks.judge(
                request, answer.status_code, answer.content, getattr(answer, "error", None)
            )
            if problem:
                answer.failure(problem)
            else:
                answer.success()
'''


def write_locustfile(path: Path, target: str, seed: int, url: str = "") -> str:
    """Write a locustfile for a target; returns a sentence that says how to run it.

    ``url`` is the server that it sends to when Locust is not told another by ``--host``.

    Raises `UsageError` when the file exists already, and was not written by this function, or
    cannot be written.
    """
    text = _FILE.format(target=target, name=path.name, seed=seed, host=url or HOST)
    if path.exists() and "by Locust; written by `desvelo" not in _beginning(path):
        raise UsageError(f"{path} exists and is not a locustfile of ours; name another file")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}") from error
    return (
        f"wrote {path}; run it: locust -f {path} --headless --users 100 --spawn-rate 20 "
        "--run-time 1m"
    )


def _beginning(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(200)
    except OSError:
        return ""
