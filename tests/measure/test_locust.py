"""What is handed over to Locust, run by Locust: a master and workers against a real server."""

import subprocess
import sys
from pathlib import Path

import pytest

from desvelo.measure.load.locust import write_locustfile
from desvelo.measure.processes.server import own_server
from desvelo.servers.launch import free_port

LOCUST = Path(sys.executable).with_name("locust")


@pytest.fixture
def run_locust(tmp_path):
    """Return a function that sends for a while by two workers: its status and what it printed."""

    def run(defect=""):
        def command(port):
            serve = [sys.executable, "-m", "vigia_reference.serve", "--port", str(port)]
            return [*serve, "--defect", defect] if defect else serve

        file = tmp_path / "locustfile.py"
        with own_server(command, tmp_path) as server:
            write_locustfile(file, "vigia_reference", 1, server.url)
            port = str(free_port())
            options = ["--headless", "--users", "4", "--spawn-rate", "4", "--run-time", "2s"]
            options += ["--only-summary", "--master", "--expect-workers", "2"]
            workers = [[LOCUST, "-f", file, "--worker", "--master-port", port] for _ in range(2)]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            started = [subprocess.Popen(one, cwd=tmp_path, **quiet) for one in workers]
            try:
                master = subprocess.run(
                    [LOCUST, "-f", file, *options, "--master-bind-port", port],
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
            finally:
                for worker in started:
                    worker.kill()
                    worker.wait()
        return master.returncode, master.stdout + master.stderr

    return run


def test_what_two_workers_sent_is_compared_with_what_is_stored(run_locust):
    status, printed = run_locust()
    assert "each is stored as it should be" in printed, printed
    assert " 0 acknowledged" not in printed, printed
    assert status == 0, printed


def test_a_server_that_stores_twice_fails_the_run(run_locust):
    status, printed = run_locust("idempotency-key-checked-not-reserved")
    assert "stored more than once: /" in printed, printed
    assert status == 1, printed
