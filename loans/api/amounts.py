"""The amount range: what applicants like this one carried, within what the applicant can afford."""

from __future__ import annotations

from rest_framework import serializers

from loans.api.predictions import ScoringModelSerializer


class AmountRangeSerializer(serializers.Serializer):
    low = serializers.DecimalField(max_digits=14, decimal_places=2, help_text="One in ten applicants like this one carried less.")
    middle = serializers.DecimalField(max_digits=14, decimal_places=2, help_text="Half of them carried less.")
    high = serializers.DecimalField(max_digits=14, decimal_places=2, help_text="Nine in ten carried less.")
    cap = serializers.DecimalField(
        max_digits=14, decimal_places=2, allow_null=True, help_text="What the affordability rule allows; null without an income."
    )
    capped = serializers.BooleanField(help_text="The rule cut the range.")
    model = ScoringModelSerializer(source="model_version")
    created_at = serializers.DateTimeField()
