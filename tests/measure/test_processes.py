"""Server processes of the run's own: started, waited for, always reaped; and what they use."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from desvelo.errors import TargetError
from desvelo.measure.processes import server as own
from desvelo.measure.processes.sampling import Sampling
from desvelo.measure.processes.server import own_server

SCRIPT = Path(__file__).with_name("small_server.py")


def command(port, fault="none", store="/dev/null"):
    return [sys.executable, "-S", str(SCRIPT), str(port), store, fault]


def test_a_server_answers_inside_of_the_block_and_is_gone_after_it(tmp_path):
    with own_server(command, tmp_path, health="/") as server:
        assert own.answers(server.url, "/")
        assert server.death == ""
    assert not psutil.pid_exists(server.pid)


def test_a_server_is_gone_after_an_error_too(tmp_path):
    before = psutil.Process().children()
    with pytest.raises(ZeroDivisionError), own_server(command, tmp_path, health="/"):
        raise ZeroDivisionError
    # Other tests of this process may have a server of their own.
    assert psutil.Process().children() == before


def test_a_server_that_ends_before_it_is_ready_is_quoted(tmp_path):
    wrong = partial(command, fault="never-ready")
    quoted = "before it was ready, the server ended with exit status 3; its last output: no table"
    with pytest.raises(TargetError, match=quoted), own_server(wrong, tmp_path):
        pass


def test_a_server_that_never_answers_is_given_up_and_reaped(tmp_path):
    before = psutil.Process().children()
    deaf = partial(command, fault="deaf")
    with (
        pytest.raises(TargetError, match=r"did not answer /health within 0.1 s"),
        own_server(deaf, tmp_path, patience=0.1),
    ):
        pass
    # Other tests of this process may have a server of their own.
    assert psutil.Process().children() == before


def test_a_command_that_does_not_exist_is_an_error_of_the_target(tmp_path):
    with (
        pytest.raises(TargetError, match=r"cannot be started.*no-such-program"),
        own_server(lambda port: ["no-such-program"], tmp_path),
    ):
        pass


def test_a_server_that_ignores_sigterm_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(own, "DRAINING", 0.1)
    stubborn = partial(command, fault="ignores-sigterm")
    with own_server(stubborn, tmp_path, health="/") as server:
        pass
    assert server.killed
    assert not psutil.pid_exists(server.pid)


def test_a_free_port_that_somebody_else_takes_first_is_replaced(tmp_path, monkeypatch):
    with own_server(command, tmp_path, health="/") as first:
        taken = int(first.url.rpartition(":")[2])
        ports = iter([taken, own.free_port()])
        monkeypatch.setattr(own, "free_port", lambda: next(ports))
        # Somebody else's server answers there; it must not be taken for ours.
        with own_server(command, tmp_path, health="/") as second:
            assert second.url != first.url


def test_no_server_outlives_a_run_that_was_killed(tmp_path):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from desvelo.measure.processes.server import own_server\n"
        f"command = lambda port: [sys.executable, '-S', {str(SCRIPT)!r}, str(port), '-', 'none']\n"
        f"with own_server(command, Path({str(tmp_path)!r}), health='/') as server:\n"
        "    print(server.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        server = psutil.Process(int(run.stdout.readline()))
        run.send_signal(signal.SIGKILL)
    psutil.wait_procs([server], timeout=20)
    assert not server.is_running()


def test_samples_are_of_a_process_and_what_it_started_and_of_nothing_else():
    program = (
        "import subprocess, sys; ballast = b'x' * 50_000_000\n"
        "inner = subprocess.Popen(['sleep', '60']); print(inner.pid, flush=True)\n"
        "sys.stdin.read(); inner.kill(); inner.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        seen = []
        with Sampling(child.pid, every=0.01, seen=seen.append) as sampling:
            while len(seen) < 3:
                time.sleep(0.005)
        child.communicate(b"")
    [*_, last] = sampling.samples
    assert last.processes == 2
    assert 50_000_000 < last.uss <= last.rss < 50_000_000 + 2**26
    assert last.threads == 2
    assert sampling.peak_rss >= last.rss
    moments = [sample.at for sample in sampling.samples]
    assert moments == sorted(moments)
    with Sampling(child.pid, every=0.01) as gone:
        pass
    assert gone.samples == []
    assert os.getpid() != child.pid
