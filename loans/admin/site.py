"""What unfold asks of us on every page: style, script and icon, the badge in the corner, the sidebar's entries."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static


def environment(request: HttpRequest) -> list[str] | None:
    """A badge where this is not the real desk; none in production, where it would be noise."""
    return ["Development", "warning"] if settings.DEBUG else None


def style(request: HttpRequest) -> str:
    return static("loans/desk.css")


def script(request: HttpRequest) -> str:
    return static("loans/desk.js")


def favicon(request: HttpRequest) -> str:
    return static("loans/favicon.svg")


def _may(permission: str) -> Callable[[HttpRequest], bool]:
    def may(request: HttpRequest) -> bool:
        return request.user.has_perm(permission)

    return may


may_view_applications = _may("loans.view_loanapplication")
may_view_decisions = _may("loans.view_decision")
may_view_notices = _may("loans.view_adverseactionnotice")
may_view_forecasts = _may("loans.view_demandforecast")
may_view_imports = _may("loans.view_importbatch")
may_view_models = _may("loans.view_modelversion")
may_view_bulk_jobs = _may("loans.view_bulkrun")
may_view_comparisons = _may("loans.view_modelcomparison")
may_view_promotion_checks = _may("loans.view_promotioncheck")
may_view_promotion_policies = _may("loans.view_promotionpolicy")
may_view_monitoring = _may("loans.view_monitoringwindow")
may_view_alerts = _may("loans.view_alert")
may_view_alert_rules = _may("loans.view_alertrule")
may_view_trainings = _may("loans.view_trainingrun")
may_view_table_edits = _may("loans.view_tableedit")
may_view_attributes = _may("loans.view_attributedefinition")
may_change_products = _may("loans.change_loanproduct")
may_view_keys = _may("loans.view_apikey")
may_view_branches = _may("loans.view_branch")
may_view_audit = _may("loans.view_auditevent")
may_view_webhooks = _may("loans.view_webhookendpoint")
may_view_deliveries = _may("loans.view_webhookdelivery")
may_view_users = _may("auth.view_user")
may_view_groups = _may("auth.view_group")
may_view_policies = _may("loans.view_policy")
may_view_fraud_flags = _may("loans.view_fraudflag")
may_view_fraud_rules = _may("loans.view_fraudrule")
