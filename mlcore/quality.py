"""What is wrong with data before anything is learnt from them: columns that know too much, and rows that can't be right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from mlcore.metrics import auc, rounded
from mlcore.risk.base import Dataset
from mlcore.schema import Column
from mlcore.splits import as_utc, period_starts

LEAK_AUC = 0.9
SUSPECT_IV = 0.5
BINS = 10
FEW_ROWS = 100
"""Below this many rows a share says little: nothing is an error that is not one in every row."""
WRONG_SHARE = 0.05
"""So many values outside their plausible range are no slips any more: the column's unit is wrong."""
REPEATED_SHARE = 0.5
FUTURE_SHARE = 0.01
MOST_DEFAULTS = 0.95
LEAST_CLASS = 20  # fewer of one outcome prove nothing about a column
PLAUSIBLE: dict[str, tuple[float, float]] = {
    "amount": (1e-9, 1e9),
    "term_months": (1, 600),
    "annual_income": (0, 1e9),
    "debt_to_income": (0, 10),
    "employment_months": (0, 900),
    "credit_score": (0, 1000),
    "credit_history_months": (0, 1200),
    "open_accounts": (0, 500),
    "total_accounts": (0, 1000),
    "delinquencies_24m": (0, 200),
    "months_since_delinquency": (0, 1200),
    "public_records": (0, 200),
    "inquiries_6m": (0, 200),
    "revolving_balance": (0, 1e9),
    "revolving_utilisation": (0, 10),
}
"""Ranges outside which a value of a core field is a slip (a percentage for a fraction, cents for units), not an applicant."""


@dataclass(frozen=True)
class Finding:
    """Something about a column or the rows. severity: "leak" and "error" should stop a training, "suspect" and "warning" be looked at."""

    code: str
    severity: Literal["leak", "error", "suspect", "warning", "info"]
    message: str
    column: str | None = None
    value: float | None = None

    def to_json(self) -> dict[str, Any]:
        return rounded(asdict(self))


def leakage_guard(data: Dataset) -> list[Finding]:
    """Columns that know the outcome: alone AUC > .9 or information value > .5, missing (or present) for exactly one class, or learnt later.

    The AUC is that of the column's own bins (number and date: deciles; category: values), so that a leak of any shape is found. Bins are
    counted with half a loan added, so that rare values of a category with many do not look like knowledge.
    """
    default = np.asarray(data.default)
    findings: list[Finding] = []
    for column in data.schema:
        if column.name not in data.frame or column.protected or column.kind == "text":
            continue
        if not column.known_at_application:
            findings.append(
                Finding(
                    "not_known_at_application", "info", f"{column.title} is known only after the application; it is left out.", column.name
                )
            )
            continue
        findings += _of_column(column, data.frame[column.name], default)
    order = {"leak": 0, "suspect": 1, "info": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])


def blocking(findings: Iterable[Finding]) -> bool:
    """Whether a person should look before a model of these data decides anything."""
    return any(finding.severity in ("leak", "error") for finding in findings)


def _of_column(column: Column, values: pd.Series, default: np.ndarray) -> list[Finding]:
    bad, good = int((default == 1).sum()), int((default == 0).sum())
    if min(bad, good) < LEAST_CLASS:
        return []
    missing = values.isna().to_numpy()
    share_bad, share_good = missing[default == 1].mean(), missing[default == 0].mean()
    if max(share_bad, share_good) >= 0.999 and min(share_bad, share_good) <= 0.001:
        who = "loans that defaulted" if share_bad > share_good else "loans that were repaid"
        message = f"{column.title} is missing exactly for {who}: it was filled in after the outcome."
        return [Finding("missing_for_one_class", "leak", message, column.name, float(max(share_bad, share_good)))]
    if min(share_bad, share_good) == 0 and _surprising(missing, default):
        who = "loans that defaulted" if share_bad > 0 else "loans that were repaid"
        message = f"{column.title} is missing only for {who} ({max(share_bad, share_good):.0%} of them, none of the others)."
        return [Finding("missing_for_one_class", "leak", message, column.name, float(max(share_bad, share_good)))]
    bins = binned(values, column.kind)
    value, iv = single_auc(bins, default), information_value(bins, default)
    if value is not None and value > LEAK_AUC:
        message = f"{column.title} alone ranks the outcomes with an AUC of {value:.3f}: it probably knows them."
        return [Finding("single_feature_auc", "leak", message, column.name, value)]
    if iv > SUSPECT_IV:
        message = f"{column.title} has an information value of {iv:.2f}, above {SUSPECT_IV}: stronger than application data usually are."
        return [Finding("information_value", "suspect", message, column.name, iv)]
    return []


