"""Tests of drift against what is known of them: their nulls, and shifts that were put in by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlcore.monitor import Bins, Collected, benjamini_hochberg, drift, holm
from mlcore.monitor.joint import domain_auc
from mlcore.schema import Column, Schema

SCHEMA = Schema(
    (
        Column("income", "number"),
        Column("count", "number"),
        Column("purpose", "category"),
        Column("opened", "date"),
        Column("words", "text"),
    )
)


def rows(n, seed, *, start="2024-01-01", days=360, shift=0.0):
    rng = np.random.default_rng(seed)
    when = pd.Series(pd.Timestamp(start, tz="UTC") + pd.to_timedelta(np.sort(rng.integers(0, days, n)), unit="D"))
    frame = pd.DataFrame(
        {
            "income": np.where(rng.random(n) < 0.1, np.nan, rng.normal(shift, 1, n)),
            "count": rng.poisson(2, n).astype(float),
            "purpose": pd.Series(rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]), dtype=object),
            "opened": when - pd.to_timedelta(rng.integers(10, 4000, n), unit="D"),
            "words": pd.Series(["x"] * n, dtype=object),
        }
    )
    return frame, when


def collected(bins, frame, when, **more):
    return Collected(bins).add(frame, when, **more)


def test_psi_follows_its_null():
    """Of 400 pairs of samples of one distribution, five in a hundred lie above the stated 95 % limit."""
    rng = np.random.default_rng(3)
    shares = np.array([0.05, 0.15, 0.3, 0.3, 0.2])
    now, then = rng.multinomial(800, shares, 400), rng.multinomial(3000, shares, 400)
    limit = drift.psi_limit(5, 800, 3000)
    above = np.mean([drift.psi(a, b) > limit for a, b in zip(now, then, strict=True)])
    assert 0.02 < above < 0.09
    p = np.array([drift.homogeneity(a, b) for a, b in zip(now, then, strict=True)])
    assert 0.02 < (p < 0.05).mean() < 0.09
    assert 0.4 < np.median(p) < 0.6


def test_psi_and_divergence_have_their_values():
    now, then = np.array([4000, 6000]), np.array([6000, 4000])
    assert drift.psi(now, then) == pytest.approx(2 * 0.2 * np.log(1.5), rel=1e-3)
    assert drift.jensen_shannon(now, then) == pytest.approx(1 + 0.6 * np.log2(0.6) + 0.4 * np.log2(0.4), abs=1e-9)
    assert drift.jensen_shannon(np.array([5, 0]), np.array([0, 5])) == pytest.approx(1.0)


def test_rows_that_come_together_count_less():
    """Fortnights whose rows are four copies of each other have a design effect of four; independent ones of one."""
    rng = np.random.default_rng(5)
    shares = [0.5, 0.3, 0.2]
    apart = rng.multinomial(400, shares, 60)
    together = 4 * rng.multinomial(100, shares, 60)
    assert drift.design_effect(apart) < 1.25
    assert 3.0 < drift.design_effect(together) < 4.6


def test_bins_know_missing_new_and_outside_values():
    frame, when = rows(4000, 1)
    bins = Bins.of(frame, SCHEMA, when)
    assert list(bins.columns) == ["income", "count", "purpose", "opened"]
    income, purpose = bins.columns["income"], bins.columns["purpose"]
    codes, outside = income.code(pd.Series([np.nan, -99.0, 0.0, 99.0, np.inf]))
    assert codes.tolist()[0] == 0
    assert outside.tolist() == [False, True, False, True, True]
    assert income.label(0) == "missing"
    codes, strange = purpose.code(pd.Series([None, "a", "zebra"], dtype=object))
    assert codes.tolist() == [0, 1, purpose.size - 1]
    assert strange.tolist() == [False, False, True]
    categorical = pd.Series(["a", None, "zebra"], dtype="category")
    assert purpose.code(categorical)[0].tolist() == [1, 0, purpose.size - 1]


def test_blocks_in_any_order_count_the_same():
    frame, when = rows(3000, 2)
    bins = Bins.of(frame, SCHEMA, when)
    whole = collected(bins, frame, when)
    parts = Collected(bins)
    for start in (2000, 0, 1000):
        parts.add(frame.iloc[start : start + 1000], when.iloc[start : start + 1000])
    for name in bins.columns:
        assert (whole.counts(name).bins == parts.counts(name).bins).all()
        assert (whole.counts(name).outside == parts.counts(name).outside).all()
    assert parts.rows == 3000
    assert whole.counts("income").bins.sum() == 3000


def test_the_window_is_held_against_its_own_season():
    frame, when = rows(6000, 3, start="2022-01-01", days=730)
    bins = Bins.of(frame, SCHEMA, when)
    reference = collected(bins, frame, when)
    window = collected(bins, *rows(400, 4, start="2024-06-01", days=30))
    season, said = reference.of_the_season(window)
    middles = (season * 14 + 7).astype("datetime64[D]").astype("datetime64[M]").astype(int) % 12 + 1
    assert set(middles.tolist()) <= {5, 6, 7}
    assert "same time of the year" in said
    short = collected(bins, *rows(3000, 5, start="2023-01-01", days=200))
    season, said = short.of_the_season(window)
    assert len(season) == len(short.fortnights())
    assert "less than a year" in said


def test_holm_and_benjamini_hochberg_by_hand():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p).tolist() == pytest.approx([0.02, 0.04, 0.04, 0.02])
    # Twice the weight is worth twice the level: .02 with weight 3 of 4 is adjusted to .02 · 4 / 3.
    assert holm(np.array([0.02, 0.5]), np.array([3.0, 1.0])).tolist() == pytest.approx([0.02 * 4 / 3, 0.5])
    assert holm(np.empty(0)).tolist() == []
    with pytest.raises(ValueError):
        holm(p, np.array([1, 1, 1, 0.0]))


def test_only_the_joint_test_sees_columns_that_change_together():
    """Two columns that keep their own distributions and begin to move together."""
    rng = np.random.default_rng(11)
    reference = np.column_stack([rng.integers(1, 9, 3000) for _ in range(4)]).astype(np.int16)
    window = reference[rng.permutation(3000)[:1500]].copy()
    same = domain_auc(window, reference)
    assert same.p > 0.001
    together = window.copy()
    together[:900, 1] = together[:900, 0]
    rng.shuffle(together)
    found = domain_auc(together, reference)
    assert found.p < 1e-6
    assert found.value > 0.55
    assert found.low > 0.5
    shares = [np.bincount(each[:, 1], minlength=9) for each in (together, reference)]
    assert drift.psi(*shares) < 0.02


def test_rare_events_are_not_taken_for_certain():
    assert drift.more_than(0, 1000, 0, 1000) == 1.0
    assert drift.more_than(1, 1000, 0, 1000) > 0.05
    assert drift.more_than(30, 1000, 3, 10_000) < 1e-9
    # A rate of 1 % learnt from ten thousand rows: 13 in a thousand is usual, 25 is not.
    assert drift.more_than(13, 1000, 100, 10_000) > 0.05
    assert drift.more_than(25, 1000, 100, 10_000) < 0.001
