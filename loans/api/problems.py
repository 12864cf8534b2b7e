"""Every error of the API as one `application/problem+json` (RFC 9457), made in one place.

Services raise their own exceptions and know nothing of HTTP; `handle` maps them. What nobody foresaw becomes a 500 with the
request's id and no detail: the detail is in the log under the same id.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from rest_framework import exceptions
from rest_framework.settings import api_settings

from loans.services import decisions, idempotency, intake, request_id, rulepack

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100
MAX_PATH = 200


@dataclass(frozen=True)
class Kind:
    """One kind of problem; its `type` is /api/problems/SLUG/, which answers with this row."""

    slug: str
    status: int
    title: str
    meaning: str


KINDS: dict[str, Kind] = {
    kind.slug: kind
    for kind in (
        Kind("invalid", 400, "The request is not valid", "`errors` names each field and what is wrong with it. Nothing was stored."),
        Kind("malformed", 400, "The body is not usable JSON", "It is not JSON, repeats a key, or holds a number that JSON does not have."),
        Kind("bad-request", 400, "The request can't be understood", "Its address or its headers are not meant for this site."),
        Kind("unauthenticated", 401, "Log in first", "The key is missing, unknown, expired or revoked."),
        Kind("forbidden", 403, "Not allowed", "The key lacks a scope, its user a permission, or a session's request its CSRF token."),
        Kind("not-found", 404, "Nothing here", "There is no such thing, or it is not yours to see."),
        Kind("method-not-allowed", 405, "Method not allowed", "`Allow` lists the methods that this address takes."),
        Kind("not-acceptable", 406, "No such format", "The API answers in JSON; ask for application/json."),
        Kind("duplicate-reference", 409, "This reference is taken", "An application with the same external_reference was received before."),
        Kind("already-decided", 409, "Already decided", "Somebody else's decision stands."),
        Kind("score-changed", 409, "The score has changed", "The application was scored anew since; look at the new score first."),
        Kind("not-decidable", 409, "Not to be decided now", "The application's status does not allow this decision."),
        Kind("in-flight", 409, "Still being worked on", "A request with this Idempotency-Key has not ended yet; ask again."),
        Kind("too-large", 413, "The body is too large", "`detail` names the limit."),
        Kind("unsupported-media-type", 415, "Unsupported media type", "Send JSON with Content-Type: application/json."),
        Kind("key-reused", 422, "This key was used before", "An Idempotency-Key names one request; another request takes another."),
        Kind("throttled", 429, "Too many requests", "Try again after the seconds that `Retry-After` names."),
        Kind("unexpected", 500, "Something went wrong here", "It is in our log under `request_id`; quote that."),
        Kind("unavailable", 503, "The database can't be reached", "Nothing was stored; try again."),
    )
}
_BY_STATUS = {kind.status: kind for kind in reversed(KINDS.values())} | {400: KINDS["bad-request"]}


def response(
    slug: str, detail: str = "", *, errors: Mapping | None = None, headers: Mapping[str, str] | None = None, **more: Any
) -> HttpResponse:
    """One problem. `errors` is nested as serializers give it; `more` are members of this kind of problem only.

    A plain HttpResponse: an error must come out the same whichever renderer the failed request had asked for.
    """
    kind = KINDS[slug]
    body: dict[str, Any] = {"type": f"/api/problems/{slug}/", "title": kind.title, "status": kind.status, "detail": detail or kind.meaning}
    if errors is not None:
        found = field_errors(errors)
        body["errors"] = found[:MAX_ERRORS]
        if len(found) > MAX_ERRORS:
            body["detail"] += f" The first {MAX_ERRORS} of {len(found)} errors are listed."
    body |= more | {"request_id": request_id.current.get()}
    # ASCII: a message may quote a lone surrogate, which has no encoding in UTF-8.
    return HttpResponse(json.dumps(body, ensure_ascii=True), status=kind.status, content_type=MEDIA_TYPE, headers=dict(headers or {}))


def field_errors(errors: Any) -> list[dict[str, str]]:
    """[{"field", "message"}] of errors nested as serializers give them."""
    return [{"field": field[:MAX_PATH], "message": message} for field, message in _flat(errors)]


def for_status(status: int) -> HttpResponse:
    """The problem of an answer that was not made here (a middleware's, Django's own)."""
    return response(_BY_STATUS.get(status, _BY_STATUS[500 if status >= 500 else 400]).slug)


class InvalidRequest(exceptions.APIException):
    """What is wrong with a request, by field path, where no serializer said it."""

    status_code = 400

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("invalid")
        self.errors = {field: [message] for field, message in errors.items()}


class Malformed(exceptions.ParseError):
    """The body is not JSON that we read; `errors` where it can be said which part."""

    def __init__(self, detail: str, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.errors = {field: [message] for field, message in errors.items()} if errors else None


class TooLarge(exceptions.APIException):
    status_code = 413


def handle(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """DRF's exception handler: `settings.REST_FRAMEWORK["EXCEPTION_HANDLER"]`."""
    for types, make in _HANDLERS:
        if isinstance(error, types):
            return make(error)
    # No message: a database's or a parser's quotes the values that it choked on, which may be somebody's.
    logger.error(
        "%s in %s\n%s",
        type(error).__qualname__,
        type(context.get("view")).__qualname__,
        "".join(traceback.format_tb(error.__traceback__)),
    )
    return response("unexpected")


