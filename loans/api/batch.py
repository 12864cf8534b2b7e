"""Up to 1,000 applications in one request, each with a result of its own."""

from __future__ import annotations

import marshal
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from loans.api import problems
from loans.api.applications import ApplicationInputSerializer, read_application
from loans.api.base import DeskView
from loans.api.idempotency import IDEMPOTENCY_KEY, IDEMPOTENCY_PROBLEMS, idempotent
from loans.api.schema import FieldErrorSerializer
from loans.queries.in_force import in_force
from loans.services import batch, intake, suspects
from loans.services.idempotency import Answer

MOST = 1_000


class BatchInputSerializer(serializers.Serializer):
    applications = serializers.ListField(child=ApplicationInputSerializer(), min_length=1, max_length=MOST)


class BatchResultSerializer(serializers.Serializer):
    index = serializers.IntegerField(help_text="Place in the request, from 0.")
    accepted = serializers.BooleanField()
    id = serializers.IntegerField(allow_null=True)
    url = serializers.CharField(allow_null=True)
    job = serializers.IntegerField(allow_null=True, help_text="Id of its scoring job.")
    external_reference = serializers.CharField(allow_null=True)
    problem = serializers.CharField(allow_null=True, help_text="Why it was not accepted: the name of a kind of problem.")
    errors = FieldErrorSerializer(many=True)


class BatchSerializer(serializers.Serializer):
    accepted = serializers.IntegerField()
    rejected = serializers.IntegerField()
    results = BatchResultSerializer(many=True)


class ApplicationBatch(DeskView):
    scopes: ClassVar = {"POST": "submit"}
    problems: ClassVar = {"POST": IDEMPOTENCY_PROBLEMS}
    throttle_scope = "batch"
    serializer_class = BatchSerializer

    @property
    def max_bytes(self) -> int:
        return settings.BATCH_MAX_BYTES

    @extend_schema(
        operation_id="applications_batch_create",
        summary="Submit many applications",
        request=BatchInputSerializer,
        responses={200: BatchSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> Response:
        """Submit up to 1,000 applications. Each is checked as if it came alone; those that are wrong are named, and the others are stored
        in one transaction with their scoring jobs. Where twenty or more are good, their scores are stored with them if a model serves;
        others follow within seconds.
        """
        rows = _rows(request.data)
        return idempotent(request, lambda: self._store(request, rows))

    def _store(self, request: Request, rows: list[Any]) -> Answer:
        now = in_force()
        known = intake.Known(now.products, now.attributes, intake.Moulds.of(request.user))
        results: list[dict[str, Any]] = [{} for _ in rows]
        ready: dict[int, intake.Ready] = {}
        for index, row in enumerate(rows):
            try:
                ready[index] = intake.prepare(read_application(row), submitted_by=request.user, known=known)
            except (serializers.ValidationError, intake.InvalidApplication) as error:
                results[index] = _rejected(index, row, "invalid", getattr(error, "detail", None) or error.errors)
        address = reverse("api:applications", request=request)
        stored = batch.submit(list(ready.values()), now=now, digest=suspects.digest_of(marshal.dumps(rows, 2)))
        accepted = []
        for index, outcome in zip(ready, stored, strict=True):
            if isinstance(outcome, intake.DuplicateReference):
                results[index] = _rejected(index, rows[index], "duplicate-reference", {"external_reference": [str(outcome)]})
                continue
            pk = outcome.application.pk
            accepted.append(pk)
            results[index] = {
                "index": index, "accepted": True, "id": pk, "url": f"{address}{pk}/", "job": outcome.job.pk,
                "external_reference": outcome.application.external_reference, "problem": None, "errors": [],
            }  # fmt: skip
        body = {"accepted": len(accepted), "rejected": len(rows) - len(accepted), "results": results}
        return Answer(200, body, "", accepted)


def _rows(data: Any) -> list[Any]:
    if not isinstance(data, dict) or set(data) != {"applications"} or not isinstance(data["applications"], list):
        raise problems.InvalidRequest({"applications": "must be a list of applications, and nothing beside it"})
    rows = data["applications"]
    if not 1 <= len(rows) <= MOST:
        raise problems.InvalidRequest({"applications": f"has {len(rows):,} entries; 1 to {MOST:,} are taken in one batch"})
    return rows


def _rejected(index: int, row: Any, problem: str, errors: Any) -> dict[str, Any]:
    reference = row.get("external_reference") if isinstance(row, dict) else None
    return {
        "index": index, "accepted": False, "id": None, "url": None, "job": None,
        "external_reference": reference if isinstance(reference, str) else None, "problem": problem,
        "errors": problems.field_errors(errors)[: problems.MAX_ERRORS],
    }  # fmt: skip
