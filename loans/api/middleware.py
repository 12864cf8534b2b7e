"""Around every request: its id, and the promise that an error under /api/ is a problem document whoever made it."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from loans.api import problems
from loans.services import metrics, request_id


class RequestIdMiddleware:
    """Takes a sane X-Request-ID or makes one, returns it, and holds it for the log while the request runs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.request_id = request_id.from_header(request.headers.get("X-Request-ID"))
        token, began = request_id.current.set(request.request_id), time.monotonic()
        try:
            response = self._as_problem(request, self.get_response(request))
        finally:
            request_id.current.reset(token)
        match = request.resolver_match
        metrics.answered(match.view_name if match else "none", request.method, response.status_code, time.monotonic() - began)
        response["X-Request-ID"] = request.request_id
        return response

    @staticmethod
    def _as_problem(request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Django's own error pages (a bad host, a renderer that failed, the debug page) are HTML; an API client can't read that."""
        if response.status_code < 400 or not request.path_info.startswith("/api/"):
            return response
        if response.get("Content-Type", "").startswith(problems.MEDIA_TYPE):
            return response
        return problems.for_status(response.status_code)
