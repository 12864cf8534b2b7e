"""So many requests a minute for each key and scope; 429 with Retry-After beyond."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from loans.models import ApiKey
from loans.services import throttling


class PerClient(BaseThrottle):
    """A key has a count of its own, so that one client's busy key leaves its others alone; who is logged in has one as a user."""

    waiting: float | None = None

    def allow_request(self, request: Request, view: Any) -> bool:
        scope = getattr(view, "throttle_scope", None) or view.scopes.get("GET" if request.method == "HEAD" else request.method)
        most = settings.THROTTLES.get(scope)
        if not most:
            return True
        who = f"key:{request.auth.pk}" if isinstance(request.auth, ApiKey) else f"user:{request.user.pk}"
        self.waiting = throttling.count(f"{scope}:{who}", most)
        return self.waiting is None

    def wait(self) -> float | None:
        return self.waiting
