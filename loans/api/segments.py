"""Customer segments: the current groups with their profile, and which one an application belongs to."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from loans.api.base import DeskView
from loans.api.models import FigureSerializer
from loans.api.predictions import ScoringModelSerializer
from loans.queries import segments as pages


class SegmentAssignmentSerializer(serializers.Serializer):
    key = serializers.IntegerField(source="segment", help_text="The same over versions while it is the same group.")
    name = serializers.CharField()
    share = serializers.FloatField(help_text="Of the applications that the segments were learned from.")
    distance = serializers.FloatField(help_text="1 is the segment's median member; 3 fits nowhere well.")
    model = ScoringModelSerializer(source="model_version")
    created_at = serializers.DateTimeField()


class SegmentDifferenceSerializer(serializers.Serializer):
    column = serializers.CharField()
    size = serializers.FloatField(help_text="In standard deviations from all applicants.")
    words = serializers.CharField()


class SegmentProfileSerializer(serializers.Serializer):
    column = serializers.CharField()
    title = serializers.CharField()
    unit = serializers.CharField(allow_blank=True)
    value = serializers.JSONField(allow_null=True, help_text="Median, share of yes, or most frequent value.")
    all = serializers.JSONField(allow_null=True, help_text="The same of all applicants.")


class SegmentSerializer(serializers.Serializer):
    key = serializers.IntegerField()
    name = serializers.CharField()
    share = serializers.FloatField()
    applications = serializers.IntegerField(help_text="Learned from.")
    later_share = serializers.FloatField(allow_null=True, help_text="Of the applications that came after.")
    later_loans = serializers.IntegerField(allow_null=True, help_text="Of those, with a known outcome.")
    later_default_rate = FigureSerializer()
    later_value_share = serializers.FloatField(allow_null=True, help_text="What they earned, as a share of the amount.")
    differences = SegmentDifferenceSerializer(many=True)
    profile = SegmentProfileSerializer(many=True)


class SegmentsSerializer(serializers.Serializer):
    model = ScoringModelSerializer(allow_null=True, help_text="Null where none was trained yet.")
    in_words = serializers.CharField(help_text="How many groups the data support and why; there may be none.")
    as_of = serializers.DateTimeField(allow_null=True, help_text="Outcomes known by then are in the later figures.")
    segments = SegmentSerializer(many=True)


class SegmentList(DeskView):
    """The segments that serve now. An empty list is an answer too: the data support no groups, or none were looked for yet."""

    session_permission = "loans.view_modelversion"
    serializer_class = SegmentsSerializer

    @extend_schema(operation_id="segments_list", summary="List customer segments", responses=SegmentsSerializer)
    def get(self, request: Request) -> Response:
        version = pages.current()
        data: dict[str, Any] = {"model": version, "in_words": "No segments were trained yet.", "as_of": None, "segments": []}
        if version is not None:
            report, follow_up = pages.followed(version)
            as_of = follow_up.as_of if follow_up is not None else version.created_at
            data |= {"in_words": str(report.get("in_words") or ""), "segments": pages.segments_of(report), "as_of": as_of}
        return Response(self.get_serializer(data).data)
