"""Which group of customers an application belongs to, as the segments of the day saw it. Append-only, beside the prediction."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class SegmentAssignmentQuerySet(models.QuerySet):
    def latest_of(self, application: object) -> SegmentAssignment | None:
        return self.filter(application=application).order_by("-pk").select_related("model_version").first()


class SegmentAssignment(models.Model):
    """segment: its key, the same over versions while it is the same group. scoring_job: empty where a new version went over open cases."""

    # No index of their own: two below begin with the first two, and nobody looks a version's rows up or deletes a version.
    application = models.ForeignKey("loans.LoanApplication", on_delete=models.PROTECT, related_name="segment_assignments", db_index=False)
    scoring_job = models.ForeignKey(
        "loans.ScoringJob", on_delete=models.PROTECT, null=True, related_name="segment_assignments", db_index=False
    )
    model_version = models.ForeignKey("loans.ModelVersion", on_delete=models.PROTECT, related_name="segment_assignments", db_index=False)
    segment = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=120)
    share = models.FloatField(help_text="Of the applications that the segments were learned from.")
    distance = models.FloatField(help_text="From the segment's middle, in distances of its median member: 3 fits nowhere well.")
    created_at = models.DateTimeField(db_default=Now())

    objects = SegmentAssignmentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scoring_job", "model_version"], name="segment_one_per_job_and_model"),
            models.CheckConstraint(condition=Q(distance__gte=0), name="segment_distance_not_negative"),
        ]
        indexes = [models.Index(fields=["application", "-id"], name="segment_latest_ix")]

    def __str__(self) -> str:
        return f"{self.name} (application {self.application_id})"


class SegmentFollowUp(models.Model):
    """What became of the applications that came after a version was fitted: worked out anew every night, so that no page has to."""

    model_version = models.OneToOneField("loans.ModelVersion", on_delete=models.PROTECT, primary_key=True, related_name="segment_follow_up")
    as_of = models.DateTimeField()
    since = models.DateTimeField(help_text="The applications from then on are counted.")
    data = models.JSONField(help_text="Layout: `later` and `share_over_time` of `mlcore.segments.train.train_segments`.")

    class Meta:
        verbose_name = "follow-up of segments"

    def __str__(self) -> str:
        return f"Follow-up of {self.model_version}"
