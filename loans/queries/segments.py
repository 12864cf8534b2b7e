"""Segments to read: what they are learned from, who lacks one, and what a version says of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone
from django.utils.translation import gettext as _

from loans.models import LoanApplication, LoanOutcome, ModelKind, ModelState, ModelVersion, OutcomeState, SegmentAssignment, SegmentFollowUp
from loans.models.application import UNDECIDED
from loans.queries.frames import scoring_frame
from loans.queries.report import Interval, dig, number_of, rows_of
from loans.queries.words import day_of, figure, moment_of, money, percent, signed, whole
from mlcore.schema import Schema

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MOST = 50_000
"""Applications that segments are learned from and judged on: the newest. More would cost memory and change nothing."""


@dataclass(frozen=True)
class Everybody:
    """frame: one row an application, oldest first. default: (n,) 1.0/0.0, NaN where the outcome is not known. left_out: applications that
    are dated in the future.
    """

    frame: pd.DataFrame
    submitted_at: pd.Series
    default: np.ndarray
    schema: Schema
    fingerprint: str
    synthetic: bool
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.frame)


def everybody(schema: Schema) -> Everybody:
    """The newest `MOST` applications, whatever became of them: a segment is of those who apply, not of those who were accepted."""
    import numpy as np

    tomorrow = timezone.now() + timedelta(days=1)  # a clock may be ahead, and zones differ
    dated = LoanApplication.objects.filter(submitted_at__lte=tomorrow)
    ids = list(dated.order_by("-submitted_at", "-pk").values_list("pk", flat=True)[:MOST])
    made = scoring_frame(ids, schema)
    outcomes = dict(
        LoanOutcome.objects.filter(pk__in=ids, state__in=(OutcomeState.DEFAULT, OutcomeState.REPAID)).values_list("pk", "state")
    )
    order = np.argsort(made.submitted_at.to_numpy("datetime64[ns]"), kind="stable")
    known = {OutcomeState.DEFAULT: 1.0, OutcomeState.REPAID: 0.0}
    default = np.array([known.get(outcomes.get(pk), np.nan) for pk in made.application_ids], dtype=float)
    return Everybody(
        frame=made.frame.iloc[order].reset_index(drop=True),
        submitted_at=made.submitted_at.iloc[order].reset_index(drop=True),
        default=default[order],
        schema=schema,
        fingerprint=hashlib.sha256(" ".join(map(str, sorted(ids))).encode()).hexdigest(),
        synthetic=LoanApplication.objects.filter(synthetic=True).exists(),
        left_out=LoanApplication.objects.filter(submitted_at__gt=tomorrow).count(),
    )


def open_without(version_id: int, limit: int) -> list[int]:
    """Ids of open applications whose latest segment is not this version's."""
    latest = SegmentAssignment.objects.filter(application=OuterRef("pk")).order_by("-pk").values("model_version_id")[:1]
    rows = LoanApplication.objects.filter(status__in=UNDECIDED).annotate(latest=Subquery(latest))
    return list(rows.filter(Q(latest=None) | ~Q(latest=version_id)).order_by("pk").values_list("pk", flat=True)[:limit])


def open_with_segment(limit: int) -> list[int]:
    return list(
        LoanApplication.objects.filter(status__in=UNDECIDED, segment__isnull=False).order_by("pk").values_list("pk", flat=True)[:limit]
    )


def assignment_of(application: LoanApplication) -> SegmentAssignment | None:
    """The segment that its row shows, in words."""
    return SegmentAssignment.objects.latest_of(application) if application.segment is not None else None


def current() -> ModelVersion | None:
    """The serving version with its whole report."""
    return ModelVersion.objects.champion(ModelKind.SEGMENTS)


def choices() -> list[tuple[str, str]]:
    """(key, name) of the current segments, for a filter: one small query."""
    found = (
        ModelVersion.objects.filter(kind=ModelKind.SEGMENTS, state=ModelState.CHAMPION).values_list("report__segments", flat=True).first()
    )
    return [(str(row["key"]), str(row["name"])) for row in rows_of(found)]


