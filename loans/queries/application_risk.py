"""One score in words: how high, against what, why, and what the policy makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext, gettext_lazy

from loans.models import BaselineKind, LoanApplication, Prediction
from loans.queries.application_facts import field_value
from loans.queries.model_page import Worth
from loans.queries.words import code, expit, fixed, frequency, logit, out_of, percent, points, signed


@dataclass(frozen=True)
class Bar:
    """A reason, or one input's contribution. `share`: its length in per cent of the longest; raises: it speaks for default."""

    text: str
    raises: bool
    effect: str
    log_odds: str
    share: float
    values: str = ""
    code: str = ""


@dataclass(frozen=True)
class Comparison:
    label: str
    value: str
    share: float
    mine: bool = False


@dataclass(frozen=True)
class KnockOut:
    """A rule that ruled the application out: its name, its condition, and what the applicant is told, with the rule pack's code of it."""

    rule: str
    in_words: str
    told: str
    code: str = ""

    @classmethod
    def of(cls, row: dict[str, Any]) -> KnockOut:
        rule = str(row.get("rule") or "")
        return cls(rule, str(row.get("in_words") or rule), str(row.get("text") or ""), str(row.get("code") or ""))


@dataclass(frozen=True)
class Advised:
    """What the policy made of the score: `text` says why. knock_outs: the rules that decided it."""

    outcome: str
    label: str
    tone: str
    text: str
    knock_outs: list[KnockOut]


@dataclass(frozen=True)
class Risk:
    prediction: Prediction
    percent: str
    frequency: str
    many: int
    of: int
    grade: str
    points: int
    against: list[Bar]
    favour: list[Bar]
    contributions: list[Bar]
    comparisons: list[Comparison]
    times_average: str
    baseline: str
    compared_with: str
    advice: Advised | None


COMPARED_WITH = {
    BaselineKind.ALL: gettext_lazy("the average of all applicants that the model learned from"),
    BaselineKind.AT_CUTOFF: gettext_lazy("the average of the applicants who would only just be approved"),
}


def risk(prediction: Prediction, value: Worth | None, application: LoanApplication, labels: dict[str, str]) -> Risk:
    p, z = prediction.probability, logit(prediction.probability)
    baseline = expit(prediction.baseline)
    average = value.portfolio if value and value.portfolio else baseline
    policy = prediction.policy
    cuts = (
        [(gettext("Approve below"), policy.approve_below), (gettext("Decline from"), policy.decline_from)]
        if policy
        else [(gettext("The model's cut"), value.cut if value else None)]
    )
    if policy and policy.approve_below == policy.decline_from:
        cuts = [(gettext("The policy's cut"), policy.decline_from)]
    reasons = [row for row in prediction.reasons or [] if isinstance(row, dict)]
    longest = max((abs(row.get("effect") or 0.0) for row in reasons), default=0.0) or 1.0

    def bar(text: str, effect: float, change: float, most: float, values: str = "", code: str = "") -> Bar:
        return Bar(
            text=text,
            raises=effect > 0,
            effect=points(change),
            log_odds=signed(effect, 3),
            share=round(100 * min(abs(effect) / most, 1.0), 1),
            values=values,
            code=code,
        )

    def said(direction: str) -> list[Bar]:
        made = []
        for row in reasons:
            if row.get("direction") == direction:
                effect = float(row.get("effect") or 0.0)
                change = row.get("probability_change")
                change = p - expit(z - effect) if change is None else float(change)
                text = str(row.get("text") or row.get("title") or row.get("family"))
                made.append(bar(text, effect, change, longest, _behind(row, application, labels), str(row.get("code") or "")))
        return made

    parts = sorted((prediction.contributions or {}).items(), key=lambda item: -abs(item[1]))
    most = max((abs(amount) for _, amount in parts), default=0.0) or 1.0
    # Room to the right of the longest, so that 100 % of the width is never mistaken for 100 % of risk.
    compared = [(gettext("This applicant"), p, True), (gettext("Portfolio average"), average, False)]
    compared += [(label, cut, False) for label, cut in cuts if cut is not None]
    reach = max(share for _, share, _ in compared) * 1.15 or 1.0
    many, of = out_of(p)
    return Risk(
        prediction=prediction,
        percent=percent(p),
        frequency=frequency(p),
        many=many,
        of=of,
        grade=prediction.grade,
        points=prediction.points,
        against=said("against"),
        favour=said("for"),
        contributions=[
            bar(labels.get(name, code(name)), amount, p - expit(z - amount), most, field_value(application, name)) for name, amount in parts
        ],
        comparisons=[Comparison(label, percent(share), round(100 * share / reach, 1), mine) for label, share, mine in compared],
        times_average=gettext("%(number)s times the portfolio average") % {"number": fixed(p / average, 1)} if average > 0 else "",
        baseline=percent(baseline),
        compared_with=COMPARED_WITH[BaselineKind(prediction.baseline_kind)],
        advice=advised(prediction, value),
    )


ADVICE = {"approve": ("Approve", "success"), "refer": (gettext_lazy("Look closer"), "warning"), "decline": ("Decline", "danger")}


def advised(prediction: Prediction, value: Worth | None) -> Advised | None:
    """The advice as it was given with the score, and in one sentence why."""
    if prediction.advice not in ADVICE:
        return None
    label, tone = ADVICE[prediction.advice]
    knock_outs = [KnockOut.of(row) for row in prediction.knock_outs or [] if isinstance(row, dict)]
    policy, here = prediction.policy, percent(prediction.probability)
    if knock_outs:
        text = gettext("A knock-out rule decided, not the score.")
    elif policy is None:
        cut = percent(value.cut) if value and value.cut is not None else gettext("the break-even")
        side = "below" if prediction.advice == "approve" else gettext("at or above")
        text = gettext("%(here)s is %(side)s %(cut)s, where a loan is expected to earn nothing. No policy is written yet.") % {
            "here": here,
            "side": side,
            "cut": cut,
        }
    elif prediction.advice == "refer":
        text = gettext("%(here)s lies between the policy's %(approve_below)s and %(decline_from)s.") % {
            "here": here,
            "approve_below": percent(policy.approve_below),
            "decline_from": percent(policy.decline_from),
        }
    elif prediction.advice == "approve":
        text = gettext("%(here)s is below the %(approve_below)s up to which the policy approves.") % {
            "here": here,
            "approve_below": percent(policy.approve_below),
        }
    else:
        text = gettext("%(here)s is at or above the %(decline_from)s from which the policy declines.") % {
            "here": here,
            "decline_from": percent(policy.decline_from),
        }
    return Advised(prediction.advice, label, tone, text, knock_outs)


def _behind(reason: dict[str, Any], application: LoanApplication, labels: dict[str, str]) -> str:
    """The value that a reason rests on most: `Credit score: 640`."""
    column = reason.get("column")
    return f"{labels.get(column, reason.get('title') or code(column))}: {field_value(application, column)}" if column else ""
