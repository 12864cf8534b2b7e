"""From applications to as many segments as they support, named, described and judged on those that came later."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore import splits
from mlcore.metrics import ProfitTerms, rounded
from mlcore.progress import Progress, part, silent
from mlcore.schema import Schema
from mlcore.segments import choose as choosing
from mlcore.segments import cluster, evaluate, naming
from mlcore.segments.choose import Choice, Effort
from mlcore.segments.match import match
from mlcore.segments.model import NOBODY, Segment, SegmentModel
from mlcore.segments.prepare import Preparation

VERSION = 1
FEWEST_ROWS = 200
FEWEST_LATER = 50
MOST_ROWS = 20_000
"""Above this many earlier applications a random sample of them is fitted on: more would move no centre by anything that counts."""
LATER_SHARE = 0.2


@dataclass(frozen=True)
class SegmentResult:
    model: SegmentModel
    report: dict[str, Any]


def train_segments(
    frame: pd.DataFrame,
    schema: Schema,
    *,
    submitted_at: pd.Series | None = None,
    default: np.ndarray | None = None,
    amount: np.ndarray | None = None,
    previous: SegmentModel | None = None,
    terms: ProfitTerms | None = None,
    effort: Effort | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> SegmentResult:
    """Groups learned from the earlier four fifths (a sample above `MOST_ROWS`), judged on the later fifth.

    frame: (n, columns) of applications, decided or not. default: (n,) 1/0, NaN where not known; it is looked at when the groups stand,
    never before. amount: (n,) exposure. previous: the model that served until now; groups that are still the same keep its keys.
    Too few rows, or no column that varies, give a model without groups and a warning. Raises Cancelled from `progress`.
    """
    started = time.perf_counter()
    terms = terms or ProfitTerms()
    default = np.full(len(frame), np.nan) if default is None else np.asarray(default, dtype=float)
    earlier, later, how = _split(submitted_at, default, len(frame), seed)
    fit_rows = earlier
    if len(earlier) > MOST_ROWS:
        fit_rows = np.sort(np.random.default_rng([seed, 1]).choice(earlier, MOST_ROWS, replace=False))
    warnings: list[str] = []
    progress(0.01, f"Preparing {len(fit_rows):,} applications")
    known, when = _rows(frame, submitted_at, fit_rows)
    preparation = Preparation.fit(known, schema, when)
    for why in dict.fromkeys(preparation.left_out.values()):
        titles = [schema[name].title for name, each in preparation.left_out.items() if each == why]
        warnings.append(f"Left out ({why}): {', '.join(titles)}.")
    matrix = preparation.transform(known, when)
    choice = _choose(matrix, preparation, seed, effort, part(progress, 0.02, 0.88), warnings)

    model, labels = _fitted(choice, matrix, preparation, known, when, previous, seed, progress)
    k = len(model)
    report: dict[str, Any] = {
        "version": VERSION,
        "kind": "segments",
        "seed": seed,
        "k": k,
        "data": {
            "rows": len(frame),
            "fitted": len(fit_rows),
            "chosen_on": min(len(fit_rows), (effort or Effort()).rows),
            "left_out": preparation.left_out,
        },
        "split": how,
        "inputs": [block.name for block in preparation.blocks],
        "trials": [trial.to_json() for trial in choice.trials],
        "choice": {"title": _title(k), "algorithm": model.name, "in_words": choice.in_words, "demands": _demands()},
        "in_words": choice.in_words,
        "stability": choice.chosen.jaccards if choice.chosen else [],
        "min_jaccard": choice.chosen.min_jaccard if choice.chosen else max((t.min_jaccard for t in choice.trials), default=None),
        "null_gap": choice.chosen.gap if choice.chosen else max((t.gap for t in choice.trials if t.gap_cloud is not None), default=None),
        "segments": [],
        "profile": [],
    }
    progress(0.92, "Describing the groups and looking at later applications")
    if k:
        report["segments"] = _described(model, matrix, labels, known, when, preparation)
        report["profile"] = naming.profile(known, preparation, labels, k, when)
        report["map"] = evaluate.map_of(matrix, labels, seed)
        everyone = model.positions(frame, submitted_at)
        report["share_over_time"] = evaluate.over_time(everyone, k, submitted_at)
        after = later if len(later) else np.arange(len(frame))
        report["later"] = evaluate.later(everyone[after], k, default[after], None if amount is None else amount[after], terms)
        report["later"]["terms"] = {"margin": terms.margin, "loss_given_default": terms.loss_given_default}
        if not len(later):
            warnings.append("There are no dates to tell later applications by: default rates are those of the applications learned from.")
        elif not np.isfinite(default[later]).any():
            warnings.append("No later application has a known outcome yet: default rate and value are not known.")
    report["movement"] = _movement(model, labels, previous, known, when)
    report["warnings"] = warnings
    report["seconds"] = time.perf_counter() - started
    progress(1.0, choice.in_words[:200])
    return SegmentResult(model, rounded(report))


def _split(submitted_at: pd.Series | None, default: np.ndarray, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Earlier and later rows. Where outcomes are known, the cut leaves a fifth of those later: the newest applications have none yet."""
    everything, nothing = np.arange(rows), np.zeros(0, dtype=np.int64)
    if submitted_at is None:
        return everything, nothing, {"how": "none", "in_words": "learned from all applications; they have no dates"}
    moments = splits.as_utc(submitted_at)
    dated = ~np.isnat(moments)
    known = dated & np.isfinite(default)
    basis = known if known.sum() >= FEWEST_ROWS else dated
    if basis.sum() < FEWEST_ROWS + FEWEST_LATER:
        return everything, nothing, {"how": "none", "in_words": "learned from all applications; there are too few to keep later ones back"}
    cut = np.sort(moments[basis])[int((1 - LATER_SHARE) * basis.sum())]
    late = dated & (moments >= cut)
    if (~late).sum() < FEWEST_ROWS or late.sum() < FEWEST_LATER:
        return (
            everything,
            nothing,
            {"how": "none", "in_words": "learned from all applications; their dates leave none to judge by"},
        )
    day = str(cut.astype("datetime64[D]"))
    return (
        np.flatnonzero(~late),
        np.flatnonzero(late),
        {
            "how": "time",
            "cut": day,
            "earlier": int((~late).sum()),
            "later": int(late.sum()),
            "in_words": f"learned from applications before {day}, judged on those from then on",
        },
    )


