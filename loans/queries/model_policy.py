"""What a cut-off would approve, earn and lose on the loans that a model was judged on, restated under the policy in force."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loans.models import ModelVersion, Policy
from loans.queries.report import Interval, dig, number_of, rows_of
from loans.queries.words import money, number, percent

SAME = 5e-6
"""Cut-offs that are nearer than this are one: a report keeps six decimals."""


@dataclass(frozen=True)
class Point:
    """One cut-off. Shares are fractions, money is in the desk's currency, None where nobody would be approved."""

    cutoff: float
    approved: int
    approval_rate: float
    bad_rate: float | None
    bad_low: float | None
    bad_high: float | None
    expected_profit: float
    expected_loss: float
    realised_profit: float
    realised_loss: float

    @property
    def words(self) -> dict[str, str]:
        return {
            "cutoff": percent(self.cutoff),
            "approved": number(self.approved),
            "approval_rate": percent(self.approval_rate),
            "bad_rate": percent(self.bad_rate),
            "bad_range": "" if self.bad_low is None or self.bad_high is None else f"{percent(self.bad_low)}–{percent(self.bad_high)}",
            "expected_profit": money(round(self.expected_profit)),
            "expected_loss": money(round(self.expected_loss)),
            "realised_profit": money(round(self.realised_profit)),
            "realised_loss": money(round(self.realised_loss)),
        }


@dataclass(frozen=True)
class Claim:
    """`x % fewer bad loans`, and only ever at equal approval against a stated comparator."""

    text: str
    beside: str
    certain: bool
    note: str = ""


@dataclass(frozen=True)
class PolicyPage:
    """points: by rising cut-off, the policy's among them, without those that approve nobody. here: the point at the policy's cut-off.

    best: the one that earned most, with hindsight. nearest: the measured cut-off in the place of the policy's, where it was not measured.
    """

    version: ModelVersion
    cutoff: float
    decline_from: float
    margin: float
    loss_given_default: float
    written: bool
    points: list[Point]
    here: Point | None
    nearest: str
    best: Point | None
    judged: str
    restated: str
    default_rate: str
    claims: list[Claim]
    silent: list[str]
    edited: str = ""


def policy_page(version: ModelVersion, policy: Policy) -> PolicyPage:
    """policy: the one in force, or the unsaved one that holds until the first is written."""
    report = version.report if isinstance(version.report, dict) else {}
    told = {name: number_of(dig(report, "policy", "terms", name)) for name in ("margin", "loss_given_default")}
    points = [point for row in rows_of(dig(report, "policy", "curve")) if (point := _point(row, told, policy)) and point.approved]
    current = _point(dig(report, "policy", "current") or {}, told, policy)
    here = _at(policy.approve_below, points, current)
    if points and here is not None and here not in points:
        points = sorted([*points, here], key=lambda point: point.cutoff)
    claims = [_claim(row) for row in rows_of(dig(report, "policy", "fewer_bad_loans"))]
    same = told == {"margin": policy.margin, "loss_given_default": policy.loss_given_default}
    rows, test = number_of(dig(report, "split", "test", "rows")), dig(report, "split", "test") or {}
    return PolicyPage(
        version=version,
        cutoff=policy.approve_below,
        decline_from=policy.decline_from,
        margin=policy.margin,
        loss_given_default=policy.loss_given_default,
        written=policy.pk is not None,
        points=points,
        here=here,
        nearest="" if here is None or abs(here.cutoff - policy.approve_below) < SAME else percent(here.cutoff, 2),
        best=max(points, key=lambda point: point.realised_profit, default=None),
        judged=_("%(number)s loans that it had not seen") % {"number": number(int(rows))}
        + (f", {test['from']} to {test['until']}" if test.get("from") else "")
        if rows
        else _("the loans that it was judged on"),
        restated=""
        if same or None in told.values()
        else _(
            "The training reckoned with a margin of %(share)s and a loss of %(share_2)s; here the money is restated "
            "under the policy in force."
        )
        % {"share": percent(told["margin"]), "share_2": percent(told["loss_given_default"])},
        default_rate=percent(number_of(dig(report, "baselines", "default_rate"))),
        claims=[claim for claim in claims if claim],
        silent=[
            f"{_first_up(str(row.get('title')))} {row['why']}."
            for row in rows_of(dig(report, "policy", "fewer_bad_loans"))
            if row.get("why")
        ],
        edited=EDITED if report.get("edits") else "",
    )


