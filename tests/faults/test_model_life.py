"""A model's whole life with the real scheduler, workers and web: drift, alarm, retraining, shadow, approval, service, roll-back, audit."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
import urllib.request
from datetime import timedelta
from http.cookiejar import CookieJar

import pytest
from django.utils import timezone

from tests.faults.desk import FaultDesk
from tests.services import start_worker, wait_until

pytestmark = pytest.mark.faults
MINUTES = 240
SECRET = "a long enough passphrase 7"


class Person:
    """Somebody with a browser and no script."""

    def __init__(self, desk: FaultDesk, name: str) -> None:
        self.base = f"http://127.0.0.1:{desk.port}"
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.post("/admin/login/", username=name, password=SECRET, next="/admin/")

    def get(self, path: str) -> str:
        with self.opener.open(self.base + path, timeout=60) as answer:
            return answer.read().decode()

    def post(self, path: str, *, page: str | None = None, **fields: str) -> str:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(page or path))[1]
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": token, **fields}).encode()
        request = urllib.request.Request(self.base + path, data, {"Referer": self.base + (page or path)})
        with self.opener.open(request, timeout=120) as answer:
            return answer.read().decode()


def past(count: int, seed: int, first: int, last: int, *, drifted: bool) -> None:
    """Loans with outcomes, submitted between so many days ago; drifted: applicants with twice the obligations and less income."""
    from loans.models import LoanApplication
    from tests.factories import make_outcomes

    make_outcomes(count, seed=seed)
    rows = list(LoanApplication.objects.filter(external_reference__startswith=f"H-{seed}-").order_by("external_reference"))
    now = timezone.now()
    for number, row in enumerate(rows):
        row.submitted_at = now - timedelta(days=first - (first - last) * number / count)
        if drifted:
            row.revolving_utilisation = 0.9
            row.amount = row.amount * 3
    LoanApplication.objects.bulk_update(rows, ["submitted_at", "revolving_utilisation", "amount"])


def score_one(desk: FaultDesk, key: str) -> int:
    """The version that answers a new application; at the web process itself, unless that had no time for it."""
    from loans.models import Prediction

    body = json.dumps({"amount": "9000", "annual_income": "40000", "debt_to_income": 0.2}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{desk.port}/api/v1/applications/?wait=1",
        body,
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        told = json.load(answer)
    if told["prediction"] is not None:
        return told["prediction"]["model"]["version"]
    found = Prediction.objects.filter(application_id=told["id"], shadow=False)
    wait_until(found.exists, 60, "a score of the new application")
    return found.get().model_version.version


def test_from_drift_to_roll_back(open_desk) -> None:
    desk = open_desk(FAULTS_FEW_RUNGS="1", MONITORING_PERIOD="month")
    desk.fill(champion=False)
    with desk.orm():
        from django.contrib.auth import get_user_model
        from django.contrib.auth.models import Group
        from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

        from loans.models import ApiKey, AuditEvent, LoanApplication, ModelVersion, Prediction, PromotionCheck, PromotionPolicy, Retraining
        from loans.services import training
        from tests.factories import make_pending
        from tests.loans.admin.conftest import ensure_roles

        ensure_roles()
        owners = Group.objects.get(name="Model owners")
        second = get_user_model().objects.create_user("second", password=SECRET, is_staff=True, first_name="Second")
        second.groups.add(owners)
        _, key = ApiKey.issue(user=get_user_model().objects.create_user("shop"), name="Shop", scopes=["submit", "read"])
        PromotionPolicy.objects.create(
            auc_margin=0.1, brier_margin=0.5, oe_margin=2, impact_margin=1, reasons_agreement=0.1, least_rows=100, least_defaults=10,
            shadow_days=0, shadow_scores=20, reason="A flow in minutes: limits as wide as a small world needs.",
        )  # fmt: skip
        past(1200, 1, 900, 130, drifted=False)
        run = training.start_training("default_risk", by=None, wake=False)
    desk.shell(f"from loans.services import training\nassert training.run_training({run.pk}).state == 'done'")
    desk.start("worker", "sweeper", "web")
    desk.processes["trainer"] = start_worker(desk.environment, ("training",), log=desk.folder / "trainer.log", wait=False)
    with desk.orm():
        wait_until(lambda: _up(desk), 90, "the web process")
        assert score_one(desk, key) == 1
        past(900, 2, 125, 1, drifted=True)
        desk.start("beat")
        every, _ = IntervalSchedule.objects.get_or_create(every=5, period="seconds")
        desk.processes["beat"].wait_for("Schedule changed", timeout=60)
        time.sleep(6)  # it looks for changed rows every five seconds, and has just read them
        for task in ("loans.monitor", "loans.check_promotions"):
            # The clock is real, the hour is not waited for: the scheduler follows its rows.
            PeriodicTask.objects.filter(task=task).update(crontab=None, interval=every, expires=None, expire_seconds=None)
        PeriodicTasks.update_changed()
        wait_until(lambda: Retraining.objects.exists(), MINUTES, "the alarm and a retraining")
        wait_until(lambda: ModelVersion.objects.filter(version=2, state="shadow").exists(), MINUTES, "the challenger in shadow")
        make_pending(40)
        wait_until(lambda: Prediction.objects.filter(shadow=True).count() >= 40, 90, "the shadow's scores")
        assert set(Prediction.objects.filter(shadow=True).values_list("model_version__version", flat=True)) == {2}
        wait_until(lambda: PromotionCheck.objects.filter(state="open").exists(), MINUTES, "a check by the clock")
        assert score_one(desk, key) == 1, "nobody has approved it yet"
        check = PromotionCheck.objects.filter(state="open").first()
        page = f"/admin/loans/promotioncheck/{check.pk}/change/"
        person = Person(desk, "second")
        assert "serves from now on" in person.post(page.replace("change", "approve"), page=page, reason="It has seen the new applicants.")
        assert score_one(desk, key) == 2
        make_pending(10)
        wait_until(lambda: Prediction.objects.filter(shadow=False, model_version__version=2).count() >= 11, 60, "the workers' scores by it")
        version = ModelVersion.objects.get(version=2)
        page = f"/admin/loans/modelversion/{version.pk}/change/"
        person.post(page.replace("change", "roll-back"), page=page, reason="The officers do not trust it yet.")
        assert score_one(desk, key) == 1
        assert LoanApplication.objects.filter(default_probability__isnull=False).count() >= 50
        told = list(AuditEvent.objects.order_by("at", "pk").values_list("action", flat=True))
        story = (
            "model.trained", "model.promoted", "retraining.opened", "model.trained", "model.shadow_started", "model.checked",
            "model.approved", "model.promoted", "model.rolled_back",
        )  # fmt: skip
        at = -1
        for action in story:
            assert action in told[at + 1 :], f"{action} is not told after {story[: story.index(action)]}: {told}"
            at = told.index(action, at + 1)
        assert AuditEvent.objects.filter(action="model.approved", actor_name="second").exists()


def _up(desk: FaultDesk) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{desk.port}/healthz", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
