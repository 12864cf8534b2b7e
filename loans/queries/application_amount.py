"""The range of amounts that the amount model sees for one application, beside what is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _

from loans.models import AmountEstimate, LoanApplication, ModelKind, ModelState, ModelVersion
from loans.queries.words import money


@dataclass(frozen=True)
class Amounts:
    """estimate: None where there is none; `text` then says why, and trainable whether training an amount model would help."""

    estimate: AmountEstimate | None
    text: str
    asked: str
    lines: list[tuple[str, str, str]]
    cap: str = ""
    trainable: bool = False
    beyond: bool = False


def amounts(application: LoanApplication) -> Amounts | None:
    """None for history that was never scored: there is nothing to say."""
    asked = money(application.amount)
    estimate = AmountEstimate.objects.latest_of(application)
    if estimate is None:
        if not application.is_undecided:
            return None
        if not ModelVersion.objects.filter(kind=ModelKind.LOAN_AMOUNT, state=ModelState.CHAMPION).exists():
            return Amounts(None, _("No amount model serves yet."), asked, [], trainable=True)
        return Amounts(None, _("No range yet: one comes with the next score."), asked, [])
    low, middle, high = (money(value) for value in (estimate.low, estimate.middle, estimate.high))

    def said(value: Decimal, text: str) -> str:
        return _("Lowered to what the affordability rule allows.") if estimate.capped and value == estimate.cap else text

    lines = [
        (_("Low end"), low, said(estimate.low, _("One in ten applicants like this one carried less."))),
        ("Middle", middle, said(estimate.middle, _("Half carried more, half less."))),
        (_("High end"), high, said(estimate.high, _("One in ten carried more."))),
        (_("Asked for"), asked, f"{_where(application, estimate).capitalize()}."),
    ]
    if estimate.cap is None:
        cap = _("No cap: the income is not known.")
    else:
        cap = _("The affordability rule allows at most %(cap)s: all debt payments together within a fixed share of the income.") % {
            "cap": money(estimate.cap)
        }
        lines.append(("Cap", money(estimate.cap), _("What the affordability rule allows at most.")))
    return Amounts(
        estimate=estimate,
        text=f"{asked} asked for: {_where(application, estimate)}.",
        asked=asked,
        lines=lines,
        cap=cap,
        beyond=application.amount > estimate.high or (estimate.cap is not None and application.amount > estimate.cap),
    )


def _where(application: LoanApplication, estimate: AmountEstimate) -> str:
    amount = application.amount
    if estimate.cap is not None and amount > estimate.cap:
        return _("above what the affordability rule allows")
    if amount > estimate.high:
        return _("above the range")
    if amount < estimate.low:
        return _("below the range")
    return _("within the range, ") + (_("above its middle") if amount > estimate.middle else _("not above its middle"))
