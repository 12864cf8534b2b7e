"""What became of the like of it: past loans nearest to an application among those whose outcome is known.

Approximate on purpose: the NEAR loans of the same product next to it in amount, on either side, are read from an index; among those the
nearest in what was stated are shown. So a page costs the same with a thousand past loans as with a million.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from loans.models import LoanApplication, OutcomeState, Status
from loans.queries.words import money, percent

NEAR = 300
SHOWN = 10
# What is compared; money on a log scale, since 1,000 more is much for a small loan and nothing for a large one.
_LOG = ("amount", "annual_income")
_PLAIN = ("term_months", "debt_to_income", "credit_score", "employment_months", "revolving_utilisation", "inquiries_6m")
COMPARED = (*_LOG, *_PLAIN)
KNOWN = (OutcomeState.DEFAULT, OutcomeState.REPAID)


@dataclass(frozen=True)
class Past:
    pk: int
    reference: str
    amount: str
    term: str
    income: str
    debts: str
    score: str
    year: str
    defaulted: bool
    outcome: str


@dataclass(frozen=True)
class Similar:
    """rows: the nearest first. among: of how many with a known outcome they are the nearest."""

    rows: list[Past]
    among: int
    defaulted: int
    in_words: str


def similar(application: LoanApplication, visible: QuerySet[LoanApplication]) -> Similar | None:
    """None where no past loan that the reader may see has a known outcome. Two queries."""
    past = visible.filter(status=Status.HISTORICAL, product=application.product_id, outcome__state__in=KNOWN).exclude(pk=application.pk)
    past = past.select_related("outcome").only(
        "external_reference", "submitted_at", "status", "product", *COMPARED, "outcome__state", "outcome__application"
    )
    above = past.filter(amount__gte=application.amount).order_by("amount", "pk")[:NEAR]
    below = past.filter(amount__lt=application.amount).order_by("-amount", "-pk")[:NEAR]
    candidates = [*above, *below]
    if not candidates:
        return None
    spreads = {name: _spread([_value(row, name) for row in candidates]) for name in COMPARED}
    mine = {name: _value(application, name) for name in COMPARED}
    nearest = sorted(candidates, key=lambda row: (_distance(row, mine, spreads), row.pk))[:SHOWN]
    rows = [_past(row) for row in nearest]
    defaulted = sum(row.defaulted for row in rows)
    loans = "loan" if len(rows) == 1 else "loans"
    return Similar(
        rows=rows,
        among=len(candidates),
        defaulted=defaulted,
        in_words=_("Of the %(rows)s most similar past %(loans)s with a known outcome, %(defaulted)s defaulted.")
        % {"rows": len(rows), "loans": loans, "defaulted": defaulted},
    )


def _value(row: Any, name: str) -> float | None:
    value = getattr(row, name)
    if value is None:
        return None
    return math.log1p(max(float(value), 0.0)) if name in _LOG else float(value)


def _spread(values: list[float | None]) -> float:
    """The median distance from the median, or 1 where there is none: a scale that outliers do not stretch."""
    known = [value for value in values if value is not None]
    if not known:
        return 1.0
    middle = median(known)
    return median(abs(value - middle) for value in known) or 1.0


def _distance(row: LoanApplication, mine: dict[str, float | None], spreads: dict[str, float]) -> float:
    """Mean of the differences, each at most three spreads; one known and the other not counts as one spread."""
    total = 0.0
    for name, value in mine.items():
        other = _value(row, name)
        if value is None or other is None:
            total += float((value is None) != (other is None))
        else:
            total += min(abs(value - other) / spreads[name], 3.0)
    return total / len(mine)


def _past(row: LoanApplication) -> Past:
    return Past(
        pk=row.pk,
        reference=row.external_reference,
        amount=money(row.amount),
        term=f"{row.term_months}" if row.term_months else "–",
        income=money(row.annual_income) if row.annual_income is not None else "–",
        debts=percent(row.debt_to_income),
        score=f"{row.credit_score}" if row.credit_score is not None else "–",
        year=f"{row.submitted_at:%Y-%m}",
        defaulted=row.outcome.state == OutcomeState.DEFAULT,
        outcome=row.outcome.get_state_display(),
    )
