"""`make run` from the inside: what it refuses before anything starts, what it skips, how it keeps processes alive and ends them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread, Timer

import psutil
import pytest

from config.embedded import PROJECT, REQUIRED, Desk
from config.health import ask_ready
from config.launch import Interrupted, Launch, StepFailed
from config.request import Request, UsageError, parse, take_port
from config.supervisor import Service, Supervisor, end_leftovers
from loans.models import ImportBatch, LoanApplication, RunState
from tests.services import wait_until

BARE = {
    name: value
    for name, value in os.environ.items()
    if name not in (*REQUIRED, "DEBUG", "ARTIFACTS_DIR", "UPLOADS_DIR", "DATA", "MAPPING", "PORT") and not name.startswith("PYTEST_")
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def loans_file(tmp_path):
    path = tmp_path / "loans.csv"
    path.write_text("id,amount\n1,1000\n")
    return path


# --- what is refused -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "/nowhere/loans.csv", "--mapping", "sba"], "no such file"),
        (["--data", "{file}"], "DATA needs a MAPPING"),
        (["--data", "{file}", "--mapping", "no-such-lender"], "MAPPING=no-such-lender is unknown"),
        (["--data", "{file}", "--mapping", "{file}"], "not a readable TOML file"),
        (["--mapping", "sba"], "MAPPING is given without DATA"),
        (["--port", "http"], "PORT=http is not a port"),
        (["--port", "70000"], "PORT=70000 is not a port"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(arguments, message, loans_file):
    with pytest.raises(UsageError, match=re.escape(message)):
        parse([argument.format(file=loans_file) for argument in arguments]).check()


def test_a_port_in_use_is_named_with_a_way_out():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"Port {port} is in use.*make run PORT={port + 1}"):
            take_port(port)


def test_nothing_is_started_for_a_refused_request(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "config.launch"], env={**BARE, "LOANDESK_HOME": str(tmp_path / "home"), "DATA": "missing.csv"},
        cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "DATA=missing.csv: there is no such file" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()


# --- what is skipped -----------------------------------------------------------------------------------------------------
class Recorded(Launch):
    """Steps are noted instead of run."""

    def __init__(self, data: Path | None = None) -> None:
        super().__init__(Request(data=data, mapping="sba" if data else None, port=1))
        self.ran: list[list[str]] = []

    def command(self, name, arguments):
        self.ran.append(list(arguments))


def batch(path: Path, **fields) -> ImportBatch:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ImportBatch.objects.create(
        file_name=path.name, sha256=digest, mapping_name="sba", mapping="", **{"state": RunState.DONE, "rows_loaded": 1, **fields}
    )


def application(**fields) -> LoanApplication:
    return LoanApplication.objects.create(external_reference="A1", amount=1000, **fields)


@pytest.mark.django_db
class TestFill:
    def test_an_empty_database_gets_synthetic_data(self):
        launch = Recorded()
        launch.fill()
        assert launch.ran == [["seed_demo"]]

    def test_an_empty_database_gets_the_file(self, loans_file):
        launch = Recorded(loans_file)
        launch.fill()
        assert launch.ran == [["import_loans", str(loans_file), "--mapping", "sba", "--open-since", "last-month"]]

    def test_the_same_file_again_is_not_imported_again(self, loans_file):
        application(import_batch=batch(loans_file))
        launch = Recorded(loans_file)
        launch.fill()
        assert launch.ran == []

    def test_an_import_that_broke_off_is_repeated(self, loans_file):
        batch(loans_file, state=RunState.FAILED, rows_loaded=0)
        launch = Recorded(loans_file)
        launch.fill()
        assert launch.ran[0][0] == "import_loans"

    def test_a_database_filled_with_another_file_says_so_and_how_to_start_anew(self, loans_file, tmp_path):
        application(import_batch=batch(loans_file))
        other = tmp_path / "other.csv"
        other.write_text("id,amount\n2,5\n")
        with pytest.raises(UsageError) as refused:
            Recorded(other).fill()
        text = str(refused.value)
        assert "already filled, with loans.csv; other.csv was not imported" in text
        assert "make clean-data" in text and "import_loans" in text

    def test_synthetic_data_is_named(self, loans_file, capsys):
        application(synthetic=True)
        with pytest.raises(UsageError, match="already filled, with synthetic demonstration data"):
            Recorded(loans_file).fill()
        Recorded().fill()
        assert "The database holds synthetic demonstration data" in capsys.readouterr().out

    def test_a_champion_is_not_trained_again(self, capsys):
        from loans.models import ModelState, ModelVersion

        launch = Recorded()
        launch.train()
        ModelVersion.objects.create(kind="default_risk", version=3, state=ModelState.CHAMPION, algorithm="prior", artifact="x", sha256="0")
        launch.train()
        assert launch.ran == [["train", "default_risk"], ["train", "loan_amount", "--unless-champion"]]
        assert "v3" in capsys.readouterr().out

    def test_what_is_not_the_risk_is_begun_once_in_the_background(self):
        from unittest.mock import patch

        from loans.models import ModelKind, TrainingRun

        TrainingRun.objects.create(kind=ModelKind.DEFAULT_RISK, state=RunState.FAILED)
        first, again = Recorded(), Recorded()
        with patch("loans.services.wakeups._send", return_value=True) as sent:
            first.begin_the_rest()
            TrainingRun.objects.filter(state=RunState.QUEUED).update(state=RunState.FAILED)
            asked = [call.args[0] for call in sent.call_args_list]
            again.begin_the_rest()
        assert sorted(TrainingRun.objects.values_list("kind", flat=True)) == sorted(ModelKind.values)
        assert asked.count("loans.forecast") == asked.count("loans.monitor") == 1
        assert "segments" in first.notes[0] and "Trainings" in first.notes[0]
        assert not any("segments" in note for note in again.notes), "a training that failed is not begun at every start"


def test_a_desk_without_a_model_is_served_with_a_note():
    class Untrainable(Recorded):
        def command(self, name, arguments):
            raise StepFailed("train: no outcomes.")

    from unittest.mock import patch

    launch = Untrainable()
    with patch("loans.models.ModelVersion.objects.champion", return_value=None):
        launch.train()
    assert "No model serves" in launch.notes[0]


def test_demo_logins_only_on_a_development_desk(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "a-real-one")
    assert "No demo logins" in Recorded().demo_logins()


# --- steps ---------------------------------------------------------------------------------------------------------------
@pytest.fixture
def bare_launch(tmp_path, monkeypatch) -> Launch:
    monkeypatch.setenv("LOANDESK_HOME", str(tmp_path))
    return Launch(Request(data=None, mapping=None, port=1))


def test_a_step_reports_its_time_and_peak_memory(bare_launch):
    launch = bare_launch
    launch.command("version", ["version"])
    step = launch.steps[0]
    assert 0.05 < step.seconds < 60
    assert 10e6 < step.peak_memory < 2e9, "bytes, on every system"


def test_a_step_that_fails_ends_the_run(bare_launch):
    with pytest.raises(StepFailed, match="no_such_command"):
        bare_launch.command("x", ["no_such_command"])


def test_ctrl_c_ends_a_step_quietly(bare_launch):
    Timer(1, bare_launch.on_signal, (signal.SIGINT, None)).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        bare_launch.command("x", ["shell", "-c", "import time; time.sleep(60)"])
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("status", "body", "missing"),
    [
        (200, b'{"status": "ok", "degraded": [], "checks": {}}', []),
        (200, b'{"status": "degraded", "degraded": ["worker", "champion"]}', ["worker", "champion"]),
        (503, b'{"status": "down", "degraded": ["database"]}', ["database"]),
        (500, b"<h1>Server Error</h1>", ["site"]),
    ],
)
def test_what_is_not_ready_is_named(status, body, missing, monkeypatch):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # must not be asked
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.handle_request).start()
        assert ask_ready(server.server_port) == missing
    assert ask_ready(free_port()) == ["site"]


# --- keeping processes alive -----------------------------------------------------------------------------------------------
@pytest.fixture
def supervise(tmp_path):
    made = []

    def make(*codes: str) -> Supervisor:
        services = [Service(f"s{n}", [sys.executable, "-c", code], tmp_path / f"s{n}.log") for n, code in enumerate(codes)]
        heard: list[str] = []
        supervisor = Supervisor(services, folder=tmp_path, record=tmp_path / "processes.json", say=heard.append)
        supervisor.heard = heard
        made.append(supervisor)
        return supervisor

    yield make
    for supervisor in made:
        supervisor.stop(hurry=lambda: True)


SLEEP = "import time; print('up', flush=True); time.sleep(60)"


def test_a_process_that_dies_is_said_and_started_again_ever_later(supervise):
    supervisor = supervise("import sys; print('boom'); sys.exit(3)", SLEEP)
    supervisor.start()
    failing, steady = supervisor.services
    steady_pid = steady.process.pid
    waits = []
    for _ in range(3):
        wait_until(lambda: (supervisor.tick(), failing.process is None)[1], 10)
        waits.append(failing.wait)
        failing.due = 0  # do not wait for it here
        supervisor.tick()
    assert waits == [2, 4, 8]
    assert "s0 ended with code 3; it starts again in 2 s" in supervisor.heard[0]
    assert "boom" in failing.log.read_text()
    assert steady.process.pid == steady_pid


def test_a_killed_process_takes_its_children_along(supervise, tmp_path):
    supervisor = supervise(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); {SLEEP}")
    supervisor.start()
    parent = psutil.Process(supervisor.services[0].process.pid)
    wait_until(lambda: parent.children(), 10)
    child = parent.children()[0]
    parent.kill()
    wait_until(lambda: (supervisor.tick(), not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)[1], 10)
    assert "was killed by SIGKILL" in supervisor.heard[0]


def test_stop_asks_first_and_a_second_ctrl_c_hurries(supervise):
    polite = f"import signal, sys; signal.signal(15, lambda *_: (print('bye', flush=True), sys.exit(0))); {SLEEP}"
    stubborn = f"import signal; signal.signal(15, signal.SIG_IGN); {SLEEP}"
    supervisor = supervise(polite, stubborn)
    supervisor.start()
    logs = [service.log for service in supervisor.services]
    wait_until(lambda: all("up" in log.read_text() for log in logs), 10)
    began = time.monotonic()
    supervisor.stop(hurry=lambda: time.monotonic() - began > 0.5)
    assert time.monotonic() - began < 5
    assert "bye" in logs[0].read_text()
    assert supervisor.heard == ["s1 did not end in time and is killed."]
    assert not supervisor.record.exists()


def test_a_killed_launcher_s_processes_are_ended_by_the_next_run(supervise, tmp_path):
    supervisor = supervise(SLEEP)
    supervisor.start()
    record = tmp_path / "copy.json"
    shutil.copy(supervisor.record, record)
    assert end_leftovers(record) == 1
    assert not psutil.pid_exists(supervisor.services[0].process.pid), "gone when it returns, for it may hold the site's port"
    record.write_text(f"[[{os.getpid()}, 1.0]]")
    assert end_leftovers(record) == 0, "another program was given that id since: it is left alone"


# --- the whole desk ----------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_whole_desk_starts_survives_a_kill_resumes_and_stops():
    home = Path(tempfile.mkdtemp(prefix="loandesk-home-"))
    home.chmod(0o711)
    port = free_port()
    log = home / "terminal.txt"

    def run() -> subprocess.Popen:
        with log.open("wb") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", "config.launch"], env={**BARE, "LOANDESK_HOME": str(home), "PORT": str(port)}, cwd=PROJECT,
                stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def said(text: str) -> bool:
        return text in log.read_text()

    def ready(process: subprocess.Popen, timeout: float) -> None:
        wait_until(lambda: said("Loandesk is ready at") or process.poll() is not None, timeout, "the desk")
        assert process.poll() is None, log.read_text()

    try:
        process = run()
        ready(process, 600)
        text = log.read_text()
        for expected in ("peak memory", "seed_demo", "train", f"http://127.0.0.1:{port}/admin/", "officer"):
            assert expected in text, text
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            assert answer.status == 200
        sweeper = next(p for p in psutil.Process(process.pid).children() if "sweep" in p.cmdline())
        sweeper.kill()
        wait_until(lambda: said("sweeper was killed by SIGKILL; it starts again"), 10)
        descendants = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
        gone, alive = psutil.wait_procs(descendants, timeout=5)
        assert not alive, f"orphans: {alive}"
        desk = Desk(home)
        assert desk.postgres.pid is None and desk.valkey.pid is None
        began = time.monotonic()
        process = run()
        ready(process, 60)
        assert time.monotonic() - began < 30
        assert not said("Training the default-risk model")
        process.kill()
        process.wait()
        process = run()
        ready(process, 60)
        assert said("Ended 5 processes that a killed run had left behind"), "they held the port, too"
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait()
            end_leftovers(home / "processes.json")
            Desk(home).stop()
            shutil.rmtree(home, ignore_errors=True)
