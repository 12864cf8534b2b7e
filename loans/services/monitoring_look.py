"""One version's reference, learned once, and looks at windows against it, each stored in one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from loans.models import ModelKind, ModelVersion, MonitoringFigure, MonitoringWindow
from loans.queries import monitoring_frames as frames
from loans.services import alerts, audit, monitoring_desk, policy
from mlcore.progress import Progress, silent

if TYPE_CHECKING:
    from mlcore.monitor import Bins, Collected, Figure, Reading

REFERENCE_ROWS = 200_000
BIN_ROWS = 30_000
MATURED = 0.9
LEAST_REFERENCE = 200


@dataclass(frozen=True)
class Span:
    """[start, end) of one window, and what is on file of it today."""

    start: date
    end: date
    rows: int
    finished: int

    def seen(self, as_of: datetime) -> dict[str, Any]:
        """What a look at it today rests on; a later look is due where this is another."""
        months = settings.OUTCOME_WINDOW_MONTHS
        closed = not months or self.end + timedelta(days=round(months * 30.4375)) <= as_of.astimezone(UTC).date()
        return {"rows": self.rows, "finished": self.finished, "closed": closed}


class Watcher:
    """One version's reference, learned once, and looks at windows against it."""

    def __init__(self, version: ModelVersion, model: Any, reference: tuple[date, date], as_of: datetime) -> None:
        self.version, self.model, self.span, self.as_of = version, model, reference, as_of
        self.scores = version.kind == ModelKind.DEFAULT_RISK
        self.schema = model.schema
        self.rules = alerts.Rules.in_force()
        self.policy = policy.in_force().policy if self.scores else None
        self.reference: Collected | None = None
        self.synthetic = version.synthetic

    def learn(self, progress: Progress = silent) -> Collected:
        """Cut the bins by a sample of the reference, then count all of it (of very many rows, a share of 200,000)."""
        from mlcore.monitor import Collected

        rows = frames.extent(*self.span).rows
        progress(0.0, _("%(version)s: reference of %(rows)s applications") % {"version": self.version, "rows": f"{rows:,}"})
        bins, outputs = self._bins(min(1.0, BIN_ROWS / max(rows, 1)))
        self.reference = Collected(bins, outputs)
        share = min(1.0, REFERENCE_ROWS / max(rows, 1))
        for block in self._stream(*self.span, share):
            self._count(self.reference, block)
            progress(
                min(self.reference.rows / max(rows * share, 1), 1.0),
                _("%(version)s: reference of %(rows)s applications") % {"version": self.version, "rows": f"{rows:,}"},
            )
        return self.reference

    def _stream(self, start: date, end: date, share: float = 1.0) -> Iterator[frames.Block]:
        return frames.stream(self.version.pk, self.schema, start, end, share=share, as_of=self.as_of)

    def _bins(self, share: float) -> tuple[Bins, Bins]:
        import pandas as pd

        from mlcore.monitor import Bins

        blocks = list(self._stream(*self.span, share))
        if not blocks:
            return Bins.of(pd.DataFrame(), self.schema), Bins({})
        frame = pd.concat([block.frame for block in blocks], ignore_index=True)
        when = pd.concat([block.submitted_at for block in blocks], ignore_index=True)
        bins = Bins.of(frame, self.schema, when)
        if not self.scores:
            return bins, Bins({})
        said = pd.concat([self._outputs(block)[1] for block in blocks], ignore_index=True)
        known = {name: said[name] for name in said if said[name].notna().any()}
        return bins, Bins.of_outputs(known, monitoring_desk.OUTPUTS)

    def _count(self, into: Collected, block: frames.Block) -> int:
        """Count a block; returns how many rows were scored for it."""
        if not self.scores:
            into.add(block.frame, block.submitted_at)
            return 0
        probability, outputs, after = self._outputs(block)
        # The estimate and what came are of this version's model; nothing of a score that could not be made.
        into.add(block.frame, block.submitted_at, probability=probability, default=block.default, outputs=dict(outputs.items()))
        return after

    def _outputs(self, block: frames.Block) -> tuple[Any, Any, int]:
        """Probability (n,), outputs by name as a frame, and how many rows had no stored score."""
        import numpy as np
        import pandas as pd

        probability = block.said["probability"].to_numpy(dtype=float, copy=True)
        grade = block.said["grade"].astype(object).to_numpy(copy=True)
        reason = block.said["reason"].astype(object).to_numpy(copy=True)
        without = np.flatnonzero(np.isnan(probability))
        if len(without):
            part_of = _as_scored(block.frame.iloc[without])
            scores = self.model.score(part_of, block.submitted_at.iloc[without].reset_index(drop=True))
            families = self.model.families
            sums = families.sums(scores.contributions)
            strongest = sums.argmax(axis=1)
            against = sums[np.arange(len(sums)), strongest] > 0
            probability[without] = scores.probability
            grade[without] = self.model.grade(scores.probability)
            reason[without] = np.where(against, np.array(families.names, dtype=object)[strongest], None)
        bands = np.array(["decline", "refer", "approve"], dtype=object)
        at = (probability < self.policy.approve_below).astype(int) + (probability < self.policy.decline_from)
        outputs = pd.DataFrame(
            {
                "probability": probability,
                "grade": grade,
                "reason": reason,
                "advice": bands[at],
                "fraud_score": block.said["fraud_score"].to_numpy(dtype=float),
                "segment": block.said["segment"].astype(object).to_numpy(),
            }
        )
        return probability, outputs, len(without)

    def look(self, span: Span, by: object | None) -> MonitoringWindow:
        """Read, judge, store and ring for one window, in one transaction at the end."""
        from mlcore.monitor import Collected, watch

        began = time.monotonic()
        window = Collected(self.reference.bins, self.reference.output_bins)
        booked = after = 0
        for block in self._stream(span.start, span.end):
            after += self._count(window, block)
            booked += int(block.booked.sum())
        labelled = len(window.labelled[0])
        reading = watch(
            self.reference,
            window,
            limits=self.rules.limits(),
            learned_defaults=self._learned_defaults(),
            matured=labelled >= MATURED * booked,
        )
        desk, said = monitoring_desk.figures(self.version, span.start, span.end, self.rules, self.as_of) if self.scores else ([], [])
        notes = [*self._notes(labelled, booked, after, window.rows), *reading.notes, *said]
        return self._store(span, reading, desk, notes, after, by, began)

    def _learned_defaults(self) -> float | None:
        calibrator = getattr(self.model, "calibrator", None)
        return float(calibrator.defaults) if calibrator is not None and calibrator.defaults else None

    def _notes(self, labelled: int, booked: int, after: int, rows: int) -> list[str]:
        notes = []
        if self.reference.rows < LEAST_REFERENCE:
            notes.append(
                _("The reference has %(rows)s applications only: little can be said against it.") % {"rows": f"{self.reference.rows:,}"}
            )
        if after:
            notes.append(
                _("%(after)s of %(rows)s applications had no stored score of this version and were scored for this look.")
                % {"after": f"{after:,}", "rows": f"{rows:,}"}
            )
        if labelled and labelled < rows:
            notes.append(
                _("%(labelled)s loans have an outcome. What was declined has none, so performance is that of approved loans only.")
                % {"labelled": f"{labelled:,}"}
            )
        return notes

    def _store(
        self, span: Span, reading: Reading, desk: list[Figure], notes: list[str], after: int, by: object | None, began: float
    ) -> MonitoringWindow:
        figures = [*reading.figures, *desk]
        with transaction.atomic():
            window = MonitoringWindow.objects.create(
                model_version=self.version,
                start=span.start,
                end=span.end,
                rows=reading.rows,
                labelled=reading.labelled,
                scored_after=after,
                reference={
                    "start": self.span[0].isoformat(),
                    "end": self.span[1].isoformat(),
                    "rows": self.reference.rows,
                    "labelled": len(self.reference.labelled[0]),
                    "seen": span.seen(self.as_of),
                },
                notes=notes,
                breaches=sum(figure.breach for figure in figures),
                synthetic=self.synthetic,
                seconds=round(time.monotonic() - began, 3),
                created_by=by,
            )
            rows = [_row(window, figure) for figure in figures]
            MonitoringFigure.objects.bulk_create(rows)
            breaches = [row for row in rows if row.breach and not alerts.closed_since(self.version, window, row)]
            alerts.ring(window, breaches, self.rules)
            audit.record("monitoring.looked", actor=by, subject=window, rows=window.rows, breaches=window.breaches)
        return window


def _row(window: MonitoringWindow, figure: Figure) -> MonitoringFigure:
    told = figure.to_json()
    told.pop("size")
    told |= {"note": figure.note[:500], "title": figure.title[:200], "feature": figure.feature[:80]}
    return MonitoringFigure(window=window, **told)


def _as_scored(frame: Any) -> Any:
    """As a model was fitted: categories as plain texts, None where missing."""
    made = frame.reset_index(drop=True).copy(deep=False)
    for name in made:
        if made[name].dtype == "category":
            values = made[name].astype(object)
            made[name] = values.where(values.notna(), None)
    return made