def _point(row: dict[str, Any], told: dict[str, float | None], policy: Policy) -> Point | None:
    """A row of the report's curve, its money restated: both terms are linear in the lent amounts behind them."""
    cutoff, approval = number_of(row.get("cutoff")), number_of(row.get("approval_rate"))
    if cutoff is None or approval is None:
        return None
    money = {}
    for how in ("expected", "realised"):
        profit, loss = number_of(row.get(f"{how}_profit")) or 0.0, number_of(row.get(f"{how}_loss")) or 0.0
        if told["margin"] and told["loss_given_default"]:
            good, bad = (profit + loss) / told["margin"], loss / told["loss_given_default"]
            loss = bad * policy.loss_given_default
            profit = good * policy.margin - loss
        money |= {f"{how}_profit": profit, f"{how}_loss": loss}
    return Point(
        cutoff=cutoff,
        approved=int(number_of(row.get("approved")) or 0),
        approval_rate=approval,
        bad_rate=number_of(row.get("bad_rate")),
        bad_low=number_of(row.get("bad_rate_low")),
        bad_high=number_of(row.get("bad_rate_high")),
        **money,
    )


def _at(cutoff: float, points: list[Point], current: Point | None) -> Point | None:
    """The point at a cut-off: as measured where the training used the same, else the nearest below, which approves the same or fewer."""
    if current is not None and abs(current.cutoff - cutoff) < SAME:
        return current
    return next((point for point in reversed(points) if point.cutoff <= cutoff), None)


def _claim(row: dict[str, Any]) -> Claim | None:
    reduction = Interval.of(row.get("reduction"))
    if reduction.value is None:
        return None
    against = str(row.get("title") or row.get("against") or "?")
    certain = reduction.low is not None and reduction.high is not None and (reduction.low > 0 or reduction.high < 0)
    share = percent(abs(reduction.value))
    text = _("%(share)s %(more)s bad loans at equal approval than %(against)s") % {
        "share": share,
        "more": _("fewer") if reduction.value >= 0 else _("more"),
        "against": against,
    }
    if reduction.low is not None and reduction.high is not None:
        low, high = sorted(bound if reduction.value >= 0 else -bound for bound in (reduction.low, reduction.high))
        text += f" (95% interval {_signed(low)} to {_signed(high)})"
    if not certain:
        text += _(". The interval holds 0: it may be chance")
    rates = _("%(share)s of the approved default, %(share_2)s there") % {
        "share": percent(number_of(row.get("bad_rate"))),
        "share_2": percent(number_of(row.get("comparator_bad_rate"))),
    }
    approval = number_of(row.get("approval_rate"))
    if approval is not None:
        rates = f"Both approve {percent(approval)}: {rates}"
    return Claim(f"{text}.", rates, certain, str(row.get("note") or ""))


EDITED = gettext_lazy("Tables of this version were changed by hand after it was measured: the figures here are those of before.")


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def _signed(share: float) -> str:
    return f"{'−' if share < 0 else ''}{percent(abs(share))}"


CSV_HEAD = (
    "cut_off", "approved", "approval_rate", "bad_rate", "bad_rate_low", "bad_rate_high", "expected_profit", "expected_loss",
    "realised_profit", "realised_loss",
)  # fmt: skip


def csv_rows(page: PolicyPage) -> Iterator[list[str]]:
    """Head and points. Numbers alone, and the head is ours: no cell can be taken for a formula."""
    yield list(CSV_HEAD)
    for point in page.points:
        shares = (point.approval_rate, point.bad_rate, point.bad_low, point.bad_high)
        money = (point.expected_profit, point.expected_loss, point.realised_profit, point.realised_loss)
        yield [
            f"{point.cutoff:.6f}",
            str(point.approved),
            *("" if share is None else f"{share:.6f}" for share in shares),
            *(f"{value:.2f}" for value in money),
        ]