def _surprising(missing: np.ndarray, default: np.ndarray) -> bool:
    """Whether "missing in one class only" is more than chance: probability below 1e-6 if missing were independent of the outcome."""
    count = int(missing.sum())
    share = float(np.mean(default == default[missing][0])) if count else 1.0
    return count > 0 and count * np.log(share) < np.log(1e-6)


def binned(values: pd.Series, kind: str, bins: int = BINS) -> np.ndarray:
    """(n,) small integers: deciles of a number or date, the values of a category or boolean, missing as a bin of its own."""
    missing = values.isna().to_numpy()
    if kind == "date":
        numbers = as_utc(values).astype(np.int64).astype(float)
    elif kind in ("number", "boolean"):
        numbers = pd.to_numeric(values).to_numpy(dtype=float)
    else:
        return np.where(missing, 0, pd.factorize(values)[0] + 1)
    missing = missing | ~np.isfinite(numbers)
    made = np.zeros(len(values), dtype=np.int64)
    if (~missing).any():
        known = numbers[~missing]
        distinct = np.unique(known)
        edges = (
            (distinct[1:] + distinct[:-1]) / 2
            if len(distinct) <= 2 * bins
            else np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
        )
        made[~missing] = np.searchsorted(edges, known, side="right") + 1
    return made


def single_auc(bins: np.ndarray, default: np.ndarray) -> float | None:
    """The AUC of ranking one half of the rows by the bins' default rates in the other half, averaged over both ways round.

    Measured on the rows that the rates come from, a category with hundreds of rare values would seem to know everything.
    """
    half = np.zeros(len(bins), dtype=bool)
    for outcome in (0, 1):
        half[np.flatnonzero(default == outcome)[::2]] = True
    found = []
    for judged in (half, ~half):
        other = ~judged
        if not other.any():
            return None
        size = np.bincount(bins[other], minlength=bins.max() + 1)
        bad = np.bincount(bins[other], weights=default[other], minlength=bins.max() + 1)
        # Two loans at the portfolio's rate are added to each bin: an unseen or rare one ranks in the middle.
        rate = (bad + 2 * default[other].mean()) / (size + 2)
        found.append(auc(default[judged], rate[bins[judged]]))
    return None if None in found else float(np.mean(found))


def information_value(bins: np.ndarray, default: np.ndarray) -> float:
    """Σ (share of bad − share of good) · ln(share of bad / share of good) over bins with half a loan added to each count (Siddiqi 2006),
    less what as many bins would reach by chance: (bins − 1) · (1 / bad + 1 / good).
    """
    used, bins = np.unique(bins, return_inverse=True)
    bad = np.bincount(bins, weights=default) + 0.5
    good = np.bincount(bins, weights=1 - default) + 0.5
    bad_share, good_share = bad / bad.sum(), good / good.sum()
    chance = (len(used) - 1) * (1 / bad.sum() + 1 / good.sum())
    return float(max(((bad_share - good_share) * np.log(bad_share / good_share)).sum() - chance, 0.0))


def errors(described: dict[str, Any]) -> list[str]:
    """What in a report of `data_quality` should stop a training or an import, in words."""
    return [row["message"] for row in described.get("findings", []) if row.get("severity") == "error"]


def data_quality(data: Dataset, *, now: pd.Timestamp | None = None) -> dict[str, Any]:
    """Rows, columns, schema, label balance, duplicates, ranges and gaps in time as plain JSON with findings in words.

    data.default: -1 where no outcome is known. now: dates after it are refused. Findings with the severity "error" should stop what was
    about to be done with these rows (`errors`).
    """
    findings: list[Finding] = []
    n = len(data)
    described = _dataset_findings(data, findings, now)
    columns = []
    for column in data.schema:
        if column.name not in data.frame:
            continue
        wrong = _wrong_kind(column, data.frame[column.name])
        if wrong is not None:
            findings.append(wrong)
            continue
        made, found = _describe(column, data.frame[column.name])
        columns.append(made)
        findings += found
    gaps = _time_gaps(data.submitted_at, findings)
    findings.sort(key=lambda finding: ("error", "leak", "suspect", "warning", "info").index(finding.severity))
    return rounded(
        {"rows": n, **described, "columns": columns, "months_without_applications": gaps, "findings": [one.to_json() for one in findings]}
    )


