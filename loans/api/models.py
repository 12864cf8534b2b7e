"""Model versions, to read: which one serves, and what it is worth."""

from __future__ import annotations

from typing import Any

from django.db.models import F
from django.db.models.functions import Coalesce
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from loans.api.base import DeskView
from loans.models import ModelKind, ModelState, ModelVersion

# Name here: name in a report (`mlcore.metrics`).
HEADLINE = {"auc": "auc", "ks": "ks", "brier": "brier", "log_loss": "log_loss", "observed_expected": "oe", "profit": "profit"}
HEADLINE |= {"recall_at_5fpr": "recall_at_5fpr"}  # of fraud models
FIGURES = ("report__champion__figures", "report__judged__figures__merged", "report__judged__figures__weights")
"""Where a report has them; of a fraud model those of what serves, with what it learned from findings or without."""
BASELINES = ("prior_auc", "majority_accuracy", "default_rate")


class FigureSerializer(serializers.Serializer):
    value = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True, help_text="Lower end of the interval.")
    high = serializers.FloatField(allow_null=True)


class BaselineSerializer(serializers.Serializer):
    prior_auc = serializers.FloatField(allow_null=True)
    majority_accuracy = serializers.FloatField(allow_null=True)
    default_rate = serializers.FloatField(allow_null=True)


class ModelVersionSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=ModelKind.choices)
    version = serializers.IntegerField()
    state = serializers.ChoiceField(choices=ModelState.choices)
    algorithm = serializers.CharField()
    synthetic = serializers.BooleanField(help_text="Trained on generated applications: worth nothing for real ones.")
    created_at = serializers.DateTimeField()
    promoted_at = serializers.DateTimeField(allow_null=True)
    rows = serializers.IntegerField(allow_null=True, help_text="Loans that it learned from; of segments and fraud: applications.")
    figures = serializers.SerializerMethodField(help_text="Measured on loans (of fraud: findings) that it had not seen, with intervals.")
    baselines = serializers.SerializerMethodField(help_text="What the figures have to be read against.")

    @extend_schema_field(serializers.DictField(child=FigureSerializer()))
    def get_figures(self, version: ModelVersion) -> dict[str, dict[str, float | None]]:
        found = {name: _dict(_dict(version.figures).get(there)) for name, there in HEADLINE.items()}
        return {name: {end: figure.get(end) for end in ("value", "low", "high")} for name, figure in found.items() if figure}

    @extend_schema_field(BaselineSerializer)
    def get_baselines(self, version: ModelVersion) -> dict[str, float | None]:
        return {name: _dict(version.baselines).get(name) for name in BASELINES}


def _dict(part: Any) -> dict[str, Any]:
    """A part of a report, or {}: a report may have been written by an older version."""
    return part if isinstance(part, dict) else {}


class ModelFilter(filters.FilterSet):
    kind = filters.ChoiceFilter(choices=ModelKind.choices)
    state = filters.ChoiceFilter(choices=ModelState.choices)


class ModelList(DeskView):
    """All versions, newest first. `?state=champion` is the one that serves."""

    listed = True
    session_permission = "loans.view_modelversion"
    serializer_class = ModelVersionSerializer
    filterset_class = ModelFilter
    # A report has hundreds of kilobytes: the parts wanted are taken out of it by the database.
    queryset = ModelVersion.objects.defer("report").annotate(
        rows=F("report__data__rows"), figures=Coalesce(*map(F, FIGURES)), baselines=F("report__baselines")
    )

    @extend_schema(operation_id="models_list", summary="List model versions", responses=ModelVersionSerializer(many=True))
    def get(self, request: Request) -> Response:
        return self.listing(request)
