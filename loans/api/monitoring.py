"""What monitoring found, to read: the windows with their figures, and what rings. A key's user needs the permission as well."""

from __future__ import annotations

from typing import Any

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from loans.api.base import DeskView
from loans.models import Alert, AlertState, MonitoringWindow
from loans.models.monitoring import GROUPS, METRICS

VIEW = "loans.view_monitoringwindow"
VIEW_ALERTS = "loans.view_alert"
_NUMBER = {"min_value": 1, "max_value": 2**63 - 1, "decimal_places": 0}


class MonitoringFigureSerializer(serializers.Serializer):
    group = serializers.ChoiceField(choices=list(GROUPS.items()))
    metric = serializers.ChoiceField(choices=list(METRICS.items()))
    feature = serializers.CharField(allow_blank=True, help_text="The column or output; empty for the whole.")
    value = serializers.FloatField(allow_null=True, help_text="null where `note` says why.")
    baseline = serializers.FloatField(allow_null=True, help_text="The reference's, or what no change would give.")
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    null_limit = serializers.FloatField(allow_null=True, help_text="Below it lie 95 of 100 windows in which nothing has changed.")
    p_adjusted = serializers.FloatField(allow_null=True, help_text="By Holm, over all tests of the window.")
    breach = serializers.BooleanField()
    grave = serializers.BooleanField()
    note = serializers.CharField(allow_blank=True)


class MonitoringSummarySerializer(serializers.Serializer):
    id = serializers.IntegerField()
    model_version = serializers.IntegerField(source="model_version_id")
    start = serializers.DateField()
    end = serializers.DateField(help_text="The first day after it.")
    rows = serializers.IntegerField()
    labelled = serializers.IntegerField(help_text="Loans whose outcome is known.")
    breaches = serializers.IntegerField()
    synthetic = serializers.BooleanField(help_text="Of a model trained on generated applications: says nothing of real ones.")
    created_at = serializers.DateTimeField()


class MonitoringSerializer(MonitoringSummarySerializer):
    notes = serializers.ListField(child=serializers.CharField(), help_text="What could not be said, and why.")
    figures = MonitoringFigureSerializer(many=True)


class AlertSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    model_version = serializers.IntegerField(source="model_version_id", allow_null=True)
    window = serializers.IntegerField(source="window_id", allow_null=True)
    metric = serializers.CharField()
    feature = serializers.CharField(allow_blank=True)
    text = serializers.CharField()
    grave = serializers.BooleanField()
    owner = serializers.CharField(allow_blank=True)
    breaches = serializers.IntegerField(help_text="Windows in which it was off.")
    state = serializers.ChoiceField(choices=AlertState.choices)
    opened_at = serializers.DateTimeField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)


class MonitoringFilter(filters.FilterSet):
    model_version = filters.NumberFilter(field_name="model_version_id", **_NUMBER)


class AlertFilter(filters.FilterSet):
    model_version = filters.NumberFilter(field_name="model_version_id", **_NUMBER)
    state = filters.ChoiceFilter(choices=AlertState.choices)


class _WatchView(DeskView):
    """How well a lender's models do is nothing for whoever sends applications in."""

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        super().initial(request, *args, **kwargs)
        if not request.user.has_perm(self.session_permission):
            raise PermissionDenied(f"This account lacks the permission {self.session_permission}.")


class MonitoringList(_WatchView):
    """Looks at windows, newest first, without their figures."""

    listed = True
    session_permission = VIEW
    serializer_class = MonitoringSummarySerializer
    filterset_class = MonitoringFilter
    queryset = MonitoringWindow.objects.none()

    def get_queryset(self) -> Any:
        return MonitoringWindow.objects.all()

    @extend_schema(
        operation_id="monitoring_list", summary="List what monitoring has looked at", responses=MonitoringSummarySerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        return self.listing(request)


class MonitoringDetail(_WatchView):
    session_permission = VIEW
    serializer_class = MonitoringSerializer
    queryset = MonitoringWindow.objects.none()

    @extend_schema(operation_id="monitoring_retrieve", summary="Read one window's figures")
    def get(self, request: Request, pk: int) -> Response:
        """One look at one window, every figure with its interval, its null and its verdict."""
        found = MonitoringWindow.objects.filter(pk=pk).prefetch_related("figures").first()
        return Response(self.get_serializer(self.found(found)).data)


class AlertList(_WatchView):
    """What rings and what rang, newest first."""

    listed = True
    session_permission = VIEW_ALERTS
    serializer_class = AlertSerializer
    filterset_class = AlertFilter
    queryset = Alert.objects.none()

    def get_queryset(self) -> Any:
        return Alert.objects.all()

    @extend_schema(operation_id="alerts_list", summary="List alerts", responses=AlertSerializer(many=True))
    def get(self, request: Request) -> Response:
        return self.listing(request)
