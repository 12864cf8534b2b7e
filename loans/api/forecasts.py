"""The demand forecast, to read: every vintage that was kept, with its intervals and how it was made."""

from __future__ import annotations

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from loans.api.base import DeskView
from loans.models import DemandForecast
from loans.models.forecast import FREQUENCIES, MEASURES


class ForecastRowSerializer(serializers.Serializer):
    period = serializers.DateField(help_text="Its first day.")
    step = serializers.IntegerField()
    point = serializers.FloatField()
    lo80 = serializers.FloatField()
    hi80 = serializers.FloatField()
    lo95 = serializers.FloatField()
    hi95 = serializers.FloatField()
    baseline = serializers.FloatField(allow_null=True, help_text="What seasonal naive says of it.")


class BacktestSerializer(serializers.Serializer):
    origins = serializers.IntegerField()
    horizon = serializers.IntegerField()
    wape = serializers.FloatField(allow_null=True)
    mase = serializers.FloatField(allow_null=True)
    naive_wape = serializers.FloatField(allow_null=True)
    naive_mase = serializers.FloatField(allow_null=True)


class ForecastSeriesSerializer(serializers.Serializer):
    product = serializers.CharField(allow_null=True, help_text="null: all of them.")
    region = serializers.CharField(allow_null=True, help_text="null: all of them.")
    origin = serializers.CharField()
    method = serializers.CharField()
    rows = ForecastRowSerializer(many=True, help_text="Empty where `reason` says why.")
    notes = serializers.ListField(child=serializers.CharField())
    reason = serializers.CharField(allow_blank=True)
    backtest = BacktestSerializer(allow_null=True, help_text="On the series' own past, beside seasonal naive.")


class ForecastSummarySerializer(serializers.Serializer):
    id = serializers.IntegerField()
    frequency = serializers.ChoiceField(choices=FREQUENCIES)
    measure = serializers.ChoiceField(choices=MEASURES)
    as_of = serializers.DateTimeField(help_text="The vintage: nothing later went into it.")
    horizon = serializers.IntegerField(help_text="Periods ahead.")
    country = serializers.CharField(allow_blank=True)
    synthetic = serializers.BooleanField(help_text="Rests on generated applications: says nothing of real demand.")
    created_at = serializers.DateTimeField()


class ForecastSerializer(ForecastSummarySerializer):
    series = ForecastSeriesSerializer(source="data.series", many=True)
    notes = serializers.ListField(source="data.notes", child=serializers.CharField())


class ForecastFilter(filters.FilterSet):
    frequency = filters.ChoiceFilter(choices=FREQUENCIES)
    measure = filters.ChoiceFilter(choices=MEASURES)


class ForecastList(DeskView):
    """Vintages, newest first, without their figures."""

    listed = True
    session_permission = "loans.view_demandforecast"
    serializer_class = ForecastSummarySerializer
    filterset_class = ForecastFilter
    queryset = DemandForecast.objects.none()

    def get_queryset(self) -> object:
        return DemandForecast.objects.defer("data")

    @extend_schema(operation_id="forecasts_list", summary="List demand forecasts", responses=ForecastSummarySerializer(many=True))
    def get(self, request: Request) -> Response:
        """Vintages, newest first, without their figures."""
        return self.listing(request)


class ForecastDetail(DeskView):
    session_permission = "loans.view_demandforecast"
    serializer_class = ForecastSerializer
    queryset = DemandForecast.objects.none()

    @extend_schema(operation_id="forecasts_retrieve", summary="Read a demand forecast")
    def get(self, request: Request, pk: int) -> Response:
        """One vintage, every series with its intervals."""
        return Response(self.get_serializer(self.found(DemandForecast.objects.filter(pk=pk).first())).data)
