"""Fraud flags, to read. Working on them is a person's business, in the desk."""

from __future__ import annotations

from typing import Any

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from loans.api.base import DeskView
from loans.api.filters import TimeFilter
from loans.models import AssessmentState, FlagKind, FlagState, FraudAssessment, FraudFlag, LoanApplication, Severity

VIEW = "loans.view_fraudflag"


class FraudFlagSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    application = serializers.IntegerField(source="application_id")
    reference = serializers.CharField(source="application.external_reference")
    kind = serializers.ChoiceField(choices=FlagKind.choices, help_text="`sample`: drawn at random for review; nothing speaks against it.")
    severity = serializers.ChoiceField(choices=Severity.choices, help_text="0 sample, 1 low, 2 medium, 3 high, 4 critical.")
    score = serializers.FloatField(min_value=0, max_value=1)
    calibrated = serializers.BooleanField(help_text="Whether the score is a probability, or a ranking by stated weights.")
    expected_loss = serializers.DecimalField(max_digits=14, decimal_places=2, help_text="Score × amount × loss given default.")
    in_words = serializers.CharField()
    evidence = serializers.ListField(child=serializers.DictField(), help_text="What the score rests on, the weightiest first.")
    state = serializers.ChoiceField(choices=FlagState.choices)
    snoozed_until = serializers.DateTimeField(allow_null=True)
    assignee = serializers.CharField(source="assignee.username", default=None, allow_null=True)
    disposed_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class FlagSummarySerializer(serializers.Serializer):
    """A flag on an application; all that it rests on is at its `url`."""

    id = serializers.IntegerField()
    url = serializers.HyperlinkedIdentityField(view_name="api:fraud-flag", lookup_field="pk")
    kind = serializers.ChoiceField(choices=FlagKind.choices)
    severity = serializers.ChoiceField(choices=Severity.choices, help_text="0 sample, 1 low, 2 medium, 3 high, 4 critical.")
    state = serializers.ChoiceField(choices=FlagState.choices)
    snoozed_until = serializers.DateTimeField(allow_null=True)
    in_words = serializers.CharField(help_text="What speaks against the application, the weightiest first.")
    created_at = serializers.DateTimeField()


class ApplicationFraudSerializer(serializers.Serializer):
    """What the search for fraud made of an application. No flag is a pass only where the state is `assessed`."""

    state = serializers.ChoiceField(choices=AssessmentState.choices)
    score = serializers.FloatField(allow_null=True, min_value=0, max_value=1)
    calibrated = serializers.BooleanField(help_text="Whether the score is a probability, or a ranking by stated weights.")
    flags = FlagSummarySerializer(many=True)


def fraud_of(application: LoanApplication, user: Any) -> FraudAssessment | None:
    """For `ApplicationFraudSerializer`; None for whoever may not view flags."""
    if not user.has_perm(VIEW):
        return None
    found = FraudAssessment.objects.filter(pk=application.pk).first()
    if found is not None:
        found.flags = list(FraudFlag.objects.visible_to(user).filter(application=application).order_by("-severity", "pk"))
    return found


class FraudFlagFilter(filters.FilterSet):
    application = filters.NumberFilter(field_name="application_id", min_value=1, max_value=2**63 - 1, decimal_places=0)
    state = filters.ChoiceFilter(choices=FlagState.choices)
    kind = filters.ChoiceFilter(choices=FlagKind.choices)
    severity = filters.NumberFilter(field_name="severity", lookup_expr="gte", min_value=0, max_value=4, decimal_places=0)
    created_after = TimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = TimeFilter(field_name="created_at", lookup_expr="lt")


class _FlagView(DeskView):
    """A key's user needs the permission as well: a client that saw the flags on what it sent in would learn what to send instead."""

    serializer_class = FraudFlagSerializer
    session_permission = VIEW
    queryset = FraudFlag.objects.none()

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        super().initial(request, *args, **kwargs)
        if not request.user.has_perm(VIEW):
            raise PermissionDenied(f"This account lacks the permission {VIEW}.")

    def get_queryset(self) -> Any:
        return FraudFlag.objects.visible_to(self.request.user).select_related("application", "assignee")


class FraudFlagList(_FlagView):
    """Flags on the applications that you may see, newest first. `severity` filters from that severity on."""

    listed = True
    filterset_class = FraudFlagFilter

    @extend_schema(operation_id="fraud_flags_list", summary="List fraud flags", responses=FraudFlagSerializer(many=True))
    def get(self, request: Request) -> Response:
        return self.listing(request)


class FraudFlagDetail(_FlagView):
    """One flag with its evidence."""

    @extend_schema(operation_id="fraud_flags_retrieve", summary="Read a fraud flag")
    def get(self, request: Request, pk: int) -> Response:
        return Response(self.get_serializer(self.found(self.get_queryset().filter(pk=pk).first())).data)
