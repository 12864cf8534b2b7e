from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import DatabaseError, transaction

from loans.models import LoanApplication, ModelState, Prediction, SegmentAssignment, Status
from loans.services import registry, scoring, segments
from loans.services.sweeping import Sweeper
from tests.factories import make_application, make_champion, make_pending, promoted
from tests.loans.segments.conftest import make_groups, train

pytestmark = pytest.mark.django_db


def test_the_first_version_serves_and_open_applications_get_their_segment(artifacts):
    make_groups()
    opened = make_groups(30, status=Status.OPEN, seed=2, prefix="O")
    version = train()
    assert version.is_champion and version.report["k"] == 3 and version.algorithm == "kmeans"
    rows = SegmentAssignment.objects.filter(model_version=version)
    assert rows.count() == 30 and set(rows.values_list("application_id", flat=True)) == {row.pk for row in opened}
    shown = dict(LoanApplication.objects.filter(pk__in=[row.pk for row in opened]).values_list("pk", "segment"))
    assert shown == dict(rows.values_list("application_id", "segment"))
    assert not LoanApplication.objects.filter(status=Status.HISTORICAL, segment__isnull=False).exists()
    assert segments.assign_open() == 0


def test_outcomes_are_not_needed_and_no_groups_is_a_version_too(artifacts):
    for _ in range(12):
        make_application(status=Status.OPEN)
    version = train()
    assert version.is_champion and version.algorithm == "none" and version.report["k"] == 0
    assert "too few" in version.report["in_words"] and version.report["warnings"]
    assert not SegmentAssignment.objects.exists()
    assert segments.assign_open() == 0


def test_a_scored_application_gets_its_segment_beside_its_prediction(segmented):
    make_champion()
    application = make_application(annual_income=30_000, debt_to_income=0.45, credit_score=620)
    scoring.request_score(application)
    assert scoring.score_pending().stored == 1
    row = SegmentAssignment.objects.latest_of(application)
    application.refresh_from_db()
    assert application.segment == row.segment and row.scoring_job is not None and row.distance > 0
    assert row.name in {each["name"] for each in segmented.report["segments"]} and 0 < row.share < 1
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        SegmentAssignment.objects.filter(pk=row.pk).update(distance=0)


def test_segments_that_fail_cost_no_score(segmented, monkeypatch):
    make_champion()

    def broken(jobs):
        raise ValueError("boom")

    monkeypatch.setattr(segments, "assignments", broken)
    scoring.request_score(make_application())
    assert scoring.score_pending().stored == 1
    assert Prediction.objects.count() == 1 and not SegmentAssignment.objects.exists()


def test_a_promotion_reaches_open_applications_by_the_sweeper_in_chunks(segmented, monkeypatch):
    make_groups(7, status=Status.OPEN, seed=3, prefix="P")
    segments.assign_open()
    second = train(seed=4)
    assert second.state == ModelState.CANDIDATE
    assert SegmentAssignment.objects.filter(model_version=second).count() == 0
    assert {row["key"] for row in second.report["segments"]} == {row["key"] for row in segmented.report["segments"]}
    assert second.report["movement"]["stayed"] > 0.9
    promoted(second)
    monkeypatch.setattr(segments, "CHUNK", 3)
    done = [segments.catch_up() for _ in range(5)]
    assert done == [3, 3, 1, 0, 0]
    registry.roll_back("segments", by=None, reason="Back again.")
    assert [segments.catch_up() for _ in range(4)] == [3, 3, 1, 0]
    assert SegmentAssignment.objects.filter(model_version=segmented).count() == 14


def test_a_champion_without_groups_clears_what_an_older_one_said(segmented, monkeypatch):
    opened = make_groups(5, status=Status.OPEN, seed=3, prefix="P")
    assert segments.assign_open() == 5
    monkeypatch.setattr("mlcore.segments.choose.LEAST_GAP", 9.0)
    none = train(seed=5)
    assert none.report["k"] == 0
    promoted(none)
    assert segments.catch_up() == 5 and segments.catch_up() == 0
    assert not LoanApplication.objects.filter(segment__isnull=False).exists()
    assert SegmentAssignment.objects.filter(application=opened[0]).exists()


def test_the_bulk_step_costs_few_queries_a_chunk(segmented, django_assert_max_num_queries):
    make_pending(50, status=Status.OPEN, credit_score=700)
    with django_assert_max_num_queries(13):  # the champion, a chunk with its savepoint, and a look that finds no more
        assert segments.assign_open() == 50


def test_nothing_to_do_costs_the_sweeper_one_query(segmented, django_assert_num_queries):
    segments.catch_up()
    with django_assert_num_queries(1):
        assert segments.catch_up() == 0


def test_a_damaged_artifact_stops_neither_sweeper_nor_the_next_training(segmented, artifacts):
    make_groups(3, status=Status.OPEN, seed=3, prefix="P")
    next(artifacts.glob("segments-*")).write_bytes(b"broken")
    registry._loaded.clear()
    Sweeper().sweep_once()
    assert segments.catch_up() == 0 and not SegmentAssignment.objects.exists()
    anew = train(seed=2)
    assert anew.report["k"] == 3
    old, new = ({row["key"] for row in version.report["segments"]} for version in (segmented, anew))
    assert not old & new  # what can't be compared with the old groups must not pass for them


def test_the_command_says_what_was_found(artifacts, capsys):
    make_groups(300)
    call_command("train", "segments")
    said = capsys.readouterr().out
    assert "Segments v1 (kmeans) serves now: " in said and " groups (KMeans)" in said and "300 applications" in said
