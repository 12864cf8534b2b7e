"""Scoring jobs: where the promised score is."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from loans.api.base import DeskView
from loans.api.predictions import PredictionSerializer
from loans.models import LoanApplication, ScoringJob, ScoringState


class JobSummarySerializer(serializers.Serializer):
    id = serializers.IntegerField()
    url = serializers.HyperlinkedIdentityField(view_name="api:job", lookup_field="pk")
    application = serializers.IntegerField(source="application_id")
    state = serializers.ChoiceField(choices=ScoringState.choices, help_text="`failed`: a person decides without a score.")
    attempts = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


class JobSerializer(JobSummarySerializer):
    prediction = PredictionSerializer(allow_null=True, help_text="When it is done.")


class JobDetail(DeskView):
    serializer_class = JobSerializer
    queryset = ScoringJob.objects.none()

    @extend_schema(operation_id="jobs_retrieve", summary="Read a scoring job")
    def get(self, request: Request, pk: int) -> Response:
        """The state of one scoring job and, when it is done, its prediction. Ask again after a second until it is `done` or `failed`."""
        visible = LoanApplication.objects.visible_to(request.user)
        job = self.found(ScoringJob.objects.filter(pk=pk, application__in=visible).first())
        job.prediction = job.predictions.filter(shadow=False).select_related("model_version").first()
        return Response(self.get_serializer(job).data)
