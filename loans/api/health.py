"""/healthz, /readyz and /metrics, for orchestrators and monitoring. What each check means is in `loans.services.health`."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from loans.api.renderers import MetricsRenderer
from loans.models import ApiKey
from loans.services import health, metrics


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """This process answers. Nothing else is looked at: restarting the site does not mend a database."""
    return JsonResponse({"status": "alive"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """503 where the database is down, else 200 with what is degraded by name."""
    found = health.readiness()
    checks = {check.name: {"state": check.state, "detail": check.words} for check in found.checks}
    body = {"status": found.state, "degraded": found.degraded, "checks": checks}
    return JsonResponse(body, status=503 if found.state == "down" else 200)


class MetricsAccess(BasePermission):
    """From this machine itself, or by staff; a key's owner must be staff and the key have the scope `read`."""

    def has_permission(self, request: Request, view: object) -> bool:
        if request.user.is_authenticated:
            return request.user.is_staff and (not isinstance(request.auth, ApiKey) or "read" in request.auth.scopes)
        # Behind a proxy on the same machine everybody comes from 127.0.0.1; a proxy says so in a header.
        forwarded = any(name in request.headers for name in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via"))
        return request.META.get("REMOTE_ADDR") in ("127.0.0.1", "::1") and not forwarded


class MetricsView(APIView):
    """Prometheus' text format. No personal data, no labels with unbounded values."""

    permission_classes = (MetricsAccess,)
    renderer_classes = (MetricsRenderer,)
    http_method_names = ("get", "head")
    schema: ClassVar = None

    def get(self, request: Request) -> Response:
        work = health.workload()
        lines = [
            "# HELP loandesk_scoring_jobs Scoring jobs by state.",
            "# TYPE loandesk_scoring_jobs gauge",
            *(f'loandesk_scoring_jobs{{state="{state}"}} {count}' for state, count in work.jobs.items()),
            "# HELP loandesk_scoring_oldest_waiting_seconds Age of the oldest application that waits for its score.",
            "# TYPE loandesk_scoring_oldest_waiting_seconds gauge",
            f"loandesk_scoring_oldest_waiting_seconds {work.oldest_waiting:.3f}",
            "# HELP loandesk_champion_version Version of the serving default-risk model, 0 where none serves.",
            "# TYPE loandesk_champion_version gauge",
            f'loandesk_champion_version{{kind="default_risk"}} {work.champion}',
            "# HELP loandesk_webhook_deliveries Notices owed (pending) and given up (failed).",
            "# TYPE loandesk_webhook_deliveries gauge",
            *(f'loandesk_webhook_deliveries{{state="{state}"}} {count}' for state, count in work.webhooks.items()),
            "# HELP loandesk_heartbeat_age_seconds Since the last sign of life, by kind of process.",
            "# TYPE loandesk_heartbeat_age_seconds gauge",
            *(f'loandesk_heartbeat_age_seconds{{role="{role}"}} {age:.3f}' for role, age in work.heartbeats.items()),
            "# HELP loandesk_partitions_ahead Coming months with a partition, by growing table; -1: rows had none of their month.",
            "# TYPE loandesk_partitions_ahead gauge",
            *(f'loandesk_partitions_ahead{{table="{name}"}} {number}' for name, number in work.months.items()),
        ]
        answer = Response("\n".join(lines) + "\n" + metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")
        answer["Cache-Control"] = "no-store"
        return answer
