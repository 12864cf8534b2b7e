"""Make the demand forecast here and now."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand

from loans.management.progress import terminal_progress
from loans.models.forecast import FREQUENCIES
from loans.services import forecasts


class Command(BaseCommand):
    help = "Forecast applications and amounts by day, week and month, and keep the vintage."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("frequencies", nargs="*", metavar="FREQUENCY", help=f"Of: {', '.join(code for code, _ in FREQUENCIES)} (all).")

        parser.add_argument("--as-of", metavar="DATE", help="As it would have been made on that day, from what was known then (today).")

    def handle(self, *args: Any, **options: Any) -> None:
        as_of = None
        if options["as_of"]:
            try:
                as_of = datetime.fromisoformat(options["as_of"]).replace(tzinfo=UTC)
            except ValueError:
                self.stderr.write(self.style.ERROR(f"--as-of: {options['as_of']!r} is not a date such as 2026-03-31."))
                sys.exit(2)
        try:
            with terminal_progress("Forecasting demand") as progress:
                made = forecasts.refresh(frequencies=options["frequencies"] or None, as_of=as_of, progress=progress)
        except forecasts.ForecastRefused as error:
            self.stderr.write(self.style.ERROR(str(error)))
            sys.exit(2)
        for vintage in made:
            total = next(each for each in vintage.data["series"] if each["product"] is None and each["region"] is None)
            if not total["rows"]:
                self.stdout.write(f"{vintage}: no forecast. {total['reason']}")
                continue
            first = total["rows"][0]
            self.stdout.write(
                f"{vintage}: {first['point']:,.0f} ({first['lo80']:,.0f}–{first['hi80']:,.0f} in 80 of 100) from {first['period']} on, "
                f"by {total['method']}{worth(total['backtest'])}. {len(vintage.data['series'])} series in {vintage.seconds:.1f} s."
            )


def worth(record: dict[str, Any] | None) -> str:
    """How such forecasts did on the series' own past, beside the baseline."""
    if not record or record["wape"] is None or record["naive_wape"] is None:
        return ""
    ours, naive = 1 - record["wape"], 1 - record["naive_wape"]
    return f"; 1 − WAPE {ours:.2f} over {record['origins']} origins beside seasonal naive's {naive:.2f}"
