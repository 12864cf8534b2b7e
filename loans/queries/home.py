"""What each person finds on the first page: his work by age and risk, what was decided, what serves, what runs. Eight queries at most."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F

from loans.models import Decision, ImportBatch, LoanApplication, ModelVersion, Status, TrainingRun
from loans.models.job import ACTIVE_RUN
from loans.queries.inbox import Waiting, waiting
from loans.queries.model_page import Worth, worth

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
    sees_jobs: bool
    now: datetime


def home(user: Any, *, now: datetime) -> Home:
    sees, people = user.has_perm("loans.view_loanapplication"), user.has_perm("loans.view_personal_data")
    sees_models, sees_decisions = user.has_perm("loans.view_modelversion"), user.has_perm("loans.view_decision") and sees
    sees_runs, sees_imports = user.has_perm("loans.view_trainingrun"), user.has_perm("loans.view_importbatch")
    visible = LoanApplication.objects.visible_to(user)
    champion = ModelVersion.objects.champion() if sees_models else None
    return Home(
        to_decide=waiting(visible.to_decide()) if sees else None,
        waiting=waiting(visible.filter(status=Status.RECEIVED)) if sees else None,
        riskiest=_riskiest(visible, people) if sees else [],
        decisions=_decisions() if sees_decisions else [],
        sees_decisions=sees_decisions,
        champion=worth(champion) if champion else None,
        sees_models=sees_models,
        runs=list(TrainingRun.objects.filter(state__in=ACTIVE_RUN)[:5]) if sees_runs else [],
        imports=list(ImportBatch.objects.filter(state__in=ACTIVE_RUN).defer("mapping")[:5]) if sees_imports else [],
        sees_jobs=sees_runs or sees_imports,
        now=now,
    )


def _riskiest(visible: Any, people: bool) -> list[LoanApplication]:
    related = ("product", "applicant") if people else ("product",)
    wanted = ["external_reference", "submitted_at", "amount", "purpose", "default_probability", "grade", "synthetic", "product__name"]
    rows = visible.to_decide().filter(default_probability__isnull=False).order_by(F("default_probability").desc(nulls_last=True), "pk")
    return list(rows.select_related(*related).only(*wanted, *(["applicant__name"] if people else []))[:RISKIEST])


def _decisions() -> list[Decision]:
    rows = Decision.objects.select_related("application", "officer").order_by("-pk")
    return list(
        rows.only(
            "outcome", "reason_text", "created_at", "application__external_reference", "application__amount", "officer__username",
            "officer__first_name", "officer__last_name",
        )[:LAST]
    )  # fmt: skip
