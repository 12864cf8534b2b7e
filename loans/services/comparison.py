"""Two versions on the same applications: both are loaded and score a window anew, whatever they said at the time."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from loans.models import LoanApplication, ModelComparison, ModelKind, ModelVersion
from loans.queries.frames import WindowFrames, window_frames
from loans.services import policy, registry

if TYPE_CHECKING:
    import numpy as np

MOST = 20_000
"""Applications that are read for one comparison, the newest: a few seconds of scoring, and intervals that more would hardly narrow."""


class NotComparable(Exception):
    """These two can't be held beside each other; the message says why."""


def later_than(*versions: ModelVersion) -> datetime:
    """The moment after which none of these has learned from anything; for a version that does not say, when it was trained."""
    return max(version.learned_until or version.created_at for version in versions)


def applications(*, after: datetime | None = None, since: datetime | None = None, until: datetime | None = None, known: bool) -> QuerySet:
    """after: strictly; since: from then on; until: before then. known: only those with an outcome."""
    found = LoanApplication.objects.all()
    if after is not None:
        found = found.filter(submitted_at__gt=after)
    if since is not None:
        found = found.filter(submitted_at__gte=since)
    if until is not None:
        found = found.filter(submitted_at__lt=until)
    if not known:
        return found
    months = settings.OUTCOME_WINDOW_MONTHS
    if months:
        # A loan whose window has closed has a label whatever became of it since; a younger one would only crowd out those that have.
        return found.filter(outcome__isnull=False, submitted_at__lte=timezone.now() - timedelta(days=30 * months))
    return found.filter(outcome__state__in=("default", "repaid"))


def compare(first: ModelVersion, second: ModelVersion, wanted: QuerySet) -> dict[str, Any]:
    """What `mlcore.compare.compare` says of them on these applications, with the window in figures. Raises NotComparable, ArtifactError."""
    from mlcore import compare as pair

    if first.kind != second.kind or first.kind != ModelKind.DEFAULT_RISK:
        raise NotComparable(_("Two default-risk versions can be compared; other kinds have no score that a decision rests on."))
    models = [registry.glimpse(version) for version in (first, second)]
    rows = window_frames([model.schema for model in models], wanted, most=MOST)
    if not len(rows.submitted_at):
        return _window(rows, None) | {"rows": 0, "known": 0, "defaults": 0, "figures": None, "names": [str(first), str(second)]}
    answers = []
    for version, model, frame in zip((first, second), models, rows.frames, strict=True):
        scores = model.score(frame, rows.submitted_at)
        answers.append(pair.Answers(str(version), scores, model.families, model.grade(scores.probability)))
    limits = policy.in_force().policy
    found = pair.compare(
        *answers,
        default=labels_of(rows),
        terms=pair.Terms(limits.approve_below, limits.decline_from, policy.profit_terms()),
        amount=rows.amount,
        protected=rows.protected,
    )
    return found | _window(rows, (first, second))


def labels_of(rows: WindowFrames) -> np.ndarray:
    """(n,) 1, 0, or -1 for no label, by the same rule as a training's."""
    from mlcore.labels import LabelPolicy, label

    found = label(
        rows.outcomes["state"],
        submitted_at=rows.submitted_at,
        outcome_at=rows.outcomes["defaulted_on"],
        policy=LabelPolicy(window_months=settings.OUTCOME_WINDOW_MONTHS or None, as_of=rows.as_of),
    )
    return found.default


def _window(rows: WindowFrames, versions: tuple[ModelVersion, ModelVersion] | None) -> dict[str, Any]:
    if not len(rows.submitted_at):
        return {"from": None, "until": None, "left_out": rows.left_out, "learned_from": []}
    seen = []
    for version in versions or ():
        known = int((rows.submitted_at <= (version.learned_until or version.created_at)).sum())
        if known:
            seen.append({"name": str(version), "rows": known})
    return {
        "from": rows.submitted_at.iloc[0].isoformat(),
        "until": rows.submitted_at.iloc[-1].isoformat(),
        "left_out": rows.left_out,
        "learned_from": seen,
    }


def hold_beside(
    first: ModelVersion, second: ModelVersion, *, since: date | None = None, until: date | None = None, by: object | None
) -> ModelComparison:
    """Compare two versions on the applications of these days (the last one included), and keep what was found.

    Raises NotComparable, ArtifactError or OSError.
    """
    if first.pk == second.pk:
        raise NotComparable(_("Choose two different versions."))
    if since is not None and until is not None and since > until:
        raise NotComparable(_("The window would end on %(until)s, before it begins on %(since)s.") % {"until": until, "since": since})
    began = time.monotonic()
    start = None if since is None else datetime.combine(since, datetime.min.time(), tzinfo=UTC)
    end = None if until is None else datetime.combine(until + timedelta(days=1), datetime.min.time(), tzinfo=UTC)
    found = compare(first, second, applications(since=start, until=end, known=False))
    if not found["rows"]:
        raise NotComparable(_("There are no applications in this window."))
    return ModelComparison.objects.create(
        first=first,
        second=second,
        since=since,
        until=until,
        result=found,
        seconds=round(time.monotonic() - began, 2),
        created_by=by,
    )
