"""Train the fraud models here and now."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from loans.management.progress import terminal_progress
from loans.services.fraud import model


class Command(BaseCommand):
    help = "Learn what is unusual and, from enough confirmed cases on, what fraud looks like. The new version serves at once."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with terminal_progress("Training fraud models") as progress:
                version = model.train(seed=options["seed"], progress=progress)
        except model.NothingToLearn as error:
            self.stderr.write(self.style.ERROR(str(error)))
            sys.exit(2)
        for warning in version.report["warnings"]:
            self.stdout.write(self.style.WARNING(warning))
        supervised = version.report.get("supervised")
        learned = f"with a model of {supervised['cases']:,} cases ({', '.join(supervised['chosen'])})" if supervised else "anomaly alone"
        self.stdout.write(f"{version} serves now, {learned}, from {version.report['applications']:,} applications.")
