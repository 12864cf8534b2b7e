"""A training's report: everything that its page and its model card show, as plain JSON without NaN. Layout: `build`."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlcore import calibration, metrics
from mlcore.metrics import ProfitTerms, rounded
from mlcore.risk import curves, profit
from mlcore.risk.assess import Assessment, Choice, Plan, averaged
from mlcore.risk.base import TITLES, Dataset, Scores
from mlcore.risk.model import RiskModel
from mlcore.risk.reasons import strongest
from mlcore.splits import as_utc, period_starts

VERSION = 1
BARS = 25


def build(
    data: Dataset,
    how: Plan,
    assessments: list[Assessment],
    choice: Choice,
    model: RiskModel,
    *,
    scores: Scores,
    terms: ProfitTerms,
    cutoff: float,
    leakage: list[dict[str, Any]],
    blocking: bool,
    quality: dict[str, Any],
    labels: dict[str, Any] | None,
    warnings: list[str],
    seed: int,
    comparators: Sequence[profit.Comparator] = (),
) -> dict[str, Any]:
    """The report. Keys: version, kind, seed, data, labels, leakage, quality, split, baselines, ladder, choice, champion, calibration,
    by_quarter, distribution, roc, lift, vintages, policy, importance, families, production, warnings; the caller adds fairness, seconds and
    peak_memory_mb.

    scores: the production model's of the latest applicants, for the importances. All other figures are of the judged rows.
    """
    chosen = next(each for each in assessments if each.name == choice.name)
    rows, probability = averaged(chosen)
    default = data.default[rows]
    amount = None if data.amount is None else data.amount[rows]
    return rounded(
        {
            "version": VERSION,
            "kind": "default_risk",
            "seed": seed,
            "data": {
                "rows": len(data),
                "defaults": int(data.default.sum()),
                "default_rate": data.default_rate,
                "columns": [
                    {"name": c.name, "title": c.title, "kind": c.kind, "family": c.family_key, "direction": c.direction}
                    for c in model.schema
                ],
                "left_out": _left_out(data, model),
            },
            "labels": labels,
            "leakage": {"blocking": blocking, "findings": leakage},
            "quality": quality,
            "split": describe_split(how, data),
            "baselines": baselines(default),
            "ladder": [_row(each, choice) for each in assessments],
            "choice": {
                "rung": choice.name,
                "title": title(choice.name),
                "best": choice.best,
                "corrected_auc": choice.corrected_auc,
                "in_words": choice.in_words,
            },
            "champion": {"rung": choice.name, "title": title(choice.name), "figures": chosen.figures},
            "calibration": {
                "method": chosen.calibration_method,
                "curve": calibration.reliability(default, probability),
                "error": calibration.calibration_error(default, probability),
            },
            "by_quarter": _by_quarter(data, rows, probability),
            "distribution": distribution(default, probability),
            "roc": metrics.roc_points(default, probability),
            "lift": curves.lift(default, probability),
            "vintages": _vintages(data, rows, probability, labels),
            "policy": policy(default, probability, amount, terms, cutoff)
            | {"fewer_bad_loans": fewer_bad_loans(data, assessments, chosen, cutoff) + against(data, chosen, comparators)},
            "importance": importance(scores, model),
            "families": family_importance(scores, model),
            "production": {
                "rows": len(data),
                "calibration": model.calibrator.method,
                "calibration_rows": model.calibrator.rows,
                "grades": model.grades.describe(),
                "points": model.point_scale.to_state(),
                "baseline": {"kind": model.baseline.kind, "in_words": model.baseline.in_words(), "rows": model.baseline.rows},
                "in_words": _production_in_words(data, model, choice),
            },
            "warnings": warnings,
        }
    )


def _production_in_words(data: Dataset, model: RiskModel, choice: Choice) -> str:
    name, judged = title(choice.name), f"{model.calibrator.rows:,}"
    rows = f"all {len(data):,} loans with a known outcome" if data.weight is None else f"the {len(data):,} loans of the sample, by weight"
    return (
        f"The figures above are of {name} on loans that it had not seen. The model in service is the same rung fitted again on {rows}, "
        f"and calibrated ({model.calibrator.method}) on the {judged} judged loans as scored before they were "
        "learned from."
    )


def title(rung: str) -> str:
    return TITLES.get(rung, rung.replace("_", " ").capitalize())


def describe_split(how: Plan, data: Dataset) -> dict[str, Any]:
    made: dict[str, Any] = {"how": how.how, "in_words": how.in_words(), "repeats": how.repeats, "folds": len(how.outer) // how.repeats}
    if how.split is not None:
        made |= how.split.describe(data.default, data.submitted_at, data.weight)
        train = data.take(how.split.train)
        inner = how.inner.describe(train.default, train.submitted_at, train.weight)
        made["calibration"] = inner["test"] | {"how": inner["how"]}
    else:
        rows = {
            "rows": len(data),
            "defaults": int(data.default.sum()),
            "default_rate": data.default_rate,
            "from": None,
            "until": None,
        }
        made |= {"train": rows, "test": rows, "cut": None, "period": None, "embargo_days": 0, "left_out": 0, "calibration": None}
    return made


def baselines(default: np.ndarray) -> dict[str, Any]:
    """What every figure has to be read against."""
    rate = float(default.mean())
    constant = np.full(len(default), rate)
    return {
        "prior_auc": 0.5,
        "majority_accuracy": metrics.majority_accuracy(default),
        "prior_brier": metrics.brier(default, constant),
        "prior_log_loss": metrics.log_loss(default, constant),
        "default_rate": rate,
        "in_words": (
            f"Giving everyone the same probability has an AUC of .5; always saying “{'repaid' if rate <= 0.5 else 'default'}” is right in "
            f"{metrics.majority_accuracy(default):.1%} of these loans."
        ),
    }


def distribution(default: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
    """Histograms of the probability by outcome, over bars that end at the 99.5th percentile (the last one holds what lies above)."""
    top = float(np.clip(np.quantile(probability, 0.995), 0.01, 1.0))
    edges = np.linspace(0, top, BARS + 1)
    inside = np.minimum(probability, top)
    return {
        "edges": edges,
        "repaid": np.histogram(inside[default == 0], edges)[0],
        "defaulted": np.histogram(inside[default == 1], edges)[0],
    }


def policy(default: np.ndarray, probability: np.ndarray, amount: np.ndarray | None, terms: ProfitTerms, cutoff: float) -> dict[str, Any]:
    curve = profit.policy_curve(default, probability, amount=amount, terms=terms)
    return {
        "terms": {"margin": terms.margin, "loss_given_default": terms.loss_given_default},
        "break_even": terms.break_even,
        "current": profit.at_cutoff(default, probability, cutoff, amount=amount, terms=terms),
        "best_cutoff": profit.best_cutoff(curve),
        "curve": curve,
    }


def fewer_bad_loans(data: Dataset, assessments: list[Assessment], chosen: Assessment, cutoff: float) -> list[dict[str, Any]]:
    """The chosen rung against each simpler one at the approval rate of its cut-off: the only form in which "fewer bad loans" is claimed."""
    rows, probability = averaged(chosen)
    rate = float((probability < cutoff).mean())
    if not 0 < rate < 1:
        return []
    simpler = assessments[: assessments.index(chosen)]
    return [
        {"against": each.name, "title": title(each.name)}
        | profit.fewer_bad_loans(data.default[rows], probability, averaged(each)[1], approval_rate=rate, replicates=100)
        for each in simpler
    ]


def against(data: Dataset, chosen: Assessment, comparators: Sequence[profit.Comparator]) -> list[dict[str, Any]]:
    """The chosen rung against other ways to approve, each at the share that it would approve itself. One that would approve nobody or
    everybody has a `why` in the place of figures.
    """
    rows, probability = averaged(chosen)
    made = []
    for each in comparators:
        rate = float(each.approved[rows].mean())
        row: dict[str, Any] = {"against": each.name, "title": each.title, "note": each.note}
        if 0 < rate < 1:
            row |= profit.fewer_bad_loans(data.default[rows], probability, each.score[rows], approval_rate=rate, replicates=100)
        else:
            row["why"] = f"would have approved {'all' if rate else 'none'} of the judged loans, so that nothing can be compared"
        made.append(row)
    return made


def importance(scores: Scores, model: RiskModel) -> list[dict[str, Any]]:
    """Columns by mean |contribution| in log-odds, the strongest first, with their share of the sum."""
    strength = np.abs(scores.contributions).mean(axis=0)
    total = float(strength.sum()) or 1.0
    return [
        {
            "column": model.schema.names[j],
            "title": model.schema[model.schema.names[j]].title,
            "mean": float(strength[j]),
            "share": float(strength[j]) / total,
        }
        for j in np.argsort(-strength, kind="stable")
    ]


def family_importance(scores: Scores, model: RiskModel) -> list[dict[str, Any]]:
    """Families by mean |contribution|, the strongest first; named and first: of how many applicants each is among the adverse reasons that
    may be given, and is the first of them, as shares with Wilson's interval.
    """
    strength = np.abs(model.families.sums(scores.contributions)).mean(axis=0)
    total = float(strength.sum()) or 1.0
    given, _ = strongest(scores, model.families)
    return [
        {
            "family": model.families.names[j],
            "columns": [model.families.columns[k] for k in model.families.members(int(j))],
            "mean": float(strength[j]),
            "share": float(strength[j]) / total,
            "named": _share(given == j),
            "first": _share(given[:, :1] == j),
        }
        for j in np.argsort(-strength, kind="stable")
    ]


def _share(marks: np.ndarray) -> metrics.Figure:
    """The share of rows with a mark."""
    events, rows = int(marks.any(axis=1).sum()), len(marks)
    low, high = metrics.wilson(events, rows)
    return {"value": events / rows if rows else None, "low": low, "high": high}


def peak_memory_mb() -> float:
    """The most memory that this process has held so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024) if sys.platform == "darwin" else peak / 1024