def _dataset_findings(data: Dataset, findings: list[Finding], now: pd.Timestamp | None) -> dict[str, Any]:
    """Labels, repeated rows and dates as a whole."""
    n, known = len(data), np.asarray(data.default) >= 0
    labelled = int(known.sum())
    weight = None if data.weight is None else data.weight[known]
    rate = float(np.average(data.default[known], weights=weight)) if labelled else None
    if rate is not None and labelled >= FEW_ROWS and rate > MOST_DEFAULTS:
        message = f"{rate:.1%} of the loans defaulted: the outcome's values are probably the wrong way round."
        findings.append(Finding("label_balance", "error", message, value=rate))
    elif rate is not None and (rate < 0.005 or rate > 0.5):
        findings.append(
            Finding("label_balance", "warning", f"{rate:.1%} of the loans defaulted; check what counts as default.", value=rate)
        )
    duplicated = int(data.frame.duplicated().sum()) if n and len(data.frame.columns) else 0
    share = duplicated / n if n else 0.0
    if n >= FEW_ROWS and share > REPEATED_SHARE:
        message = f"{duplicated:,} of {n:,} rows repeat an earlier one in every column: the same applications came in more than once."
        findings.append(Finding("duplicates", "error", message, value=share))
    elif share > 0.01:
        findings.append(Finding("duplicates", "warning", f"{duplicated:,} rows repeat an earlier one in every column.", value=share))
    if now is not None and data.submitted_at is not None and n:
        ahead = int((data.submitted_at > now).sum())
        if ahead:
            severity: Literal["error", "warning"] = "error" if n >= FEW_ROWS and ahead / n > FUTURE_SHARE else "warning"
            findings.append(Finding("future", severity, f"{ahead:,} applications are dated after {now.date()}.", value=ahead / n))
    return {"defaults": int((data.default == 1).sum()), "known": labelled, "default_rate": rate, "duplicates": duplicated}


def _wrong_kind(column: Column, values: pd.Series) -> Finding | None:
    """Where a column does not hold what its schema says: nothing that is computed from it would mean anything."""
    if column.kind in ("number", "boolean") and not pd.api.types.is_numeric_dtype(values):
        return Finding("schema", "error", f"{column.title} is declared as {column.kind} and holds {values.dtype}.", column.name)
    if column.kind == "date" and not pd.api.types.is_datetime64_any_dtype(values):
        return Finding("schema", "error", f"{column.title} is declared as date and holds {values.dtype}.", column.name)
    if column.kind == "boolean" and len(values) and not values.dropna().isin((0.0, 1.0)).all():
        return Finding("schema", "error", f"{column.title} is declared as yes or no and holds other numbers.", column.name)
    return None


def _describe(column: Column, values: pd.Series) -> tuple[dict[str, Any], list[Finding]]:
    known = values.dropna()
    missing = 1 - len(known) / len(values) if len(values) else 0.0
    made: dict[str, Any] = {
        "name": column.name,
        "title": column.title,
        "kind": column.kind,
        "missing": missing,
        "distinct": int(known.nunique()),
    }
    findings = []
    if not len(known):
        findings.append(Finding("empty", "info", f"{column.title} is empty.", column.name))
    elif made["distinct"] == 1:
        findings.append(Finding("constant", "info", f"{column.title} has the same value wherever it is known.", column.name))
    elif missing > 0.5:
        findings.append(Finding("mostly_missing", "info", f"{column.title} is missing in {missing:.0%} of the rows.", column.name, missing))
    if column.kind in ("number", "boolean") and len(known):
        numbers = known.to_numpy(dtype=float)
        low, middle, high = np.quantile(numbers, [0.01, 0.5, 0.99])
        made |= {"min": numbers.min(), "p1": low, "median": middle, "p99": high, "max": numbers.max()}
        least, most = PLAUSIBLE.get(column.name, (-np.inf, np.inf))
        outside = int(((numbers < least) | (numbers > most) | ~np.isfinite(numbers)).sum())
        if outside:
            share = outside / len(values)
            grave = len(values) >= FEW_ROWS and share > WRONG_SHARE
            message = f"{column.title} has {outside:,} values outside {least:g}–{most:g}" + (
                f", {share:.0%} of all: its unit is wrong." if grave else ": check its unit."
            )
            findings.append(Finding("range", "error" if grave else "warning", message, column.name, share))
    elif column.kind == "date" and len(known):
        made |= {"min": str(known.min().date()), "max": str(known.max().date())}
    elif column.kind == "category" and made["distinct"] > 0.5 * len(known) and len(known) > 100:
        findings.append(Finding("identifier", "warning", f"{column.title} is different in almost every row: an identifier?", column.name))
    return made, findings


def _time_gaps(submitted_at: pd.Series | None, findings: list[Finding]) -> list[str]:
    if submitted_at is None or submitted_at.isna().all():
        return []
    moments = as_utc(submitted_at)
    undated = int(np.isnat(moments).sum())
    if undated:
        findings.append(
            Finding("undated", "warning", f"{undated:,} rows have no date; no split by time can use them.", value=undated / len(moments))
        )
    months = np.unique(period_starts(moments[~np.isnat(moments)], "month").astype("datetime64[M]"))
    absent = np.setdiff1d(np.arange(months[0], months[-1] + 1), months)
    if len(absent):
        findings.append(Finding("time_gap", "warning", f"{len(absent)} months between {months[0]} and {months[-1]} have no applications."))
    return [str(month) for month in absent]
