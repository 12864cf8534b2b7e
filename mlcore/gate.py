"""Whether a challenger may take over: each question with its answer, from two models on the same later loans (`mlcore.compare`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import log
from typing import Any, Literal

from mlcore.risk.fairness import FOUR_FIFTHS

Status = Literal["passed", "failed", "look"]


@dataclass(frozen=True)
class Limits:
    """How much worse is still no worse (see the help of each in the policy that a lender writes)."""

    auc_margin: float = 0.005
    brier_margin: float = 0.01
    oe_margin: float = 0.02
    impact_margin: float = 0.05
    reasons_agreement: float = 0.6
    least_rows: int = 500
    least_defaults: int = 50


@dataclass(frozen=True)
class Finding:
    """One question's answer. "look": it can't be said, or is for a person to weigh; it stops a promotion by rule, not by approval."""

    code: str
    title: str
    status: Status
    in_words: str
    figures: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(compared: dict[str, Any], limits: Limits) -> list[Finding]:
    """Loans, AUC, Brier score, observed over expected, fairness and reasons, in that order. first is what serves, second the challenger."""
    enough = rows(compared, limits)
    if compared["figures"] is None or enough.status == "failed":
        return [enough]
    found = compared["figures"]
    return [
        enough,
        auc(found["auc"], limits),
        brier(found["brier"], limits),
        level(found["oe"], limits),
        fairness(compared["fairness"], limits),
        reasons(compared["reasons"], limits),
    ]


def rows(compared: dict[str, Any], limits: Limits) -> Finding:
    known, bad = compared["known"], compared["defaults"]
    enough = known >= limits.least_rows and bad >= limits.least_defaults and known > bad
    words = (
        f"{known:,} later loans with a known outcome, {bad:,} of them defaults; at least {limits.least_rows:,} and "
        f"{limits.least_defaults:,} are asked for. Later means: applied for after everything that either version learned from."
    )
    if not enough:
        words += " Wait until more are known, or train a version that leaves the latest loans for judging."
    return Finding("rows", "Later loans", "passed" if enough else "failed", words, {"known": known, "defaults": bad})


def auc(found: dict[str, Any], limits: Limits) -> Finding:
    """Non-inferiority: the lower end of the paired 90 % interval lies above −margin (DeLong), one-sided 95 %."""
    low = found["one_sided"]["low"]
    passed = low is not None and low > -limits.auc_margin
    words = (
        f"{_number(found['second']['value'])} beside {_number(found['first']['value'])}: {_signed(found['difference']['value'], 4)} "
        f"({_signed(found['difference']['low'], 4)} to {_signed(found['difference']['high'], 4)}). "
        f"With 95% confidence it is not worse by more than {_number(None if low is None else max(0.0, -low), 4)}; "
        f"less than {limits.auc_margin:g} is asked for."
    )
    return Finding("auc", "AUC not worse", "passed" if passed else "failed", words, found)


def brier(found: dict[str, Any], limits: Limits) -> Finding:
    """Non-inferiority of the mean squared error, relative to the serving model's (paired bootstrap, one-sided 95 %)."""
    high, base = found["one_sided"]["high"], found["first"]["value"]
    passed = high is not None and base is not None and high < limits.brier_margin * base
    worst = max(high, 0.0) / base if high is not None and base else None
    words = (
        f"{_number(found['second']['value'], 4)} beside {_number(base, 4)} (less is better). "
        f"With 95% confidence it is not worse by more than {_share(worst)}; less than {_share(limits.brier_margin)} is asked for."
    )
    return Finding("brier", "Brier score not worse", "passed" if passed else "failed", words, found)


def level(found: dict[str, Any], limits: Limits) -> Finding:
    """The level of the probabilities: right within chance, or no farther off than the serving model's."""
    one, other = found["first"], found["second"]
    off = [None if not each["value"] else abs(log(each["value"])) for each in (one, other)]
    within = other["low"] is not None and other["low"] <= 1 <= other["high"]
    nearer = None not in off and off[1] <= off[0] + limits.oe_margin
    words = (
        f"{_number(other['value'], 2)} ({_number(other['low'], 2)} to {_number(other['high'], 2)}) beside {_number(one['value'], 2)}; "
        "1 is exact. "
        + ("Its interval holds 1." if within else "Its interval leaves out 1" + (", but it is no farther off." if nearer else "."))
    )
    return Finding("oe", "Observed / expected no worse", "passed" if within or nearer else "failed", words, found)


def fairness(found: list[dict[str, Any]] | None, limits: Limits) -> Finding:
    """Approvals by protected characteristic: none falls below four fifths, or clearly below what it was; no gap among good loans widens."""
    title = "Fairness holds"
    compared = [row for row in found or [] if row["second"]["adverse_impact_ratio"] is not None]
    if not compared:
        words = (
            "No protected characteristic has two groups that are large enough among these loans, so nothing can be said of how groups fare."
        )
        return Finding("fairness", title, "look", words)
    worse, lines = [], []
    for row in compared:
        one, other = row["first"], row["second"]
        before, now = one["adverse_impact_ratio"], other["adverse_impact_ratio"]
        fell = before is not None and before - now > limits.impact_margin
        flagged = bool(other["significant"]) and (not one["significant"] or fell)
        gap = (other["equal_opportunity_gap"] or 0.0) - (one["equal_opportunity_gap"] or 0.0)
        if flagged or (fell and now < FOUR_FIFTHS) or gap > limits.impact_margin:
            worse.append(row["name"])
        lines.append(
            f"{row['name'].replace('_', ' ')}: impact ratio {_number(now, 2)} beside {_number(before, 2)}, "
            f"equal-opportunity gap {_signed(other['equal_opportunity_gap'], 3)} beside {_signed(one['equal_opportunity_gap'], 3)}"
        )
    still = [row["name"] for row in compared if row["second"]["significant"] and row["name"] not in worse]
    words = "; ".join(lines) + "."
    if worse:
        words += f" Worse than what serves: {', '.join(worse)}."
    elif still:
        words += f" Below four fifths as before: {', '.join(still)}. A new version is the moment to ask why."
    status: Status = "failed" if worse else "look" if still else "passed"
    return Finding("fairness", title, status, words, {"characteristics": compared})


def reasons(found: dict[str, Any], limits: Limits) -> Finding:
    share = found["overlap"]
    passed = share is not None and share >= limits.reasons_agreement
    words = (
        f"Of the main reasons of the serving version, {_share(share)} are among the four of this one, and the first is the same in "
        f"{_share(found['first_same'])} of the applications; at least {_share(limits.reasons_agreement)} is asked for."
    )
    kept = {name: found[name] for name in ("overlap", "first_same", "kept", "rows")}
    return Finding("reasons", "Reasons stay", "passed" if passed else "failed", words, kept)


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
