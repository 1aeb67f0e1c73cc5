"""What is handed over to Locust, without Locust: its events are called as it calls them."""

from collections import Counter
from types import SimpleNamespace

import pytest

from desvelo.errors import UsageError
from desvelo.measure.load.locust import write_locustfile
from desvelo.measure.load.locust_checks import Checks


class Event(list):
    """One of Locust's events."""

    add_listener = list.append

    def fire(self, **arguments):
        for listener in self:
            listener(**arguments)


@pytest.fixture
def checks(small, monkeypatch):
    monkeypatch.setattr(
        "desvelo.measure.load.locust_checks.load_target", lambda name: small().target
    )

    def make():
        events = SimpleNamespace(report_to_master=Event(), worker_report=Event(), quitting=Event())
        made = Checks("small", seed=1)
        made.listen(events)
        return made, events

    return make


def test_a_locustfile_is_written_again_but_no_other_file_is_touched(tmp_path):
    file = tmp_path / "locustfile.py"
    assert "locust -f" in write_locustfile(file, "vigia_reference", 1, "http://127.0.0.1:1")
    write_locustfile(file, "vigia_reference", 7)
    text = file.read_text()
    compile(text, str(file), "exec")
    assert "Checks('vigia_reference', seed=7)" in text
    other = tmp_path / "mine.py"
    other.write_text("import locust")
    with pytest.raises(UsageError, match="name another file"):
        write_locustfile(other, "vigia_reference", 1)
    assert other.read_text() == "import locust"
    with pytest.raises(UsageError, match="cannot be written"):
        write_locustfile(tmp_path / "no" / "folder.py", "vigia_reference", 1)


def test_a_master_compares_what_its_workers_were_told(checks, monkeypatch, capsys):
    # Locust would make this whole process, pytest and all, one of gevent's.
    monkeypatch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
    worker, of_worker = checks()
    sent = [worker.next_request() for _ in range(60)]
    kinds = {worker.judge(one, 200, b"done") for one in sent if one.valid}
    assert kinds == {""}
    assert worker.judge(next(one for one in sent if not one.valid), 200, b"done") != ""
    assert worker.judge(sent[0], 0, None, "timed out") == "timed out"
    data = {}
    of_worker.report_to_master.fire(client_id="one", data=data)
    again = {}
    of_worker.report_to_master.fire(client_id="one", data=again)
    assert again == {"desvelo": {}}, "nothing is reported twice"

    master, of_master = checks()
    of_master.worker_report.fire(client_id="one", data=data)
    monkeypatch.setattr(master._target, "stored_keys", lambda url: Counter())
    environment = SimpleNamespace(runner=None, host="http://127.0.0.1:1", process_exit_code=None)
    of_master.quitting.fire(environment=environment)
    assert environment.process_exit_code == 1
    assert "acknowledged and not stored" in capsys.readouterr().err