def all_segments() -> list[list[dict[str, Any]]]:
    """Of every version its segments, as its report names them."""
    return [rows_of(found) for found in ModelVersion.objects.filter(kind=ModelKind.SEGMENTS).values_list("report__segments", flat=True)]


def followed(version: ModelVersion) -> tuple[dict[str, Any], SegmentFollowUp | None]:
    """(the version's report, its later figures those of the latest follow-up; that follow-up, None before the first)."""
    report = version.report if isinstance(version.report, dict) else {}
    found = SegmentFollowUp.objects.filter(pk=version.pk).first()
    return (report | found.data if found is not None and isinstance(found.data, dict) else report), found


def segments_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The segments of a report as the API gives them: key, name, share, typical differences, later figures, profile."""
    later = rows_of(dig(report, "later", "groups"))
    profile = rows_of(report.get("profile"))
    made = []
    for number, row in enumerate(rows_of(report.get("segments"))):
        side = later[number] if number < len(later) else {}
        made.append(
            {
                "key": row.get("key"),
                "name": row.get("name"),
                "share": row.get("share"),
                "applications": row.get("rows"),
                "later_share": side.get("share"),
                "later_loans": side.get("loans"),
                "later_default_rate": side.get("default_rate") or {"value": None, "low": None, "high": None},
                "later_value_share": side.get("value_share"),
                "differences": [
                    {"column": each.get("column"), "size": each.get("size"), "words": each.get("words")}
                    for each in rows_of(row.get("differences"))
                ],
                "profile": [
                    {
                        "column": line.get("column"),
                        "title": line.get("title"),
                        "unit": line.get("unit"),
                        "value": cell.get("value"),
                        "all": (line.get("all") or {}).get("value"),
                    }
                    for line in profile
                    if (cell := _cell(line, number))
                ],
            }
        )
    return made


def _cell(line: dict[str, Any], number: int) -> dict[str, Any]:
    cells = rows_of(line.get("groups"))
    return cells[number] if number < len(cells) else {}


@dataclass(frozen=True)
class SegmentRow:
    """number: its colour on the map. later: default rate, interval, loans, value; – where not known."""

    number: int
    key: int
    name: str
    share: str
    differences: list[str]
    later_share: str
    default_rate: str
    interval: str
    loans: str
    value: str


@dataclass(frozen=True)
class SegmentsPage:
    in_words: str
    k: int
    segments: list[SegmentRow]
    everyone: SegmentRow | None
    followed: str
    apart: str
    profile: list[dict[str, Any]]
    trials: list[dict[str, Any]]
    demands: dict[str, float]
    map: dict[str, Any]
    explained: str
    over_time: list[dict[str, Any]]
    movement: dict[str, Any] | None
    split: str
    rows: str
    fitted: str
    warnings: list[str]


def segments_page(version: ModelVersion) -> SegmentsPage:
    """From the report that its training wrote and the latest follow-up; what an older report lacks is not shown."""
    report, follow_up = followed(version)
    later = rows_of(dig(report, "later", "groups"))
    rows = [_row(number, row, later[number] if number < len(later) else {}) for number, row in enumerate(rows_of(report.get("segments")))]
    everyone = dig(report, "later", "all")
    p = number_of(dig(report, "later", "apart", "p"))
    return SegmentsPage(
        in_words=str(report.get("in_words") or ""),
        k=len(rows),
        segments=rows,
        everyone=_row(-1, {"key": 0, "name": "All", "share": 1.0}, everyone) if isinstance(everyone, dict) else None,
        followed="" if follow_up is None else _followed(follow_up),
        apart=""
        if p is None
        else _("Would the groups default alike, rates this far apart would come by chance %(p)s.") % {"p": _chance(p)},
        profile=[_profile(line) for line in rows_of(report.get("profile"))],
        trials=[_trial(row) for row in rows_of(report.get("trials"))],
        demands=dig(report, "choice", "demands") or {},
        map=report.get("map") or {},
        explained=percent(number_of(dig(report, "map", "explained")), 0),
        over_time=rows_of(report.get("share_over_time")),
        movement=_movement(report, rows),
        split=str(dig(report, "split", "in_words") or ""),
        rows=figure(number_of(dig(report, "data", "rows"))),
        fitted=figure(number_of(dig(report, "data", "fitted"))),
        warnings=[str(text) for text in report.get("warnings") or []],
    )


def _row(number: int, row: dict[str, Any], side: dict[str, Any]) -> SegmentRow:
    rate = Interval.of(side.get("default_rate"))
    value = number_of(side.get("value_each"))
    return SegmentRow(
        number=number,
        key=int(row.get("key") or 0),
        name=str(row.get("name") or "?"),
        share=percent(number_of(row.get("share"))),
        differences=[
            f"{each.get('words')} ({signed(number_of(each.get('size')) or 0, 1)})" for each in rows_of(row.get("differences"))[:5]
        ],
        later_share=percent(number_of(side.get("share"))),
        default_rate=percent(rate.value),
        interval="" if rate.low is None or rate.value is None else f"{percent(rate.low)}–{percent(rate.high)}",
        loans=figure(number_of(side.get("loans"))) if side else "–",
        value="–" if value is None else money(round(value)) if value >= 0 else f"−{money(round(-value))}",
    )


def _profile(line: dict[str, Any]) -> dict[str, Any]:
    units = {"currency": settings.CURRENCY}
    units = {"currency": settings.CURRENCY}
    return {
        "title": f"{line.get('title')}" + (f" ({units.get(line['unit'], line['unit'])})" if line.get("unit") else ""),
        "all": _shown(line, line.get("all") or {}),
        "groups": [
            {"value": _shown(line, cell), "clear": abs(number_of(cell.get("size")) or 0.0) >= 0.5} for cell in rows_of(line.get("groups"))
        ],
    }


def _shown(line: dict[str, Any], cell: dict[str, Any]) -> str:
    value = cell.get("value")
    if value is None:
        return "–"
    if line.get("kind") == "category":
        return f"{value} {percent(number_of(cell.get('share')), 0)}"
    if line.get("kind") == "boolean":
        return percent(number_of(value), 0)
    return figure(number_of(value))


def _trial(row: dict[str, Any]) -> dict[str, Any]:
    def of(name: str, digits: int = 2, sign: str = "") -> str:
        value = number_of(row.get(name))
        return "–" if value is None else f"{value:{sign}.{digits}f}"

    return {
        "title": {"kmeans": "KMeans", "gmm": _("Gaussian mixture")}.get(str(row.get("method")), "?"),
        "k": row.get("k"),
        "jaccard": of("min_jaccard"),
        "silhouette": of("silhouette", 3),
        "null_silhouette": of("null_silhouette", 3),
        "permuted": of("gap_permuted", 3, "+"),
        "cloud": of("gap_cloud", 3, "+"),
        "bic": figure(round(number_of(row.get("bic")) or 0)),
        "why": str(row.get("why") or ""),
        "chosen": bool(row.get("chosen")),
    }


def _movement(report: dict[str, Any], rows: list[SegmentRow]) -> dict[str, Any] | None:
    moved = report.get("movement")
    if not isinstance(moved, dict):
        return None
    names = {row.key: row.name for row in rows}
    counts = moved.get("counts") or []
    return {
        "in_words": str(moved.get("in_words") or ""),
        "heads": [f"{key}. {names.get(key, '')}" for key in moved.get("new_keys") or []],
        "rows": [
            {
                "name": f"{old.get('key')}. {old.get('name')}",
                "counts": [whole(count) for count in counts[number]] if number < len(counts) else [],
            }
            for number, old in enumerate(rows_of(moved.get("old")))
        ],
    }


def _followed(follow_up: SegmentFollowUp) -> str:
    since, known = day_of(follow_up.since), f"{moment_of(follow_up.as_of)} UTC"
    return _("Later applications: those from %(since)s on, with the outcomes known by %(known)s; looked at anew every night.") % {
        "since": since,
        "known": known,
    }


def _chance(p: float) -> str:
    return _("in fewer than 1 of 1,000 cases") if p < 0.001 else _("in %(count)s of 1,000 cases") % {"count": whole(round(1000 * p))}
