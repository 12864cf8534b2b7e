"""Two amount models on the same later loans."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcore.amount.model import QUANTILES, AmountModel
from mlcore.amount.train import pinball
from mlcore.metrics import interval, resamples, rounded

REPLICATES = 400


def compare_amounts(
    first: AmountModel,
    second: AmountModel,
    frames: tuple[pd.DataFrame, pd.DataFrame],
    submitted_at: pd.Series,
    carried: np.ndarray,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Mean pinball loss of each, the difference with its one-sided 95 % ends (paired bootstrap), and how much of what was carried lies in
    each range. carried: (n,) amounts that were repaid.
    """
    losses, inside = [], []
    for model, frame in zip((first, second), frames, strict=True):
        found = model.suggest(frame, submitted_at)
        quantiles = np.column_stack([found.low, found.middle, found.high])
        losses.append(np.mean([pinball(carried, quantiles[:, number], level) for number, level in enumerate(QUANTILES)], axis=0))
        inside.append(float(((carried >= found.low) & (carried <= found.high)).mean()))
    gap = losses[1] - losses[0]
    drawn = np.concatenate([counts @ gap / counts.sum(axis=1) for counts in resamples(len(gap), REPLICATES, seed)])
    tight = interval(float(gap.mean()), drawn, 0.9)
    return rounded(
        {
            "rows": len(gap),
            "first": float(losses[0].mean()),
            "second": float(losses[1].mean()),
            "difference": interval(float(gap.mean()), drawn),
            "one_sided": {"low": tight["low"], "high": tight["high"]},
            "coverage": inside,
            "coverage_wanted": QUANTILES[-1] - QUANTILES[0],
        }
    )
