"""`make run`: the whole desk on one machine. Environment, migrations, data, model, then all processes, and what to open.

What is done already is skipped, so a second run takes seconds. DATA, MAPPING and PORT come from the environment (make passes them on).
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from config.embedded import PROJECT, ensure_environment, home
from config.health import ask_ready
from config.request import Request, UsageError, parse, sha256, short, take_port
from config.supervisor import Supervisor, end_leftovers, remember
from config.terminal import Step, Terminal

SITE_SECONDS = 90  # for the site's first answer on a slow machine
STALLED_SECONDS = 120  # without a single application scored


class StepFailed(Exception):
    """A step ended with an error that it has explained itself; exit 1."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM."""


class Launch(Terminal):
    """One run of the desk. Signals only set a flag, which every wait looks at: nothing is torn in the middle."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.data, self.mapping, self.port = request.data, request.mapping, request.port
        self.steps: list[Step] = []
        self.signals = 0
        self.notes: list[str] = []

    def on_signal(self, number: int, frame: object) -> None:
        self.signals += 1

    @property
    def record(self) -> Path:
        return home() / "processes.json"

    def check(self) -> None:
        if self.signals:
            raise Interrupted

    # --- steps ---------------------------------------------------------------------------------------------------------
    def command(self, name: str, arguments: Sequence[str]) -> None:
        """Run a management command as a process of its own, so that its time and peak memory are its own."""
        from django.db import connection

        self.check()
        connection.close()  # a step may take longer than an idle connection lives
        started = time.monotonic()
        # Its own session: Ctrl-C reaches us, and we end it quietly. Its output, progress bar included, goes straight to the terminal.
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / "manage.py"), *arguments], cwd=Path.cwd(), start_new_session=True, stdin=subprocess.DEVNULL,
            env={"LOG_LEVEL": "WARNING", **os.environ},
        )  # fmt: skip
        remember(self.record, [process.pid])
        asked = False
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if self.signals and not asked:
                process.send_signal(signal.SIGINT)  # what a command would get on the terminal: it cleans up
                asked = True
            if self.signals > 1:
                process.kill()
            time.sleep(0.05)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.check()
        # kilobytes on Linux, bytes on macOS
        self.steps.append(Step(name, time.monotonic() - started, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)))
        if process.returncode:
            raise StepFailed(f"{name}: `manage.py {' '.join(arguments)}` ended with code {process.returncode}.")

    def reach_servers(self) -> None:
        started = time.monotonic()
        given = [name for name in ("DATABASE_URL", "REDIS_URL") if os.environ.get(name)]
        desk = ensure_environment()
        self.check()
        import django

        django.setup()
        from django.db import connection
        from django.db.utils import OperationalError

        try:
            connection.ensure_connection()
        except OperationalError as error:
            raise UsageError(f"The database of DATABASE_URL does not let us in: {str(error).strip()}") from error
        import redis

        try:
            redis.Redis.from_url(os.environ["REDIS_URL"], socket_connect_timeout=5, socket_timeout=5).ping()
        except redis.RedisError as error:
            where = urlsplit(os.environ["REDIS_URL"])
            raise UsageError(f"The server of REDIS_URL ({where.hostname}:{where.port or 6379}) does not answer: {error}") from error
        embedded = "PostgreSQL and Valkey" if not given else {"DATABASE_URL": "Valkey", "REDIS_URL": "PostgreSQL"}.get(given[0], "")
        if desk is not None:
            self.say(f"{embedded} from wheels, data in {short(desk.folder)}")
        if given:
            self.say(f"{' and '.join(given)} as given")
        self.steps.append(Step("servers", time.monotonic() - started, None))

    def migrate(self) -> None:
        from django.db import connection
        from django.db.migrations.executor import MigrationExecutor

        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if plan:
            self.say(f"Migrating the database ({len(plan)} steps)")
            self.command("migrate", ["migrate", "--noinput", "--verbosity", "0"])

    def fill(self) -> None:
        """Data into an empty database; into a filled one nothing, and a request for other data is refused."""
        from loans.models import ImportBatch, LoanApplication, RunState

        empty = not LoanApplication.objects.exists()
        synthetic = LoanApplication.objects.filter(synthetic=True).exists()
        batches = list(ImportBatch.objects.filter(state=RunState.DONE, rows_loaded__gt=0).values_list("sha256", "file_name"))
        names = sorted({Path(name).name for _, name in batches}) + (["synthetic demonstration data"] if synthetic else [])
        held = ", ".join(names) or "applications from elsewhere"
        if self.data is not None:
            digest = sha256(self.data)
            if any(known == digest for known, _ in batches):
                self.say(f"{self.data.name} is in the database already")
            elif empty:
                self.say(f"Importing {self.data}")
                options = ["--mapping", str(self.mapping), "--open-since", "last-month"]
                self.command("import", ["import_loans", str(self.data), *options])
            else:
                raise UsageError(
                    f"The database is already filled, with {held}; {self.data.name} was not imported.\n"
                    "  Go on with what is there:  make run\n"
                    "  Start anew with this file: make clean-data, then this command again (deletes the embedded database and its models)\n"
                    f"  Add it to what is there:   {short(sys.executable)} manage.py import_loans {self.data} --mapping {self.mapping}"
                )
        elif empty:
            self.say("Filling the empty database with synthetic demonstration data")
            self.command("seed_demo", ["seed_demo"])
        else:
            self.say(f"The database holds {held}")

    def train(self) -> None:
        from loans.models import ModelVersion

        champion = ModelVersion.objects.champion()
        if champion is not None:
            self.say(f"Champion: {champion}, trained {champion.created_at:%Y-%m-%d %H:%M} UTC")
            return
        self.say("Training the default-risk model")
        try:
            self.command("train", ["train", "default_risk"])
        except StepFailed as failure:
            # a file of new applications has no outcomes to learn from: the desk works without a model, a person decides
            self.notes.append(f"No model serves: {failure} Until one does, applications wait for a person.")
            return
        try:
            # a second's work, and the first scores come with a range of amounts
            self.command("train amounts", ["train", "loan_amount", "--unless-champion"])
        except StepFailed as failure:
            self.notes.append(f"Applications get no range of amounts: {failure}")

    # --- serving ---------------------------------------------------------------------------------------------------------
    def wait_for_site(self, supervisor: Supervisor) -> None:
        """Until /readyz finds everything in order; what can't be (no model) is not waited for."""
        deadline = time.monotonic() + SITE_SECONDS
        missing = ["site"]
        while time.monotonic() < deadline:
            self.check()
            supervisor.tick()
            missing = ask_ready(self.port)
            if not missing or (missing == ["champion"] and self.notes):
                return
            self.moving(f"Waiting for: {', '.join(missing)}")
            time.sleep(0.2)
        self.notes.append(f"Not ready after {SITE_SECONDS} s: {', '.join(missing)}. See {short(home() / 'log')}.")

    def wait_for_scores(self, supervisor: Supervisor) -> None:
        """Watch the workers empty the queue."""
        from django.db import connection

        from loans.models import ScoringJob

        started = moved = time.monotonic()
        total = left = ScoringJob.objects.unfinished().count()
        said = 0
        while left:
            self.check()
            supervisor.tick()
            supervisor.measure()
            time.sleep(0.2)
            now_left = ScoringJob.objects.unfinished().count()
            if now_left != left:
                moved = time.monotonic()
            left = now_left
            done = max(total - left, 0)
            filled = 30 * done // total
            self.moving(f"Scoring [{'#' * filled}{'.' * (30 - filled)}] {done:,} of {total:,}")
            if not self.live and done - said >= max(total // 4, 1):
                said = done
                self.say(f"Scored {done:,} of {total:,}")
            if time.monotonic() - moved > STALLED_SECONDS:
                connection.close()
                self.notes.append(f"{left:,} applications still wait for their score. See {short(home() / 'log' / 'worker.log')}.")
                return
        connection.close()
        if total:
            worker = next(service for service in supervisor.services if service.name == "worker")
            seconds = time.monotonic() - started
            self.steps.append(Step(f"score {total:,}", seconds, worker.peak_memory))
            self.say(f"Scored {total:,} applications in {seconds:.1f} s")

    def begin_the_rest(self) -> None:
        """What the desk shows beside the risk is worked out while it is open already: by the training worker, its progress in the admin.

        Only what was never tried: a training that found too little to learn from is not repeated at every start.
        """
        from loans.models import DemandForecast, ModelKind, ModelVersion, TrainingRun
        from loans.services import training, wakeups

        begun = []
        tried = {*ModelVersion.objects.values_list("kind", flat=True), *TrainingRun.objects.values_list("kind", flat=True)}
        for kind in ModelKind:
            if kind not in tried:
                training.start_training(kind, by=None)
                begun.append(kind.label.lower())
        if not DemandForecast.objects.exists() and wakeups.wake_forecast():
            begun.append("the demand forecast")
        if begun and wakeups.wake_monitoring():
            begun.append("a first look at the models' health")
        if begun:
            self.notes.append(f"Worked out in the background, under Trainings in the admin: {', '.join(begun)}.")

    def demo_logins(self) -> str:
        """Made on a development desk only: a real one gets its people from its administrator."""
        if not os.environ["SECRET_KEY"].startswith("dev-"):
            return f"No demo logins on a desk with a SECRET_KEY of its own: {short(sys.executable)} manage.py createsuperuser"
        done = subprocess.run(
            [sys.executable, str(PROJECT / "manage.py"), "ensure_demo_users"], capture_output=True, text=True, check=False, timeout=120,
            env={"LOG_LEVEL": "WARNING", **os.environ},
        )  # fmt: skip
        return done.stdout.strip() if done.returncode == 0 else f"The demo logins could not be made: {done.stderr.strip()[-500:]}"

    def report(self, logins: str) -> None:
        self.say("")
        self.table(self.steps)
        for note in self.notes:
            self.say(f"\nNote: {note}")
        self.say(f"\nLogs: {short(home() / 'log')}   Stop: Ctrl-C")
        self.say(f"\n{logins}\n\nLoandesk is ready at http://127.0.0.1:{self.port}/admin/")

    def run(self) -> int:
        from django.db import connection

        from config.services import services

        folder = home()
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "launch.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise UsageError(f"Loandesk runs from this folder already{lock.read()}. Stop that one first (Ctrl-C there).") from None
            lock.truncate(0)
            lock.write(f": process {os.getpid()}, http://127.0.0.1:{self.port}/admin/")
            lock.flush()
            if ended := end_leftovers(self.record):
                self.say(f"Ended {ended} processes that a killed run had left behind")
            listener = take_port(self.port)
            self.reach_servers()
            self.migrate()
            self.fill()
            self.train()
            if os.environ.get("DEBUG") != "1":
                self.command("static files", ["collectstatic", "--noinput", "--verbosity", "0"])
            logins = self.demo_logins()
            self.check()
            supervisor = Supervisor(services(listener, folder / "log"), folder=PROJECT, record=self.record, say=self.say)
            try:
                started = time.monotonic()
                supervisor.start()
                self.say("Starting the site, two workers, the scheduler and the sweeper")
                self.wait_for_site(supervisor)
                self.steps.append(Step("start", time.monotonic() - started, None))
                self.wait_for_scores(supervisor)
                self.begin_the_rest()
                connection.close()
                self.report(logins)
                while True:
                    self.check()
                    supervisor.tick()
                    time.sleep(0.25)
            finally:
                self.say("\nStopping (Ctrl-C again to hurry)")
                asked = self.signals
                supervisor.stop(hurry=lambda: self.signals > max(asked, 1))


def main(arguments: Sequence[str] | None = None) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        request = parse(arguments)
        request.check()
        launch = Launch(request)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, launch.on_signal)
        return launch.run()
    except Interrupted:
        print("Stopped. `make run` resumes in seconds.", flush=True)
        return 0
    except UsageError as error:
        print(f"loandesk: {error}", file=sys.stderr)
        return 2
    except StepFailed as error:
        print(f"loandesk: {error} What was wrong stands above; the same command goes on from here.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
