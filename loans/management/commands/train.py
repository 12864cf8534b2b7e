"""Train models here and now, in this process."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from loans.management.progress import terminal_progress
from loans.models import ModelKind, ModelState, RunState, TrainingRun
from loans.services import training


class Command(BaseCommand):
    help = "Fit, evaluate and register models. The first of its kind becomes champion; later ones wait for promotion."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"Of: {', '.join(ModelKind.values)} (all where none is named).")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--unless-champion", action="store_true", help="Skip kinds of which a model serves already.")

    def handle(self, *args: Any, **options: Any) -> None:
        from loans.models import ModelVersion

        unknown = [kind for kind in options["kinds"] if kind not in ModelKind.values]
        if unknown:
            self._fail(f"There is no kind of model {', '.join(unknown)}. There are: {', '.join(ModelKind.values)}.")
        for kind in options["kinds"] or ModelKind.values:
            if options["unless_champion"] and ModelVersion.objects.champion(kind) is not None:
                self.stdout.write(f"{ModelKind(kind).label}: a model serves already.")
                continue
            self._train(kind, options["seed"])

    def _train(self, kind: str, seed: int) -> None:
        try:
            run = training.start_training(kind, by=None, seed=seed, wake=False)
        except training.TrainingAlreadyActive as error:
            # One that nobody works on (queued without a worker, or its worker died) is taken over; it keeps the seed it was given.
            run = TrainingRun.objects.filter(pk__in=training.orphaned_runs(), kind=kind).first()
            if run is None:
                self._fail(str(error))
            self.stdout.write(f"Taking over training {run.pk}, which nobody works on.")
        except training.TrainingRefused as error:
            self._fail(str(error))
        try:
            with terminal_progress(f"Training {ModelKind(kind).label.lower()}") as progress:
                done = training.run_training(run.pk, progress=progress)
        except KeyboardInterrupt:
            training.cancel(TrainingRun.objects.get(pk=run.pk), by=None)
            TrainingRun.objects.filter(pk=run.pk, state=RunState.RUNNING).update(
                state=RunState.CANCELLED, lease_until=None, step="Cancelled"
            )
            self._fail("Cancelled; nothing was kept.")
        if done is None or done.state != RunState.DONE:
            self._fail(
                f"The training ended as “{done.get_state_display().lower()}”: {done.error}" if done else "Another worker took the run."
            )
        version = done.model_version
        version.refresh_from_db(fields=["state"])
        waits = "scores in shadow and waits for promotion" if version.state == ModelState.SHADOW else "waits for promotion"
        state = "serves now" if version.is_champion else waits
        self.stdout.write(f"{version} ({version.algorithm}) {state}: {headline(version.report)}")
        for warning in version.report.get("warnings") or [] if kind == ModelKind.FRAUD else []:
            self.stdout.write(self.style.WARNING(warning))
        learned = "applications" if kind in (ModelKind.SEGMENTS, ModelKind.FRAUD) else "labelled loans"
        self.stdout.write(f"{done.rows:,} {learned}, {done.seconds:.1f} s, peak memory {done.peak_memory_mb:,.0f} MB.")

    def _fail(self, message: str) -> None:
        self.stderr.write(self.style.ERROR(message))
        sys.exit(2)


def headline(report: dict) -> str:
    """What the model is worth in one line, beside what knowing nothing is worth."""
    if "champion" not in report:
        return report["in_words"]
    auc = report["champion"]["figures"]["auc"]
    baselines = report["baselines"]
    return (
        f"AUC {auc['value']:.3f} ({auc['low']:.3f}–{auc['high']:.3f}) beside the prior's {baselines['prior_auc']:.1f}; always saying "
        f"“repaid” would be {baselines['majority_accuracy']:.1%} accurate. {report['split']['in_words']}"
    )
