"""The header Idempotency-Key: a request that is sent twice is done once."""

from __future__ import annotations

import re
from collections.abc import Callable

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from loans.api.problems import InvalidRequest
from loans.services import idempotency
from loans.services.idempotency import Answer

HEADER = "Idempotency-Key"
IDEMPOTENCY_PROBLEMS = ("in-flight", "key-reused")
IDEMPOTENCY_KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="A name of your own for this request. Sent again with the same body within 30 days, it gets the same answer and nothing is"
    " done twice.",
)
_SANE = re.compile(r"[!-~]{1,255}", re.ASCII)


def idempotent(request: Request, work: Callable[[], Answer]) -> Response:
    """The answer of `work`, done once for this key where the request carries one."""
    key = request.headers.get(HEADER)
    if key is None:
        return _response(work())
    if not _SANE.fullmatch(key):
        raise InvalidRequest({HEADER: "must be 1 to 255 visible ASCII characters"})
    asked = idempotency.fingerprint(request.method, request.get_full_path(), request.data)
    return _response(idempotency.once(work, client=request.user, key=key, asked=asked))


def _response(answer: Answer) -> Response:
    headers = {"Location": answer.location} if answer.location else {}
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(answer.body, status=answer.status, headers=headers)