def _choose(
    matrix: np.ndarray, preparation: Preparation, seed: int, effort: Effort | None, progress: Progress, warnings: list[str]
) -> Choice:
    effort = effort or Effort()
    if len(matrix) < FEWEST_ROWS:
        words = f"No groups: {len(matrix):,} applications are too few to find any; at least {FEWEST_ROWS} are needed."
    elif len(preparation.blocks) < 2:
        words = f"No groups: of the columns {len(preparation.blocks)} can be used; a group needs at least two that go together."
    elif len(np.unique(matrix[:5_000].round(6), axis=0)) < 20:
        words = "No groups: nearly all applications are the same."
    else:
        rows = np.arange(len(matrix))
        if len(rows) > effort.rows:
            rows = np.sort(np.random.default_rng([seed, 2]).choice(rows, effort.rows, replace=False))
        return choosing.choose(matrix[rows], preparation.slices, seed=seed, effort=effort, progress=progress)
    warnings.append(words)
    return Choice([], None, words)


def _fitted(
    choice: Choice,
    matrix: np.ndarray,
    preparation: Preparation,
    frame: pd.DataFrame,
    submitted_at: pd.Series | None,
    previous: SegmentModel | None,
    seed: int,
    progress: Progress,
) -> tuple[SegmentModel, np.ndarray]:
    """The model and its (n,) labels of the rows it was fitted on. A group that is still the same keeps its key."""
    next_key = previous.next_key if previous is not None else 1  # one without groups is still false
    if choice.chosen is None:
        return SegmentModel(preparation, None, [], next_key), np.full(len(matrix), NOBODY)
    progress(0.89, f"Fitting {choice.k} groups on {len(matrix):,} applications")
    clusters = cluster.fit(matrix, choice.k, method=choice.chosen.method, seed=seed, restarts=10)
    labels = clusters.labels(matrix)
    k = len(clusters)
    kept: list[int | None] = [None] * k
    if previous is not None and len(previous):
        kept, _ = match(previous.assign(frame, submitted_at)[0], labels, [segment.key for segment in previous.segments], k)
    names = naming.names(naming.differences(frame, preparation, labels, k, submitted_at))
    counts = np.bincount(labels, minlength=k)
    distances = clusters.distances(matrix, labels)
    segments: list[Segment | None] = [None] * k
    for group in np.argsort(-counts, kind="stable"):  # new keys by size: the largest group is number one
        key = kept[group]
        if key is None:
            key, next_key = next_key, next_key + 1
        typical = float(np.median(distances[labels == group])) if counts[group] else 1.0
        segments[group] = Segment(int(key), names[group], float(counts[group] / len(labels)), max(typical, 1e-9))
    return SegmentModel(preparation, clusters, [segment for segment in segments if segment], next_key), labels


def _described(
    model: SegmentModel,
    matrix: np.ndarray,
    labels: np.ndarray,
    frame: pd.DataFrame,
    submitted_at: pd.Series | None,
    preparation: Preparation,
) -> list[dict[str, Any]]:
    found = naming.differences(frame, preparation, labels, len(model), submitted_at)
    return [
        vars(segment)
        | {
            "rows": int((labels == number).sum()),
            "differences": [
                {"column": each.column, "size": each.size, "words": each.words}
                for each in found[number][:8]
                if abs(each.size) >= naming.FAINT
            ],
        }
        for number, segment in enumerate(model.segments)
    ]


def _movement(
    model: SegmentModel, labels: np.ndarray, previous: SegmentModel | None, frame: pd.DataFrame, submitted_at: pd.Series | None
) -> dict[str, Any] | None:
    """Where the applications of the former groups went; None where there were none before or are none now."""
    if previous is None or not len(previous) or not len(model):
        return None
    old = previous.segments
    _, moved = match(previous.assign(frame, submitted_at)[0], labels, [segment.key for segment in old], len(model))
    new_keys = [segment.key for segment in model.segments]
    gone = sorted({segment.key for segment in old} - set(new_keys))
    return moved | {
        "old": [{"key": segment.key, "name": segment.name} for segment in old],
        "new_keys": new_keys,
        "gone": gone,
        "in_words": f"{moved['stayed']:.0%} of the applications are in the group in which they were before"
        + (f"; {len(gone)} former groups are no more." if gone else "."),
    }


def _rows(frame: pd.DataFrame, submitted_at: pd.Series | None, rows: np.ndarray) -> tuple[pd.DataFrame, pd.Series | None]:
    taken = frame.iloc[rows].reset_index(drop=True)
    return taken, None if submitted_at is None else submitted_at.iloc[rows].reset_index(drop=True)


def _title(k: int) -> str:
    return f"{k} groups" if k else "No groups"


def _demands() -> dict[str, float]:
    return {"min_jaccard": choosing.LEAST_JACCARD, "gap": choosing.LEAST_GAP, "z": choosing.LEAST_Z, "share": choosing.LEAST_SHARE}
