from __future__ import annotations

from datetime import date, timedelta
from io import StringIO

import pytest
from django.core import mail
from django.core.management import call_command
from django.db import IntegrityError, transaction

from loans.models import (
    Alert,
    AlertRule,
    AuditEvent,
    LoanApplication,
    LoanOutcome,
    MonitoringFigure,
    MonitoringWindow,
    Retraining,
    TrainingRun,
)
from loans.services import alerts, monitoring, monitoring_desk, retraining
from tests.factories import make_pending
from tests.loans.monitoring.conftest import NOW, START, make_history

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """No broker is told of the trainings that are asked for here."""
    monkeypatch.setattr("loans.services.training.wake_training", lambda run_id: True)


def look(**more):
    return monitoring.refresh(["default_risk"], period="quarter", as_of=NOW, **more)


def test_a_unit_change_rings_tells_and_opens_one_retraining(champion, settings, django_capture_on_commit_callbacks):
    settings.ALERT_EMAILS = ["owner@lender.example"]
    make_history(unit_from=820)
    with django_capture_on_commit_callbacks(execute=True):
        windows = look()
    assert [window.start for window in windows] == [date(2026, 1, 1), date(2026, 4, 1), date(2026, 7, 1)]
    quiet, changed, later = windows
    assert quiet.breaches == 0
    assert all(window.rows == window.labelled == window.scored_after > 100 for window in windows)
    off = set(MonitoringFigure.objects.filter(window=changed, breach=True).values_list("metric", "feature"))
    assert {("psi", "annual_income"), ("outside", "annual_income")} <= off
    assert ("psi", "debt_to_income") not in off
    figure = MonitoringFigure.objects.get(window=changed, metric="outside", feature="annual_income")
    assert figure.value > 0.9
    assert figure.grave
    assert sum(MonitoringFigure.objects.get(window=later, metric="psi", feature="debt_to_income").detail["window"]) == pytest.approx(1)
    # One alert a figure, with both windows on it.
    alert = Alert.objects.get(metric="outside", feature="annual_income")
    assert (alert.breaches, alert.last_window, alert.owner, alert.state) == (2, later.start, "Model owners", "open")
    assert len(mail.outbox) == 1
    assert "Outside of what was known of" in mail.outbox[0].body
    assert AuditEvent.objects.filter(action="alert.opened").count() == Alert.objects.count()
    opened = Retraining.objects.get()
    assert opened.cause in ("breaches", "oe")
    assert opened.training_run.state == "queued"
    # Nothing has come in since: nothing is due, nobody is told again, nothing more is opened.
    assert look() == []
    assert MonitoringWindow.objects.count() == 3
    assert (len(mail.outbox), Retraining.objects.count(), TrainingRun.objects.count()) == (1, 1, 1)
    # An outcome that is taken back makes its window due again, and the old look stays beside the new one.
    LoanOutcome.objects.filter(application__submitted_at__gte=START + timedelta(days=950)).update(state="immature")
    again = look()
    assert [window.start for window in again] == [later.start]
    assert again[0].labelled < later.labelled
    assert MonitoringWindow.objects.filter(start=later.start).count() == 2
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        MonitoringWindow.objects.update(rows=1)


def test_nothing_to_look_at_is_said(champion, artifacts):
    with pytest.raises(monitoring.MonitoringRefused, match="no kind of model"):
        monitoring.refresh(["horoscope"])
    with pytest.raises(monitoring.MonitoringRefused, match="no windows by"):
        monitoring.refresh(period="fortnight")
    with pytest.raises(monitoring.MonitoringRefused, match=r"loan amount kind serves.*manage\.py train"):
        monitoring.refresh(["loan_amount"])
    # No application at all: each window says that it is empty, and none rings.
    windows = look()
    assert all(window.rows == 0 and "0 applications" in " ".join(window.notes) for window in windows)
    assert not Alert.objects.exists()
    with pytest.raises(monitoring.MonitoringRefused, match="no finished quarter"):
        look(only=date(2024, 3, 1))
    # For all kinds, as the command and the night ask: the same answer, and no alarm about the model.
    with pytest.raises(monitoring.MonitoringRefused, match="no finished quarter"):
        monitoring.refresh(period="quarter", as_of=NOW, only=date(2024, 3, 1))
    assert not Alert.objects.exists()


def test_without_a_champion_the_command_ends_with_what_to_do(db, capsys):
    err = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("monitor", stderr=err)
    assert ended.value.code == 2
    assert "manage.py train" in err.getvalue()
    with pytest.raises(SystemExit):
        call_command("monitor", "--window", "soon", stderr=err)
    assert "is not a date" in err.getvalue()


