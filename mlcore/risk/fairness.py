"""Whom a model turns away: its approvals, errors and calibration by protected characteristic, and whether a fairer one would cost much.

Protected characteristics are read here and nowhere else; no model is fitted on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from mlcore.metrics import ProfitTerms, auc, filled_amount, observed_expected, rounded, wilson
from mlcore.risk.profit import at_cutoff

FEWEST_IN_GROUP = 30
"""Smaller groups are counted and not compared: a rate of so few says little, and might be traced to a person."""
FOUR_FIFTHS = 0.8
MOST_GROUPS = 12
AGE_BANDS = (25, 40, 62)
"""Years; from 62 on an applicant is elderly in the sense of 12 CFR 1002.2(o)."""
UNKNOWN = "not stated"


def fairness_report(
    protected: pd.DataFrame,
    default: np.ndarray,
    probability: np.ndarray,
    *,
    cutoff: float,
    amount: np.ndarray | None = None,
    terms: ProfitTerms | None = None,
    alternatives: Mapping[str, np.ndarray] | None = None,
    chosen: str = "champion",
    profit_loss: float = 0.02,
) -> dict[str, Any]:
    """By protected characteristic, how applicants fare when those below `cutoff` are approved, as plain JSON.

    protected: (n, characteristics); numbers are put into bands. alternatives: {rung: (n,) probabilities} among which a less discriminatory
    one is sought that earns at least (1 − `profit_loss`) of the chosen one's profit (see `search`).
    """
    characteristics = [
        characteristic(groups(protected[name]), default, probability, cutoff=cutoff) | {"name": str(name), "title": _title(str(name))}
        for name in protected.columns
    ]
    compared = [one for one in characteristics if one["adverse_impact_ratio"] is not None]
    flagged = [one for one in compared if one["adverse_impact_ratio"] < FOUR_FIFTHS and one["significant"]]
    made = {
        "cutoff": cutoff,
        "characteristics": characteristics,
        "flagged": [one["name"] for one in flagged],
        "in_words": _in_words(characteristics, compared, flagged),
        "alternatives": None,
    }
    if alternatives and compared:
        made["alternatives"] = search(
            {str(name): groups(protected[name]) for name in protected.columns},
            default,
            {chosen: probability, **{name: each for name, each in alternatives.items() if name != chosen}},
            chosen=chosen,
            cutoff=cutoff,
            amount=amount,
            terms=terms,
            profit_loss=profit_loss,
        )
    return rounded(made)


def groups(values: pd.Series) -> np.ndarray:
    """(n,) object: the group that each applicant belongs to. Numbers fall into age bands where they look like ages, else into thirds; the
    rarest of more than 12 values are put together.
    """
    missing = values.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > 5:
        numbers = values.to_numpy(dtype=float)
        known = numbers[~missing]
        ages = len(known) and known.min() >= 14 and known.max() <= 120
        edges = np.array(AGE_BANDS if ages else np.unique(np.quantile(known, [1 / 3, 2 / 3])), dtype=float)
        names = [
            f"below {edges[0]:g}",
            *(f"{low:g} to below {high:g}" for low, high in zip(edges[:-1], edges[1:], strict=True)),
            f"{edges[-1]:g} and above",
        ]
        made = np.array(names, dtype=object)[np.searchsorted(edges, np.where(missing, edges[0], numbers), side="right")]
    else:
        made = values.astype(str).to_numpy(dtype=object)
    made[missing] = UNKNOWN
    found, counts = np.unique(made[~missing].astype(str), return_counts=True)
    if len(found) > MOST_GROUPS:
        rare = set(found[np.argsort(-counts, kind="stable")[MOST_GROUPS - 1 :]])
        made = np.array(["others" if each in rare else each for each in made], dtype=object)
    return made


def characteristic(group: np.ndarray, default: np.ndarray, probability: np.ndarray, *, cutoff: float) -> dict[str, Any]:
    """One characteristic: its groups, the lowest adverse impact ratio and the widest equal-opportunity gap.

    Adverse impact ratio: a group's approval rate over that of the reference, the group with the highest approval rate among those of at
    least a tenth of the applicants (four-fifths rule, 29 CFR 1607.4(D), as is usual in lending). Its interval is on the log scale, its
    p-value that of the two-proportion test, Holm-corrected over the groups. Equal-opportunity gap: the reference's approval rate among
    loans that were repaid, less the group's (Hardt et al. 2016).
    """
    names, counts = np.unique(group.astype(str), return_counts=True)
    rows = [_group(name, group == name, default, probability, cutoff) for name in names]
    compared = [row for row in rows if row["rows"] >= FEWEST_IN_GROUP and row["group"] != UNKNOWN]
    result: dict[str, Any] = {
        "groups": rows,
        "reference": None,
        "adverse_impact_ratio": None,
        "significant": False,
        "equal_opportunity_gap": None,
    }
    if len(compared) < 2:
        return result
    large = [row for row in compared if row["rows"] >= 0.1 * counts.sum()] or compared
    reference = max(large, key=lambda row: (row["approval_rate"], row["rows"]))
    for row in compared:
        if row is not reference:
            row |= _against(row, reference)
    others = [row for row in compared if row is not reference]
    _holm(others)
    result["reference"] = reference["group"]
    with_ratio = [row for row in others if row["adverse_impact_ratio"] is not None]
    if with_ratio:
        lowest = min(with_ratio, key=lambda row: row["adverse_impact_ratio"])
        result |= {"adverse_impact_ratio": lowest["adverse_impact_ratio"], "lowest": lowest["group"]}
        result["significant"] = any(row["adverse_impact_ratio"] < FOUR_FIFTHS and row["p"] < 0.05 for row in with_ratio)
    gaps = [row["equal_opportunity_gap"] for row in others if row["equal_opportunity_gap"] is not None]
    result["equal_opportunity_gap"] = max(gaps, default=None)
    return result


def search(
    grouped: Mapping[str, np.ndarray],
    default: np.ndarray,
    candidates: Mapping[str, np.ndarray],
    *,
    chosen: str,
    cutoff: float,
    amount: np.ndarray | None = None,
    terms: ProfitTerms | None = None,
    profit_loss: float = 0.02,
    steps: int = 25,
) -> dict[str, Any]:
    """A less discriminatory alternative among fitted rungs and cut-offs that loses at most `profit_loss` of the profit.

    Every candidate is taken at its own cut-offs around the chosen one's approval rate (± 20 % of it). The measure is the lowest adverse
    impact ratio over all characteristics. Profit is realised on these rows; the search looks at many points, so a small gain can be chance:
    the winner's ratio on each half of the rows (odd and even) is given along with it.
    """
    terms = terms or ProfitTerms()
    here = _point(grouped, default, candidates[chosen], cutoff, amount, terms)
    floor = here["realised_profit"] - profit_loss * abs(here["realised_profit"])
    points = []
    for name, probability in candidates.items():
        rates = np.clip(here["approval_rate"] * np.linspace(0.8, 1.2, steps), 0.0, 1.0)
        cutoffs = np.unique(np.nextafter(np.quantile(probability, rates), 2.0))
        points += [_point(grouped, default, probability, float(each), amount, terms) | {"rung": name} for each in cutoffs]
    allowed = [point for point in points if point["realised_profit"] >= floor and point["adverse_impact_ratio"] is not None]
    ratio = here["adverse_impact_ratio"]
    best = max(allowed, key=lambda point: (point["adverse_impact_ratio"], point["realised_profit"]), default=None)
    found = best is not None and ratio is not None and best["adverse_impact_ratio"] > ratio + 0.01
    made: dict[str, Any] = {
        "profit_loss": profit_loss,
        "searched": len(points),
        "chosen": here | {"rung": chosen},
        "found": best if found else None,
        "halves": None,
    }
    if found:
        made["halves"] = [
            _point(
                {name: each[half::2] for name, each in grouped.items()},
                default[half::2],
                candidates[best["rung"]][half::2],
                best["cutoff"],
                None,
                terms,
            )["adverse_impact_ratio"]
            for half in (0, 1)
        ]
        cost = here["realised_profit"] - best["realised_profit"]
        share = cost / abs(here["realised_profit"]) if here["realised_profit"] else 0.0
        made["in_words"] = (
            f"{best['rung']} with a cut-off of {best['cutoff']:.1%} would raise the lowest adverse impact ratio from {ratio:.2f} to "
            f"{best['adverse_impact_ratio']:.2f} and {'cost' if cost > 0 else 'gain'} {abs(share):.1%} of the profit."
        )
    else:
        made["in_words"] = (
            f"None of {len(points)} combinations of rung and cut-off is clearly fairer within {profit_loss:.0%} of the profit."
        )
    return made


def _group(name: str, mine: np.ndarray, default: np.ndarray, probability: np.ndarray, cutoff: float) -> dict[str, Any]:
    n, approved = int(mine.sum()), probability[mine] < cutoff
    row: dict[str, Any] = {"group": str(name), "rows": n, "small": n < FEWEST_IN_GROUP}
    row |= dict.fromkeys(
        (
            "approval_rate",
            "approval_low",
            "approval_high",
            "bad_rate",
            "approved_when_repaid",
            "repaid",
            "predicted",
            "observed",
            "oe",
            "auc",
        )
    )
    row |= {"adverse_impact_ratio": None, "ratio_low": None, "ratio_high": None, "p": None, "equal_opportunity_gap": None}
    if n < FEWEST_IN_GROUP:
        return row
    bad = default[mine] == 1
    low, high = wilson(approved.sum(), n)
    return row | {
        "approval_rate": float(approved.mean()),
        "approval_low": low,
        "approval_high": high,
        "bad_rate": float(bad[approved].mean()) if approved.any() else None,
        "repaid": int((~bad).sum()),
        "approved_when_repaid": float(approved[~bad].mean()) if (~bad).any() else None,
        "predicted": float(probability[mine].mean()),
        "observed": float(bad.mean()),
        "oe": observed_expected(default[mine], probability[mine]),
        "auc": auc(default[mine], probability[mine]),
    }


def _against(row: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    mine, theirs = row["approval_rate"], reference["approval_rate"]
    made: dict[str, Any] = {}
    if theirs > 0:
        ratio = mine / theirs
        pooled = (mine * row["rows"] + theirs * reference["rows"]) / (row["rows"] + reference["rows"])
        se = np.sqrt(pooled * (1 - pooled) * (1 / row["rows"] + 1 / reference["rows"]))
        made |= {"adverse_impact_ratio": ratio, "p": float(2 * NormalDist().cdf(-abs(mine - theirs) / se)) if se > 0 else 1.0}
        if mine > 0:
            reach = 1.96 * np.sqrt((1 - mine) / (mine * row["rows"]) + (1 - theirs) / (theirs * reference["rows"]))
            made |= {"ratio_low": float(ratio * np.exp(-reach)), "ratio_high": float(ratio * np.exp(reach))}
    if row["approved_when_repaid"] is not None and reference["approved_when_repaid"] is not None:
        made["equal_opportunity_gap"] = reference["approved_when_repaid"] - row["approved_when_repaid"]
    return made


def _holm(rows: list[dict[str, Any]]) -> None:
    """Holm's step-down correction of the p-values, in place."""
    tested = sorted((row for row in rows if row["p"] is not None), key=lambda row: row["p"])
    running = 0.0
    for number, row in enumerate(tested):
        running = max(running, min(1.0, row["p"] * (len(tested) - number)))
        row["p"] = running


