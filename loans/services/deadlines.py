"""The clock of the rule pack: until when an applicant has to be told, and how near that is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.utils import timezone

from loans.models import LoanApplication
from loans.models.application import UNDECIDED
from loans.services import rulepack

SOON_DAYS = 7


@dataclass(frozen=True)
class Due:
    """on: the last day. days: until then, negative once it is past."""

    on: date
    days: int
    source: str

    @property
    def tone(self) -> str:
        return "danger" if self.days < 0 else "warning" if self.days <= SOON_DAYS else ""

    @property
    def in_words(self) -> str:
        many = abs(self.days)
        unit = "day" if many == 1 else "days"
        if self.days < 0:
            return f"{many} {unit} overdue"
        return "due today" if self.days == 0 else f"due in {many} {unit}"


def due(application: LoanApplication, *, today: date | None = None) -> Due | None:
    """Of an application that nobody decided; None of any other. The clock runs from the day it was submitted."""
    if application.status not in UNDECIDED:
        return None
    rules = rulepack.in_force().notice
    return until((application.submitted_at + timedelta(days=rules.days)).date(), rules.days_source, today=today)


def of_offer(offered_at: datetime, *, today: date | None = None) -> Due:
    """Of an offer that the applicant has not answered."""
    rules = rulepack.in_force().notice
    return until((offered_at + timedelta(days=rules.offer_days)).date(), rules.offer_source, today=today)


def until(day: date, source: str = "", *, today: date | None = None) -> Due:
    return Due(day, (day - (today or timezone.now().date())).days, source)


def submitted_before(days_left: int, *, now: datetime | None = None) -> datetime:
    """Whoever was submitted before this moment is due within so many days; a range of the index, no arithmetic by row."""
    midnight = (now or timezone.now()).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(days=days_left + 1 - rulepack.in_force().notice.days)
