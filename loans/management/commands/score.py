"""Score what is due here and now, without a worker."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from loans.management.progress import terminal_progress
from loans.models import BulkKind, ScoringJob
from loans.services import registry, scoring
from loans.services.bulk import run as bulk
from mlcore.progress import Progress, part

BULK_FROM = 1_000
"""From so many waiting applications on, a bulk job is quicker than batches."""


class Command(BaseCommand):
    help = "Score every application whose job is due, in this process. Several of these, on any hosts, share the work."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--again", action="store_true", help="Give every open application a new score.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            serving = registry.champion()
        except registry.NoChampion as error:
            self.stderr.write(self.style.ERROR(str(error)))
            sys.exit(2)
        stored = released = 0
        with terminal_progress("Scoring") as progress:
            if options["again"]:
                stored += self._in_bulk(BulkKind.RESCORE, progress)
            if bulk.active(BulkKind.PENDING) or ScoringJob.objects.due().filter(attempts=0)[:BULK_FROM].count() == BULK_FROM:
                stored += self._in_bulk(BulkKind.PENDING, part(progress, 0.0, 0.99))
            total = stored + ScoringJob.objects.due().count()
            while (done := scoring.score_pending()).claimed:
                stored, released = stored + done.stored, released + done.released
                progress(min(stored / max(total, 1), 1.0), f"{stored:,} of {total:,}")
        waiting = ScoringJob.objects.unfinished().count()
        self.stdout.write(f"{stored:,} scored with {serving.version}; {waiting:,} still waiting.")
        if released:
            self.stdout.write(f"{released:,} attempts failed and will be repeated; after five an application goes to a person.")

    def _in_bulk(self, kind: str, progress: Progress) -> int:
        """Begin a bulk job, or take part in the one that is under way."""
        try:
            run = bulk.start(kind, by=None, wake=False)
        except bulk.BulkRefused:
            run = bulk.active(kind)
        return bulk.work(run.pk, progress=progress) if run is not None else 0
