"""The first page: numbers to act on, each a link to where one acts."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from loans.admin.application import SEES_PEOPLE, LoanApplicationAdmin
from loans.queries.application_page import DECIDED
from loans.queries.home import home
from loans.queries.words import age, code, money, percent

TONES = {"approve": "success", "decline": "danger", "refer": "warning"}


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """unfold's hook for the index page."""
    found = home(request.user, now=timezone.now())
    inbox = reverse("admin:loans_loanapplication_changelist")
    context |= {
        "title": "Home",
        "home": found,
        "inbox_url": inbox,
        "by_risk_url": inbox + LoanApplicationAdmin.by_risk(people=request.user.has_perm(SEES_PEOPLE)),
        "decisions_url": reverse("admin:loans_decision_changelist"),
        "models_url": reverse("admin:loans_modelversion_changelist"),
        "champion_url": reverse("admin:loans_modelversion_change", args=[found.champion.version.pk]) if found.champion else "",
        "oldest": f"the oldest waits {age(found.to_decide.oldest, found.now)}" if found.to_decide and found.to_decide.oldest else "",
        "riskiest": [
            {
                "url": reverse("admin:loans_loanapplication_change", args=[row.pk]),
                "reference": row.external_reference,
                "name": row.applicant.name if "applicant" in row._state.fields_cache and row.applicant else "",
                "what": " · ".join(part for part in (row.product.name if row.product_id else "", code(row.purpose)) if part),
                "amount": money(row.amount),
                "grade": row.grade,
                "percent": percent(row.default_probability),
                "age": age(row.submitted_at, found.now),
            }
            for row in found.riskiest
        ],
        "decisions": [
            {
                "url": reverse("admin:loans_loanapplication_change", args=[row.application_id]),
                "reference": row.application.external_reference,
                "amount": money(row.application.amount),
                "outcome": DECIDED[row.outcome],
                "tone": TONES[row.outcome],
                "reason": row.reason_text,
                "who": row.officer.get_full_name() or row.officer.get_username(),
                "age": age(row.created_at, found.now),
            }
            for row in found.decisions
        ],
        "synthetic": any(row.synthetic for row in found.riskiest) or bool(found.champion and found.champion.synthetic),
        "jobs": [_job(run, "trainingrun") for run in found.runs] + [_job(batch, "importbatch") for batch in found.imports],
        "administers": [
            (title, reverse(f"admin:{name}_changelist"), text)
            for title, name, text, permission in (
                ("Users", "auth_user", "Who may sign in, and in which role", "auth.view_user"),
                ("API keys", "loans_apikey", "Which systems may submit and read", "loans.add_apikey"),
                ("Products", "loans_loanproduct", "What is lent", "loans.change_loanproduct"),
            )
            if request.user.has_perm(permission)
        ],
    }
    return context


def _job(run: Any, name: str) -> dict[str, Any]:
    return {
        "url": reverse(f"admin:loans_{name}_change", args=[run.pk]),
        "progress_url": reverse(f"admin:loans_{name}_progress", args=[run.pk]),
        "title": str(run),
        "percent": round(100 * run.share_done),
        "step": run.step or run.get_state_display(),
    }