def _invalid(errors: Mapping | list) -> HttpResponse:
    found = list(_flat(errors))
    summary = "; ".join(f"{field}: {message}" if field else message for field, message in found[:3])
    return response("invalid", summary + ("; …" if len(found) > 3 else ""), errors=errors)


def _decision_refused(error: decisions.DecisionRefused) -> HttpResponse:
    if error.field:
        return _invalid({error.field: [str(error)]})
    return response("not-decidable", str(error))


def _unauthenticated(error: exceptions.APIException) -> HttpResponse:
    return response("unauthenticated", str(error.detail), headers={"WWW-Authenticate": getattr(error, "auth_header", "") or "Bearer"})


def _throttled(error: exceptions.Throttled) -> HttpResponse:
    return response("throttled", headers={"Retry-After": str(max(1, int(error.wait or 1)))})


def _not_authorised(error: exceptions.APIException) -> HttpResponse:
    # DRF turns a 401 into a 403 where no authenticator names a scheme; ours always does.
    return response("forbidden", str(getattr(error, "detail", "")) or str(error))


_HANDLERS: tuple[tuple[Any, Any], ...] = (
    (InvalidRequest, lambda error: _invalid(error.errors)),
    (intake.InvalidApplication, lambda error: _invalid(error.errors)),
    (rulepack.UnknownReason, lambda error: _invalid({"reason": [str(error)]})),
    (exceptions.ValidationError, lambda error: _invalid(error.detail)),
    (intake.DuplicateReference, lambda error: response("duplicate-reference", str(error), errors={"external_reference": [str(error)]})),
    (decisions.AlreadyDecided, lambda error: response("already-decided", str(error))),
    (decisions.ScoreChanged, lambda error: response("score-changed", str(error))),
    (decisions.DecisionRefused, _decision_refused),
    (idempotency.InFlight, lambda error: response("in-flight", str(error), headers={"Retry-After": "1"})),
    (idempotency.KeyReused, lambda error: response("key-reused", str(error))),
    (Malformed, lambda error: response("malformed", str(error.detail), errors=error.errors)),
    (exceptions.ParseError, lambda error: response("malformed", str(error.detail))),
    ((exceptions.NotAuthenticated, exceptions.AuthenticationFailed), _unauthenticated),
    ((exceptions.PermissionDenied, PermissionDenied), _not_authorised),
    ((exceptions.NotFound, Http404), lambda error: response("not-found")),
    (exceptions.MethodNotAllowed, lambda error: response("method-not-allowed", str(error.detail))),
    (exceptions.NotAcceptable, lambda error: response("not-acceptable")),
    (exceptions.UnsupportedMediaType, lambda error: response("unsupported-media-type", str(error.detail))),
    (exceptions.Throttled, _throttled),
    ((TooLarge, RequestDataTooBig), lambda error: response("too-large", str(getattr(error, "detail", "")))),
    ((OperationalError, InterfaceError), lambda error: response("unavailable", headers={"Retry-After": "5"})),
)


def _flat(errors: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """("applicant.email", "…") from a serializer's nested dicts and lists; a whole object's own error has its path alone."""
    if isinstance(errors, Mapping):
        for name, inner in errors.items():
            own = name == api_settings.NON_FIELD_ERRORS_KEY
            yield from _flat(inner, path if own else f"{path}.{name}" if path else str(name))
    elif isinstance(errors, list | tuple):
        for position, inner in enumerate(errors):
            if isinstance(inner, Mapping):
                yield from _flat(inner, f"{path}[{position}]")
            else:
                yield from _flat(inner, path)
    else:
        yield path, str(errors)