def test_no_labels_and_early_ones_are_not_judged(champion, settings):
    make_history(1200, default=0.9)
    LoanOutcome.objects.filter(application__submitted_at__gte=START + timedelta(days=731)).update(state="immature")
    *_, last = look()
    assert last.labelled == 0
    assert any("estimated, not known" in note for note in last.notes)
    assert not last.figures.filter(group="performance").exists()
    estimate = last.figures.get(metric="cbpe_auc")
    assert 0.5 < estimate.value < 1
    assert "concept drift" in estimate.note
    # Two thirds of the window have ended, all in default: shown, not tested.
    ids = list(LoanOutcome.objects.filter(application__submitted_at__gte=START + timedelta(days=920)).values_list("pk", flat=True))
    LoanOutcome.objects.filter(pk__in=[pk for number, pk in enumerate(ids) if number % 3]).update(state="default")
    *_, last = look()
    figure = last.figures.get(metric="oe")
    assert figure.value > 1.5
    assert figure.p_adjusted is None
    assert not figure.breach
    assert any("early finishers" in note for note in last.notes)


@pytest.mark.slow
def test_a_model_without_probabilities_is_watched_by_its_inputs(champion):
    from loans.services import training

    make_history(900)
    run = training.start_training("loan_amount", by=None, wake=False)
    version = training.run_training(run.pk).model_version
    make_history(200, seed=4, unit_from=0)
    LoanApplication.objects.filter(external_reference__startswith="M-4-").update(submitted_at=NOW + timedelta(days=20))
    assert version.report["learned_from"]["until"] < NOW.isoformat()
    *_, last = monitoring.refresh(["loan_amount"], period="quarter", as_of=NOW + timedelta(days=100))
    assert (last.rows, last.labelled) == (200, 0)
    assert last.figures.get(metric="outside", feature="annual_income").breach
    assert set(last.figures.values_list("group", flat=True)) == {"inputs", "joint"}


def test_another_process_at_the_same_window_leaves_it_alone(champion, monkeypatch):
    make_history(600)
    seen = []
    monkeypatch.setattr(monitoring, "_watch_version", lambda *args: seen.append(args) or [])
    from contextlib import contextmanager

    @contextmanager
    def taken(version):
        yield False

    monkeypatch.setattr(monitoring, "_alone", taken)
    assert look() == []
    assert not seen


def test_a_model_that_cannot_be_read_rings_and_is_quiet_again_when_it_can(champion, artifacts):
    path = artifacts / champion.artifact
    whole = path.read_bytes()
    path.write_bytes(whole[:-10] + bytes(10))
    monitoring.registry._loaded.clear()
    make_history(300)
    assert monitoring.refresh(period="quarter", as_of=NOW) == []
    monitoring.refresh(period="quarter", as_of=NOW)
    alert = Alert.objects.get(metric="monitoring")
    assert (alert.grave, alert.state) == (True, "open")
    assert "could not be monitored" in alert.text
    path.write_bytes(whole)
    assert len(monitoring.refresh(period="quarter", as_of=NOW)) == 3
    alert.refresh_from_db()
    assert alert.state == "closed"


def test_rules_decide_what_is_off(champion):
    figure = MonitoringFigure(metric="psi", feature="amount", value=0.2)
    rules = alerts.Rules.in_force()
    assert rules.of("psi", "amount").limit == 0.10
    AlertRule.objects.create(metric="psi", feature="amount", limit=0.5, owner="Risk", reason="A campaign moves amounts.")
    assert alerts.Rules.in_force().of("psi", "amount").limit == 0.5
    assert alerts.Rules.in_force().limits().effect("psi", "amount") == 0.5
    assert alerts.Rules.in_force().limits().effect("psi", "income") == 0.10
    AlertRule.objects.create(metric="oe", limit=0.0, owner="Risk", reason="Off for now.", active=False)
    assert alerts.Rules.in_force().limits().effect("oe", "") == float("inf")
    AlertRule.objects.create(metric="missing", limit=0.5, owner="Risk", reason="Later.", effective_from=NOW + timedelta(days=4000))
    assert alerts.Rules.in_force().of("missing").limit == 0.05
    assert figure.feature == "amount"


def test_a_queue_that_stands_still_rings_once_and_closes_by_itself(champion):
    (job,) = make_pending(1)
    assert monitoring_desk.watch_queue(job.created_at + timedelta(seconds=60)) is None
    alert = monitoring_desk.watch_queue(job.created_at + timedelta(seconds=1000))
    assert alert.metric == "pending_age"
    assert not alert.grave
    again = monitoring_desk.watch_queue(job.created_at + timedelta(seconds=5000))
    assert again == alert
    assert again.grave
    type(job).objects.filter(pk=job.pk).update(state="done")
    assert monitoring_desk.watch_queue() is None
    alert.refresh_from_db()
    assert alert.state == "closed"
    assert "worked off" in alert.note


