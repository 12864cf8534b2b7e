"""Score what is due here and now, without a worker."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from loans.management.progress import terminal_progress
from loans.models import LoanApplication, ScoringJob
from loans.services import registry, scoring


class Command(BaseCommand):
    help = "Score every application whose job is due, in this process. Workers may do the same at the same time."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--again", action="store_true", help="First ask for a new score of every open application.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            serving = registry.champion()
        except registry.NoChampion as error:
            self.stderr.write(self.style.ERROR(str(error)))
            sys.exit(2)
        if options["again"]:
            for application in LoanApplication.objects.to_decide().order_by("pk").iterator():
                scoring.request_score(application)
        total = ScoringJob.objects.due().count()
        stored = released = 0
        with terminal_progress("Scoring") as progress:
            while True:
                done = scoring.score_pending()
                if not done.claimed:
                    break
                stored, released = stored + done.stored, released + done.released
                progress(min(stored / max(total, 1), 1.0), f"{stored:,} of {total:,}")
        waiting = ScoringJob.objects.unfinished().count()
        self.stdout.write(f"{stored:,} scored with {serving.version}; {waiting:,} still waiting.")
        if released:
            self.stdout.write(f"{released:,} attempts failed and will be repeated; after five an application goes to a person.")
