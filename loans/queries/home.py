"""What each person finds on the first page: his work by age, deadline and risk, intake, decisions, models, jobs.

A dozen queries for whoever it is, the five of every request and the audit event included: what is small comes together (`tally`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F

from loans.models import (
    AdverseActionNotice,
    CheckState,
    Decision,
    DecisionProposal,
    FraudFlag,
    ImportBatch,
    ImportUndo,
    LoanApplication,
    ModelKind,
    ModelState,
    PromotionCheck,
    ProposalState,
    Status,
    TrainingRun,
)
from loans.models.job import ACTIVE_RUN
from loans.models.scope import in_scope
from loans.queries.inbox import Waiting
from loans.queries.intake_today import Intake, came_today, intake_today, products
from loans.queries.model_page import Worth, worth
from loans.queries.monitoring import Health, health, serving
from loans.queries.tally import tally

RISKIEST = 5
LAST = 6


@dataclass(frozen=True)
class Home:
    """None where the reader's role has nothing to do with it."""

    to_decide: Waiting | None
    waiting: Waiting | None
    riskiest: list[LoanApplication]
    decisions: list[Decision]
    sees_decisions: bool
    champion: Worth | None
    sees_models: bool
    runs: list[TrainingRun]
    imports: list[ImportBatch]
    undos: list[ImportUndo]
    sees_jobs: bool
    health: list[Health]
    counts: dict[str, int]
    intake: Intake | None
    now: datetime


def home(user: Any, *, now: datetime, overdue: datetime, soon: datetime) -> Home:
    """overdue, soon: who was submitted before is past his notice's last day, or will be within days (`services.deadlines`)."""
    sees, people = user.has_perm("loans.view_loanapplication"), user.has_perm("loans.view_personal_data")
    sees_models, sees_decisions = user.has_perm("loans.view_modelversion"), user.has_perm("loans.view_decision") and sees
    sees_runs, sees_imports = user.has_perm("loans.view_trainingrun"), user.has_perm("loans.view_importbatch")
    visible = LoanApplication.objects.visible_to(user)
    sees_windows, sees_forecasts = user.has_perm("loans.view_monitoringwindow"), user.has_perm("loans.view_demandforecast")
    versions = serving(report=sees_models) if sees_models or sees_windows else []
    champion = next((each for each in versions if each.kind == ModelKind.DEFAULT_RISK), None) if sees_models else None
    lists = _jobs(sees_runs, sees_imports)
    if sees:
        lists["oldest"] = visible.to_decide().order_by("submitted_at").values("submitted_at")[:1]
    if sees_forecasts:
        lists |= {"came": came_today(now), "products": products()}
    counts, listed = tally(_counts(user, visible, now=now, overdue=overdue, soon=soon) if sees else {}, lists)
    oldest = [datetime.fromisoformat(row["submitted_at"]) for row in listed.get("oldest", [])]
    return Home(
        to_decide=Waiting(counts["to_decide"], oldest[0] if oldest else None) if sees else None,
        waiting=Waiting(counts["waiting"], None) if sees else None,
        riskiest=_riskiest(visible, people) if sees else [],
        decisions=_decisions(user) if sees_decisions else [],
        sees_decisions=sees_decisions,
        champion=worth(champion) if champion else None,
        sees_models=sees_models,
        runs=[TrainingRun(**row) for row in listed.get("runs", [])],
        imports=[ImportBatch(**row) for row in listed.get("imports", [])],
        undos=[ImportUndo(**row) for row in listed.get("undos", [])],
        sees_jobs=sees_runs or sees_imports,
        health=health(versions, now=now) if sees_windows and versions else [],
        counts=counts,
        intake=intake_today(listed["came"], listed["products"], now=now) if sees_forecasts else None,
        now=now,
    )


def _jobs(sees_runs: bool, sees_imports: bool) -> dict[str, Any]:
    lists, common = {}, ("pk", "state", "share_done", "step")
    if sees_runs:
        lists["runs"] = TrainingRun.objects.filter(state__in=ACTIVE_RUN).values(*common, "kind")[:5]
    if sees_imports:
        lists["imports"] = ImportBatch.objects.filter(state__in=ACTIVE_RUN).values(*common, "file_name")[:5]
        lists["undos"] = ImportUndo.objects.filter(state__in=ACTIVE_RUN).values(*common, "batch_id")[:5]
    return lists


def _counts(user: Any, visible: Any, *, now: datetime, overdue: datetime, soon: datetime) -> dict[str, Any]:
    """What waits for this person, each by the list that shows it: querysets for `tally`."""
    rows: dict[str, Any] = {"waiting": visible.filter(status=Status.RECEIVED), "to_decide": visible.to_decide()}
    if user.has_perm("loans.decide_loanapplication"):
        rows["mine"] = visible.to_decide().filter(assigned_to=user)
        rows["overdue"] = visible.to_decide().filter(submitted_at__lt=overdue)
        rows["soon"] = visible.to_decide().filter(submitted_at__gte=overdue, submitted_at__lt=soon)
    if user.has_perm("loans.confirm_decision"):
        proposals = DecisionProposal.objects.filter(in_scope(user, "application__"), state=ProposalState.WAITING)
        rows["to_confirm"] = proposals.exclude(maker=user)
    if user.has_perm("loans.view_adverseactionnotice"):
        rows["notices"] = AdverseActionNotice.objects.visible_to(user).unsent()
    if user.has_perm("loans.view_fraudflag"):
        rows["flags"] = FraudFlag.objects.visible_to(user).in_queue()
    if user.has_perm("loans.promote_modelversion"):
        # Compared with what serves, and not for those who trained the version, or asked where nobody did.
        checks = PromotionCheck.objects.filter(state=CheckState.OPEN, against__state=ModelState.CHAMPION)
        rows["promotions"] = checks.exclude(version__created_by=user).exclude(version__created_by=None, requested_by=user)
    rows["today"] = visible.filter(submitted_at__gte=now.replace(hour=0, minute=0, second=0, microsecond=0))
    return rows


def _riskiest(visible: Any, people: bool) -> list[LoanApplication]:
    related = ("product", "applicant") if people else ("product",)
    wanted = ["external_reference", "submitted_at", "amount", "purpose", "default_probability", "grade", "synthetic", "product__name"]
    rows = visible.to_decide().filter(default_probability__isnull=False).order_by(F("default_probability").desc(nulls_last=True), "pk")
    return list(rows.select_related(*related).only(*wanted, *(["applicant__name"] if people else []))[:RISKIEST])


def _decisions(user: Any) -> list[Decision]:
    rows = Decision.objects.filter(in_scope(user, "application__")).select_related("application", "officer").order_by("-pk")
    return list(
        rows.only(
            "outcome", "reason_text", "created_at", "application__external_reference", "application__amount", "officer__username",
            "officer__first_name", "officer__last_name",
        )[:LAST]
    )  # fmt: skip