def test_alerts_are_acknowledged_and_closed_by_somebody_with_a_reason(champion, django_user_model):
    owner = django_user_model.objects.create_user("owner")
    alert = Alert.objects.create(model_version=champion, metric="oe", text="O/E 1.4")
    alerts.acknowledge(alert, by=owner, note="Looking.")
    with pytest.raises(alerts.NotAllowed):
        alerts.acknowledge(alert, by=owner)
    with pytest.raises(alerts.NotAllowed, match="Say what it was"):
        alerts.close(alert, by=owner, note=" ")
    alerts.close(alert, by=owner, note="The bureau's feed; mended.")
    with pytest.raises(alerts.NotAllowed):
        alerts.close(alert, by=owner, note="Again.")
    told = AuditEvent.objects.filter(subject_type="alert").order_by("pk").values_list("action", flat=True)
    assert list(told) == ["alert.acknowledged", "alert.closed"]


def window_with(champion, start, *figures, rows=500):
    made = MonitoringWindow.objects.create(model_version=champion, start=start, end=start + timedelta(days=30), rows=rows)
    for metric, feature, breach in figures:
        MonitoringFigure.objects.create(
            window=made, group="inputs", metric=metric, feature=feature, value=0.3, low=0.2, high=0.4, p_adjusted=0.001, breach=breach
        )
    return made


def cause(champion, now=None):
    return retraining.cause_of(champion, alerts.Rules.in_force(), now or champion.created_at)


def test_causes_of_a_retraining(champion):
    assert cause(champion) is None
    window_with(champion, date(2026, 1, 1), ("psi", "amount", True), ("latency_p95", "", True))
    assert cause(champion) is None  # one breach may be chance
    window_with(champion, date(2026, 2, 1), ("psi", "income", True), ("latency_p95", "", True))
    assert cause(champion) is None  # another figure, and a slow queue is no reason to fit
    window_with(champion, date(2026, 3, 1), ("psi", "income", True))
    found = cause(champion)
    assert found.cause == "breaches"
    assert found.key == f"default_risk:{champion.pk}:breaches:2026-03-01"
    # A later look at the same window counts, not the earlier one.
    window_with(champion, date(2026, 3, 1), ("psi", "income", False))
    assert cause(champion) is None
    window_with(champion, date(2026, 4, 1), ("oe", "", True))
    assert cause(champion).cause == "oe"
    assert "excludes 1" in cause(champion).reason
    window_with(champion, date(2026, 4, 1), ("oe", "", False))
    old = cause(champion, champion.created_at + timedelta(days=400))
    assert (old.cause, old.key.rsplit(":", 1)[1]) == ("age", "1")
    make_history(1600)
    assert cause(champion) is None
    make_history(200, seed=9)
    fresh = cause(champion)
    assert fresh.cause == "labels"
    assert "400 loans" in fresh.reason


def test_a_retraining_rests_until_it_can_be_judged(champion):
    make_history(1800)
    (opened,) = retraining.consider(wake=False)
    assert retraining.consider(wake=False) == []
    TrainingRun.objects.filter(pk=opened.training_run_id).update(state="cancelled")
    make_history(800, seed=8)
    assert retraining.consider(wake=False) == []  # the cool-down
    AlertRule.objects.create(metric="cooldown", limit=0, owner="Risk", reason="For this test.")
    (again,) = retraining.consider(wake=False)
    assert again.key != opened.key
    assert AuditEvent.objects.filter(action="retraining.opened").count() == 2


@pytest.mark.django_db(transaction=True)
def test_twenty_schedulers_open_one_retraining(champion):
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection

    # A test that commits before this one has emptied every table, the rules of the migration among them.
    AlertRule.objects.create(metric="new_labels", limit=0.25, owner="Risk", reason="For this test.")
    make_history(1800)

    def one(_):
        try:
            return len(retraining.consider(wake=False))
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        opened = list(pool.map(one, range(20)))
    assert sum(opened) == 1
    assert (Retraining.objects.count(), TrainingRun.objects.count()) == (1, 1)


def test_mail_that_does_not_go_out_is_tried_again(champion, settings, monkeypatch):
    settings.ALERT_EMAILS = ["owner@lender.example"]
    Alert.objects.create(model_version=champion, metric="oe", text="O/E 1.4")
    monkeypatch.setattr(alerts, "send_mail", lambda *args, **more: (_ for _ in ()).throw(ConnectionRefusedError()))
    assert alerts.tell() == 0
    monkeypatch.undo()
    assert alerts.tell() == 1
    assert alerts.tell() == 0
    assert len(mail.outbox) == 1
