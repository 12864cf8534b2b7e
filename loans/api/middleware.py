"""Around every request: its id, and the promise that an error under /api/ is a problem document whoever made it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest, HttpResponse

from loans.api import problems
from loans.services import metrics, request_id


def by_key(request: HttpRequest) -> bool:
    """Whether an API client asks, by a key: such a request has no session, no messages and no login form."""
    return request.path_info.startswith("/api/") and request.META.get("HTTP_AUTHORIZATION", "")[:7].lower() == "bearer "


def for_people(base: type) -> type:
    """This middleware, which a request with a key passes by: what it does for people costs as much as validating an application."""

    class ForPeople(base):
        def __call__(self, request: HttpRequest) -> HttpResponse:
            return self.get_response(request) if by_key(request) else super().__call__(request)

    ForPeople.__name__, ForPeople.__doc__ = base.__name__, base.__doc__
    return ForPeople


SessionMiddleware = for_people(sessions.SessionMiddleware)
AuthenticationMiddleware = for_people(auth.AuthenticationMiddleware)
MessageMiddleware = for_people(messages.MessageMiddleware)


class PolicyMiddleware(CSPMiddleware):
    """The Content-Security-Policy, put together once where an answer asks for nothing of its own."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if not by_key(request) or any(name.startswith("_csp") for name in response.__dict__):
            return super().process_response(request, response)
        response.headers.setdefault(HEADER, _policy())
        return response


@functools.cache
def _policy() -> str:
    return build_policy()


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
