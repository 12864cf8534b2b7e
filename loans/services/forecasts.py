"""The demand forecast: from the applications on file to a vintage that is kept."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext

from loans.models import DemandForecast, LoanApplication
from loans.models.forecast import FREQUENCIES, HORIZONS, MEASURES
from loans.queries.demand import history
from mlcore.progress import Progress, part, silent

if TYPE_CHECKING:
    from mlcore.demand import SeriesSet


class ForecastRefused(ValueError):
    """There is no such forecast; the message names those that there are."""


def refresh(
    *, frequencies: list[str] | None = None, as_of: datetime | None = None, by: object | None = None, progress: Progress = silent
) -> list[DemandForecast]:
    """A vintage of each frequency and measure, as of now (or then). One that is there already is returned as it is.

    Raises ForecastRefused for an unknown frequency.
    """
    known = [code for code, _ in FREQUENCIES]
    unknown = [name for name in frequencies or [] if name not in known]
    if unknown:
        raise ForecastRefused(
            gettext("There is no forecast by %(unknown)s; there are: %(known)s.")
            % {"unknown": ", ".join(unknown), "known": ", ".join(known)}
        )
    as_of = as_of or timezone.now().replace(microsecond=0)
    progress(0.0, gettext("Reading the history"))
    series = history()
    synthetic = LoanApplication.objects.filter(synthetic=True).exists()
    wanted = [(frequency, measure) for frequency in frequencies or known for measure, _ in MEASURES]
    made = []
    for number, (frequency, measure) in enumerate(wanted):
        watch = part(progress, 0.1 + 0.9 * number / len(wanted), 0.1 + 0.9 * (number + 1) / len(wanted))
        made.append(_make(series, frequency, measure, as_of, by, synthetic, watch))
    progress(1.0, "Done")
    return made


def _make(
    series: SeriesSet, frequency: str, measure: str, as_of: datetime, by: object | None, synthetic: bool, progress: Progress
) -> DemandForecast:
    from mlcore.demand import forecast

    existing = DemandForecast.objects.filter(frequency=frequency, measure=measure, as_of=as_of).first()
    if existing is not None:
        return existing
    started = time.monotonic()
    measured = measure if series.amounts is not None else "count"
    vintage = forecast(
        series, horizon=HORIZONS[frequency], frequency=frequency, country=settings.COUNTRY, as_of=as_of, measure=measured, progress=progress
    )
    try:
        with transaction.atomic():
            return DemandForecast.objects.create(
                frequency=frequency,
                measure=measure,
                as_of=as_of,
                horizon=vintage.horizon,
                country=settings.COUNTRY,
                data=vintage.to_json(),
                synthetic=synthetic,
                seconds=round(time.monotonic() - started, 2),
                created_by=by,
            )
    except IntegrityError:
        return DemandForecast.objects.get(frequency=frequency, measure=measure, as_of=as_of)
