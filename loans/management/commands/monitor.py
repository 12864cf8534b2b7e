"""Look at the serving models here and now."""

from __future__ import annotations

import sys
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand

from loans.management.progress import terminal_progress
from loans.models import ModelKind, MonitoringWindow
from loans.services import monitoring


class Command(BaseCommand):
    help = "Hold each past window of the serving models against what they were built on; ring where it is off."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--kind", action="append", metavar="KIND", help=f"Of: {', '.join(ModelKind.values)} (all that serve).")
        parser.add_argument("--window", metavar="DATE", type=str, help="Only the window that holds this day, even if it was looked at.")
        parser.add_argument("--period", metavar="PERIOD", help=f"Of: {', '.join(monitoring.PERIODS)} (MONITORING_PERIOD).")
        parser.add_argument("--force", action="store_true", help="Every window anew, also where nothing has come in since the last look.")

    def handle(self, *args: Any, **options: Any) -> None:
        only = None
        if options["window"]:
            try:
                only = date.fromisoformat(options["window"])
            except ValueError:
                self.stderr.write(self.style.ERROR(f"--window: {options['window']!r} is not a date such as 2026-03-01."))
                sys.exit(2)
        try:
            with terminal_progress("Monitoring") as progress:
                made = monitoring.refresh(options["kind"], period=options["period"], only=only, force=options["force"], progress=progress)
        except monitoring.MonitoringRefused as error:
            self.stderr.write(self.style.ERROR(str(error)))
            sys.exit(2)
        for window in made:
            self.stdout.write(self._line(window))
        if not made:
            self.stdout.write("No window is due: nothing has come in since the last look.")

    @staticmethod
    def _line(window: MonitoringWindow) -> str:
        off = [str(figure) for figure in window.figures.filter(breach=True)]
        shown = ", ".join(off[:6]) + (f" and {len(off) - 6} more" if len(off) > 6 else "")
        labelled = f", {window.labelled:,} with an outcome" if window.labelled else ", none with an outcome yet"
        return f"{window}: {window.rows:,} applications{labelled}. {f'OFF: {shown}' if off else 'Nothing is off.'} ({window.seconds:.1f} s)"
