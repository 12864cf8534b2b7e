"""Link applications by their identifiers and assess what was missed, here and now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from loans.management.progress import terminal_progress
from loans.models import AssessmentState, FraudAssessment
from loans.services.fraud import assessment, links, rules


class Command(BaseCommand):
    help = "Link applications by the identifiers that they share, then look at those undecided that no search for fraud has seen yet."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--anew", action="store_true", help="Forget all links first: after an attribute was declared an identifier.")

    def handle(self, *args: Any, **options: Any) -> None:
        rules.install_pack()
        if options["anew"]:
            links.relink()
        waiting = FraudAssessment.objects.filter(state=AssessmentState.WAITING).count()
        linked = assessed = failed = 0
        with terminal_progress("Linking applications") as progress:
            while done := links.link_waiting():
                linked += done
                progress(linked / max(waiting, linked), f"{linked:,} of {waiting:,} applications")
        due = list(FraudAssessment.objects.filter(state__in=["linked", "failed"]).order_by("pk").values_list("pk", flat=True))
        with terminal_progress("Assessing applications") as progress:
            for start in range(0, len(due), assessment.MOST_AT_ONCE):
                batch = due[start : start + assessment.MOST_AT_ONCE]
                done = assessment.assess_quietly(batch)
                assessed, failed = assessed + done, failed + len(batch) - done
                progress((start + len(batch)) / len(due), f"{start + len(batch):,} of {len(due):,} applications")
        self.stdout.write(f"Linked {linked:,} applications, assessed {assessed:,}.")
        if failed:
            self.stderr.write(self.style.WARNING(f"{failed:,} could not be assessed; the sweeper tries them again."))