def _point(
    grouped: Mapping[str, np.ndarray],
    default: np.ndarray,
    probability: np.ndarray,
    cutoff: float,
    amount: np.ndarray | None,
    terms: ProfitTerms,
) -> dict[str, Any]:
    """One rung at one cut-off: money, approvals, and the lowest adverse impact ratio over the characteristics."""
    approved = probability < cutoff
    ratios = []
    for group in grouped.values():
        names, inverse = np.unique(group.astype(str), return_inverse=True)
        size = np.bincount(inverse)
        rate = np.bincount(inverse, weights=approved) / size
        usable = (size >= FEWEST_IN_GROUP) & (names != UNKNOWN)
        large = usable & (size >= 0.1 * len(group))
        top = rate[large if large.any() else usable].max(initial=0.0)
        if usable.sum() >= 2 and top > 0:
            ratios.append(float(min(rate[usable].min() / top, 1.0)))
    money = at_cutoff(default, probability, cutoff, amount=filled_amount(amount, len(default)), terms=terms)
    kept = {name: money[name] for name in ("cutoff", "approval_rate", "bad_rate", "realised_profit")}
    return kept | {"adverse_impact_ratio": min(ratios, default=None)}


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _in_words(characteristics: list[dict[str, Any]], compared: list[dict[str, Any]], flagged: list[dict[str, Any]]) -> str:
    if not compared:
        return f"No characteristic has two groups of at least {FEWEST_IN_GROUP} applicants; nothing can be compared."
    if flagged:
        listed = "; ".join(f"{one['title']} ({one['lowest']}: {one['adverse_impact_ratio']:.2f} of {one['reference']})" for one in flagged)
        return f"Approval rates below four fifths of the reference group's, more than chance explains: {listed}."
    lowest = min(compared, key=lambda one: one["adverse_impact_ratio"])
    words = f"The lowest adverse impact ratio is {lowest['adverse_impact_ratio']:.2f} ({lowest['title']}, {lowest['lowest']})"
    return words + (", within four fifths." if lowest["adverse_impact_ratio"] >= FOUR_FIFTHS else ", which chance can explain.")
