"""Segments at work: learned from all applications, given to each one that is scored, and to the open ones when a new version serves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.utils.translation import gettext as _

from loans.models import LoanApplication, ModelKind, ModelVersion, SegmentAssignment
from loans.queries.frames import schema_in_force, scoring_frame
from loans.queries.segments import all_segments, everybody, open_with_segment, open_without
from loans.services import policy, registry
from mlcore.progress import Progress

logger = logging.getLogger(__name__)

CHUNK = 2_000
"""Applications in memory at a time, some 5 MB of frame."""
EFFORT: Any = None
"""How hard to look for groups (`mlcore.segments.choose.Effort`); None for its defaults. Tests look less hard."""
_up_to_date: int | None = None


def fit(*, seed: int, progress: Progress) -> tuple[Any, dict[str, Any], Any]:
    """(model, report, what it was learned from): all applications, decided or not; outcomes are looked at when the groups stand."""
    from mlcore.segments.train import train_segments

    everyone = everybody(schema_in_force())
    result = train_segments(
        everyone.frame,
        everyone.schema,
        submitted_at=everyone.submitted_at,
        default=everyone.default,
        amount=everyone.frame["amount"].to_numpy(dtype=float),
        previous=_previous(),
        terms=policy.profit_terms(),
        effort=EFFORT,
        seed=seed,
        progress=progress,
    )
    if everyone.left_out:
        result.report["warnings"].append(
            _("%(left_out)s applications are dated in the future and are left out: check their dates.")
            % {"left_out": f"{everyone.left_out:,}"}
        )
    return result.model, result.report, everyone


def _previous() -> Any:
    """The serving segments, to keep the keys of, with new keys above all that any version ever gave: two candidates must not share one.

    No groups where the artifact can't be read: a damaged file must not stop its successor.
    """
    from mlcore.artifacts import ArtifactError
    from mlcore.schema import Schema
    from mlcore.segments.model import SegmentModel
    from mlcore.segments.prepare import Preparation

    given = [row["key"] for rows in all_segments() for row in rows]
    try:
        serving = registry.champion(ModelKind.SEGMENTS).model
        last = max([serving.next_key - 1, *given])
        return SegmentModel(serving.preparation, serving.clusters, serving.segments, last + 1)
    except (registry.NoChampion, ArtifactError, OSError):
        return SegmentModel(Preparation(Schema(()), [], {}), None, [], max(given, default=0) + 1)


def assignments_quietly(jobs: dict[int, int]) -> list[SegmentAssignment]:
    """`assignments`, or none where they fail: an officer can decide without a segment, but not without a score."""
    try:
        return assignments(jobs)
    except DatabaseError:
        raise  # the scoring around it can't go on either
    except Exception as error:
        logger.error("No segments for %d applications: %s", len(jobs), type(error).__name__)
        return []


def assignments(jobs: dict[int, int | None]) -> list[SegmentAssignment]:
    """Unsaved rows for {application id: scoring job id or None}; none where no segments serve, or they found no groups."""
    try:
        serving = registry.champion(ModelKind.SEGMENTS)
    except registry.NoChampion:
        return []
    return _assigned(serving, jobs)


def _assigned(serving: registry.Serving, jobs: dict[int, int | None]) -> list[SegmentAssignment]:
    model = serving.model
    if not len(model):
        return []
    features = scoring_frame(list(jobs), model.schema)
    keys, distances = model.assign(features.frame, features.submitted_at)
    by_key = {segment.key: segment for segment in model.segments}
    return [
        SegmentAssignment(
            application_id=application_id,
            scoring_job_id=jobs[application_id],
            model_version=serving.version,
            segment=int(key),
            name=by_key[int(key)].name,
            share=by_key[int(key)].share,
            distance=round(float(distance), 4),
        )
        for application_id, key, distance in zip(features.application_ids, keys, distances, strict=True)
    ]


def store(rows: list[SegmentAssignment]) -> None:
    """Write the rows and show them on their applications. Call inside a transaction."""
    if not rows:
        return
    SegmentAssignment.objects.bulk_create(rows)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE loans_loanapplication app SET segment = found.segment"
            " FROM unnest(%s::bigint[], %s::int[]) AS found(id, segment) WHERE app.id = found.id",
            [[row.application_id for row in rows], [row.segment for row in rows]],
        )


def assign_open(*, chunks: int | None = None, told: Callable[[int], None] | None = None) -> int:
    """Give every open application the serving version's segment, `CHUNK` at a time in transactions of their own; returns how many got one.

    chunks: at most so many, for a caller that has other things to do. Only one process does it at a time; others return 0.
    """
    try:
        serving = registry.champion(ModelKind.SEGMENTS)
    except registry.NoChampion:
        return 0
    done = 0
    while chunks is None or chunks > 0:
        found = _one_chunk(serving)
        if not found:
            break
        done += found
        chunks = None if chunks is None else chunks - 1
        if told is not None:
            told(done)
    return done


def assign_open_quietly() -> int:
    """`assign_open` after a training: what fails here is logged, and the sweeper tries it again."""
    try:
        return assign_open()
    except Exception as error:
        logger.error("Open applications got no segments after the training: %s", type(error).__name__)
        return 0


@transaction.atomic
def _one_chunk(serving: registry.Serving) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('loandesk.segments.open'))")
        if not cursor.fetchone()[0]:
            return 0
    if not len(serving.model):
        # This version found no groups: what an older one said is not shown any more.
        ids = open_with_segment(CHUNK)
        return LoanApplication.objects.filter(pk__in=ids).update(segment=None) if ids else 0
    ids = open_without(serving.version.pk, CHUNK)
    rows = _assigned(serving, dict.fromkeys(ids))
    store(rows)
    return len(rows)


def catch_up() -> int:
    """For the sweeper: one chunk a look after a promotion, and one indexed query a look when there is nothing to do."""
    global _up_to_date
    champion = ModelVersion.objects.filter(kind=ModelKind.SEGMENTS).defer("report").champion(ModelKind.SEGMENTS)
    if champion is None or champion.pk == _up_to_date:
        return 0
    try:
        done = assign_open(chunks=1)
    except DatabaseError:
        raise
    except Exception as error:
        logger.error("Open applications got no segments of %s: %s", champion, type(error).__name__)
        _up_to_date = champion.pk  # the same would fail at every look
        return 0
    if not done:
        _up_to_date = champion.pk
    return done
