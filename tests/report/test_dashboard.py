import contextlib
import http.client
import socket
import threading

import pytest

from desvelo.errors import UsageError
from desvelo.measure.history import open_history
from desvelo.measure.result import Metric, PhaseResult, Run
from desvelo.report.dashboard import Dashboard
from desvelo.report.dashboard.trends import trends
from tests.report.runs import full_run


@contextlib.contextmanager
def served(where):
    with Dashboard(str(where), 0) as dashboard:
        thread = threading.Thread(target=dashboard.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield dashboard
        finally:
            dashboard.shutdown()
            thread.join()


@pytest.fixture
def history(tmp_path):
    where = tmp_path / "history.sqlite"
    with open_history(str(where)) as runs:
        for number in range(1, 4):
            runs.add(full_run(number, day=number))
        other = full_run(9, day=9)
        other.target, other.id, other.findings = "shop", "a b/<c>", []
        runs.add(other)
    return where


def asked(dashboard, path, method="GET", host=None):
    connection = http.client.HTTPConnection("127.0.0.1", dashboard.server_port, timeout=10)
    try:
        headers = {} if host is None else {"Host": host}
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def test_from_all_runs_to_one_and_to_a_finding(history):
    with served(history) as dashboard:
        status, headers, text = asked(dashboard, "/")
        assert status == 200
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert text.count('href="/runs/') == 4 + 3  # runs, and findings
        assert 'href="/runs/a%20b%2F%3Cc%3E"' in text
        shop = asked(dashboard, "/?target=shop&profile=&status=")[2]
        assert "1 of 4 runs" in shop
        status, _, text = asked(dashboard, f"/runs/{full_run(2, day=2).id}")
        assert status == 200
        assert 'id="finding-1"' in text
        assert f"{full_run(1).id}, revision" in text  # the run before
        assert asked(dashboard, "/runs/a%20b%2F%3Cc%3E")[0] == 200
        trend = asked(dashboard, "/trends?phase=load")[2]
        assert "shop, profile quick" in trend
        assert "load: throughput" in trend
        assert "endurance: success" not in trend
        assert asked(dashboard, "/runs/none")[0] == 404


def test_nobody_else_is_answered(history):
    with served(history) as dashboard:
        port = dashboard.server_port
        assert dashboard.server_address[0] == "127.0.0.1"
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"localhost:{port + 1}"):
            status, _, text = asked(dashboard, "/", host=host)
            assert status == 421
            assert "vigia_reference" not in text
        assert asked(dashboard, "/", host=f"localhost:{port}")[0] == 200
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert asked(dashboard, "/", method)[0] == 501


def test_a_taken_port_and_a_history_that_is_none_are_told(history, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--port {port} is taken by python"):
            Dashboard(str(history), port)
    with pytest.raises(UsageError, match=r"--port 99999 cannot be used"):
        Dashboard(str(history), 99999)
    with pytest.raises(UsageError, match="there is no history"):
        Dashboard(str(tmp_path / "none.sqlite"))
    (tmp_path / "text").write_text("no database" * 100, encoding="utf-8")
    with pytest.raises(UsageError):
        Dashboard(str(tmp_path / "text"))


def test_a_trend_shows_where_a_level_changed_and_which_runs_did_not_pass():
    runs = []
    for number, value in enumerate([10, 11, 10, 9, 10, 11, 20, 21, 19, 20, 21, 20]):
        phase = PhaseResult("io", metrics={"latency_p99": Metric(float(value), "s", "lower")})
        runs.append(Run(f"r{number}", f"2026-01-{number + 1:02}", "shop", "ci", phases=[phase]))
    bad = PhaseResult("io", metrics={"latency_p99": Metric(500.0, "s", "lower")})
    bad.fail("broken")
    runs.insert(2, Run("bad", "2026-01-02", "shop", "ci", phases=[bad]))
    (chart,) = trends(runs, "io")
    assert [(mark.at, mark.name) for mark in chart.marks] == [(7.0, "new level")]
    assert [line.values[2] for line in chart.lines] == [None, 500.0]
    assert list(trends(runs, "load")) == []
