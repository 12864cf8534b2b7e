"""Predictions: what the serving model said of an application, and why."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from loans.api.base import DeskView
from loans.api.filters import TimeFilter
from loans.models import BaselineKind, LoanApplication, ModelKind, Prediction
from loans.queries.partitions import written


class ReasonSerializer(serializers.Serializer):
    direction = serializers.ChoiceField(choices=["against", "for"], help_text="Whether it speaks against the applicant or for him.")
    code = serializers.CharField(help_text="The rule pack's code of a reason against; empty for one in favour.")
    text = serializers.CharField()
    family = serializers.CharField(help_text="What the reason is about; features that tell one story share a family.")
    column = serializers.CharField(help_text="The family's strongest feature here.")
    title = serializers.CharField()
    effect = serializers.FloatField(help_text="Log-odds that the family adds.")
    probability_change = serializers.FloatField()
    value = serializers.JSONField(allow_null=True, help_text="Of that feature.")
    missing = serializers.BooleanField()


class ScoringModelSerializer(serializers.Serializer):
    kind = serializers.ChoiceField(choices=ModelKind.choices)
    version = serializers.IntegerField()
    algorithm = serializers.CharField()
    synthetic = serializers.BooleanField(help_text="Trained on generated applications: worth nothing for real ones.")


class KnockOutSerializer(serializers.Serializer):
    rule = serializers.CharField()
    in_words = serializers.CharField()
    value = serializers.JSONField(allow_null=True)
    code = serializers.CharField(help_text="The rule pack's code of the decline reason.")
    text = serializers.CharField()


class _Stored(serializers.JSONField):
    """JSON that is for good: it goes out as it was written, even by an older version that wrote it otherwise."""

    def __init__(self, shape: serializers.Serializer, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)
        self._spectacular_annotation = {"field": shape}


class PredictionSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    application = serializers.IntegerField(source="application_id")
    job = serializers.IntegerField(source="scoring_job_id")
    kind = serializers.ChoiceField(choices=ModelKind.choices)
    model = ScoringModelSerializer(source="model_version")
    probability = serializers.FloatField(min_value=0, max_value=1)
    grade = serializers.CharField()
    points = serializers.IntegerField()
    log_odds = serializers.FloatField(help_text="= baseline + the sum of all contributions.")
    baseline = serializers.FloatField(help_text="Log-odds of the applicants that the contributions and reasons compare with.")
    baseline_kind = serializers.ChoiceField(choices=BaselineKind.choices, help_text="Who these applicants are.")
    advice = serializers.CharField(help_text="What the policy in force makes of it: approve, refer or decline; empty where there was none.")
    knock_outs = _Stored(KnockOutSerializer(many=True), help_text="Rules that ruled the application out whatever its score.")
    reasons = _Stored(ReasonSerializer(many=True), help_text="At most four against, then up to three for, the weightiest first.")
    contributions = serializers.DictField(child=serializers.FloatField(), help_text="Log-odds by feature.")
    created_at = serializers.DateTimeField()


class PredictionFilter(filters.FilterSet):
    application = filters.NumberFilter(field_name="application_id", min_value=1, max_value=2**63 - 1, decimal_places=0)
    kind = filters.ChoiceFilter(choices=ModelKind.choices)
    version = filters.NumberFilter(field_name="model_version__version", min_value=1, max_value=2**31 - 1, decimal_places=0)
    created_after = TimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = TimeFilter(field_name="created_at", lookup_expr="lt")

    def filter_queryset(self, queryset: QuerySet) -> QuerySet:
        """With the ids that a time can have: the index that the list is read in ends there."""
        asked = {name: self.form.cleaned_data.get(f"created_{after}") for name, after in (("since", "after"), ("before", "before"))}
        queryset = super().filter_queryset(queryset)
        return queryset.filter(written(**asked)) if any(asked.values()) else queryset


class PredictionList(DeskView):
    """Predictions of the applications that you may see, newest first. A shadow model's are never among them."""

    listed = True
    serializer_class = PredictionSerializer
    filterset_class = PredictionFilter
    queryset = Prediction.objects.none()

    def get_queryset(self) -> object:
        visible = LoanApplication.objects.visible_to(self.request.user)
        return Prediction.objects.filter(shadow=False, application__in=visible).select_related("model_version")

    @extend_schema(operation_id="predictions_list", summary="List predictions", responses=PredictionSerializer(many=True))
    def get(self, request: Request) -> Response:
        return self.listing(request)