def _row(each: Assessment, choice: Choice) -> dict[str, Any]:
    return {
        "rung": each.name,
        "title": title(each.name),
        "chosen": each.name == choice.name,
        "best": each.name == choice.best,
        "figures": each.figures,
        "behind_best": choice.differences[each.name],
        "calibration": each.calibration_method,
        "fit_seconds": each.fit_seconds,
        "settings": _plain(each.settings),
    }


def _by_quarter(data: Dataset, rows: np.ndarray, probability: np.ndarray) -> list[dict[str, Any]]:
    if data.submitted_at is None:
        return []
    starts = period_starts(as_utc(data.submitted_at.iloc[rows]), "quarter")
    return calibration.by_period(data.default[rows], probability, starts)


def _vintages(data: Dataset, rows: np.ndarray, probability: np.ndarray, labels: dict[str, Any] | None) -> dict[str, Any]:
    if data.submitted_at is None or data.defaulted_at is None:
        return {"rows": [], "why": "When these loans began, or when they defaulted, is not known."}
    policy = (labels or {}).get("policy") or {}
    return curves.vintages(
        data.default[rows],
        probability,
        as_utc(data.submitted_at.iloc[rows]),
        as_utc(data.defaulted_at.iloc[rows]),
        window_months=policy.get("window_months"),
        as_of=np.datetime64(policy["as_of"][:10]) if policy.get("as_of") else None,
    )


def _left_out(data: Dataset, model: RiskModel) -> list[dict[str, str]]:
    def why(column: Any) -> str:
        if column.protected:
            return "protected characteristic"
        if not column.known_at_application:
            return "known only after the application"
        return "text" if column.kind == "text" else "suspected of knowing the outcome" if column.name in data.frame else "not in the data"

    return [{"name": column.name, "title": column.title, "why": why(column)} for column in data.schema if column.name not in model.schema]


def _plain(value: Any) -> Any:
    """Settings as JSON; what is not JSON as text."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
