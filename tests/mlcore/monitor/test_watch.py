"""The whole look at worlds whose change is known, and at input that nothing can be said of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pytest

from mlcore import metrics
from mlcore.monitor import Bins, Collected, Limits, estimate, watch
from mlcore.monitor.cbpe import expected_auc
from mlcore.monitor.early import by_month_on_book
from mlcore.monitor.performance import dispersion
from mlcore.schema import Column, Schema
from mlcore.synth import Drift, Oracle, World, generate

AT = date(2024, 1, 1)
WORLD = World(seed=4, start=date(2022, 1, 1), months=26, applications=28_000)


@dataclass
class Desk:
    """A reference of two years, scored by the true model, and the bins that it made."""

    bins: Bins
    outputs: Bins
    reference: Collected
    oracle: Oracle

    def window(self, made, month="2024-01"):
        rows = np.flatnonzero((made.submitted_at.dt.strftime("%Y-%m") == month).to_numpy())
        part = made.take(rows)
        p = self.probability(part)
        window = Collected(self.bins, self.outputs)
        return window.add(part.frame, part.submitted_at, probability=p, default=part.default, outputs={"probability": p})

    def probability(self, made):
        # The oracle does not know of fraud rings, which raise the level a little; a calibrated model has it in its level.
        return metrics.expit(self.oracle.log_odds(made.frame) + 0.065)


@pytest.fixture(scope="module")
def desk():
    made = generate(WORLD, identities=False)
    past = made.take(np.flatnonzero((made.submitted_at < str(AT)).to_numpy()))
    oracle = Oracle(WORLD)
    bins = Bins.of(past.frame, past.schema.usable(), past.submitted_at)
    one = Desk(bins, Bins({}), None, oracle)
    p = one.probability(past)
    one.outputs = Bins.of_outputs({"probability": p})
    one.reference = Collected(bins, one.outputs).add(
        past.frame, past.submitted_at, probability=p, default=past.default, outputs={"probability": p}
    )
    return one


def drifted(*drifts, **more):
    return generate(WORLD.but(drifts=drifts, **more), identities=False)


def alarms(reading):
    return {(figure.metric, figure.feature) for figure in reading.alarms}


def test_nothing_changed_nothing_rings(desk):
    reading = watch(desk.reference, desk.window(drifted()))
    assert alarms(reading) == set()
    assert reading.labelled == reading.rows > 800
    tested = [figure for figure in reading.figures if figure.p is not None]
    assert len(tested) > 60
    assert all(figure.p_adjusted >= figure.p for figure in tested)


def test_a_strong_season_does_not_ring():
    """The window's products and amounts are its season's, far from the year's average; the season of the years before is the same."""
    made = drifted(seasonality=2.2)
    past = made.take(np.flatnonzero((made.submitted_at < str(AT)).to_numpy()))
    bins = Bins.of(past.frame, past.schema.usable(), past.submitted_at)
    reference = Collected(bins).add(past.frame, past.submitted_at)
    rows = np.flatnonzero((made.submitted_at.dt.strftime("%Y-%m") == "2024-01").to_numpy())
    window = Collected(bins).add(made.frame.iloc[rows], made.submitted_at.iloc[rows])
    assert alarms(watch(reference, window, with_joint=False)) == set()
    # Against the whole year it is another population: the test has the power to see it.
    year = reference.fortnights()
    reference.of_the_season = lambda window: (year, "")
    sure = watch(reference, window, limits=Limits(effects={}), with_joint=False)
    assert ("psi", "product") in alarms(sure)


@pytest.mark.parametrize(
    ("drift", "expected"),
    [
        (Drift("covariate", AT, ("revolving_utilisation",), 0.5), ("psi", "revolving_utilisation")),
        (Drift("empty", AT, ("employment_months",), 0.95), ("missing", "employment_months")),
        (Drift("unit", AT, ("annual_income",), 100), ("outside", "annual_income")),
        (Drift("level", AT, (), 1.6), ("oe", "")),
        (Drift("concept", AT, ("credit_score", "debt_to_income"), -1.0), ("slope", "")),
    ],
    ids=lambda value: value.kind if isinstance(value, Drift) else None,
)
def test_each_change_rings_where_it_is(desk, drift, expected):
    reading = watch(desk.reference, desk.window(drifted(drift)), with_joint=False)
    assert expected in alarms(reading)
    if drift.kind in ("level", "concept"):
        # Nobody looks different: only outcomes can show these.
        assert all(figure.group == "performance" for figure in reading.alarms)
        unlabelled = Collected(desk.bins, desk.outputs)
        made = drifted(drift)
        part = made.take(np.flatnonzero((made.submitted_at.dt.strftime("%Y-%m") == "2024-01").to_numpy()))
        unlabelled.add(part.frame, part.submitted_at, probability=desk.probability(part))
        blind = watch(desk.reference, unlabelled, with_joint=False)
        assert alarms(blind) == set()
        assert any("estimated, not known" in note for note in blind.notes)
        assert "blind" in blind.of("cbpe_auc").note
    if drift.kind == "concept":
        assert ("residual", "credit_score") in alarms(reading)


def test_the_estimate_meets_the_outcome_when_only_the_applicants_change(desk):
    """Under pure covariate shift the estimate is within .01 of the AUC that the true probabilities give, although that AUC has moved."""
    made = drifted(Drift("covariate", AT, ("credit_score", "revolving_utilisation", "annual_income"), -1.0), ring_share=0)
    after = made.take(np.flatnonzero((made.submitted_at >= str(AT)).to_numpy()))
    p = metrics.expit(desk.oracle.log_odds(after.frame))
    truth = expected_auc(p, after.true_default_probability)
    assert estimate(p).auc["value"] == pytest.approx(truth, abs=0.01)
    assert estimate(p).brier["value"] == pytest.approx(metrics.brier(after.default, p), abs=0.01)


def test_the_estimate_equals_the_pairs_counted_one_by_one():
    p = np.array([0.1, 0.2, 0.2, 0.6])
    wins = pairs = 0.0
    for i in range(4):
        for j in range(4):
            if i != j:
                weight = p[i] * (1 - p[j])
                pairs += weight
                wins += weight * ((p[i] > p[j]) + 0.5 * (p[i] == p[j]))
    assert estimate(p).auc["value"] == pytest.approx(wins / pairs)
    assert expected_auc(p, p) == pytest.approx(wins / pairs)
    assert estimate(p).rate["value"] == pytest.approx(p.mean())


def test_outcomes_fall_into_the_estimates_interval():
    rng = np.random.default_rng(8)
    p = metrics.expit(rng.normal(-2, 1, 1500))
    said = estimate(p)
    inside = [said.auc["low"] <= metrics.auc((rng.random(1500) < p).astype(int), p) <= said.auc["high"] for _ in range(200)]
    assert 0.90 <= np.mean(inside) <= 0.99


def test_defaults_that_come_together_widen_the_intervals():
    rng = np.random.default_rng(2)
    fortnight = np.repeat(np.arange(60), 100)
    p = np.full(6000, 0.2)
    alone = (rng.random(6000) < p).astype(int)
    together = np.repeat((rng.random(1500) < 0.2).astype(int), 4)
    assert dispersion(p, alone, fortnight) < 1.4
    assert 1.8 < dispersion(p, together, fortnight) < 5.5


SMALL = Schema((Column("income", "number"), Column("flat", "number"), Column("never", "number"), Column("word", "category")))


def small(n, seed=0, start="2024-01-01", days=60):
    rng = np.random.default_rng(seed)
    when = pd.Series(pd.Timestamp(start, tz="UTC") + pd.to_timedelta(np.sort(rng.integers(0, days, n)), unit="D"))
    return pd.DataFrame(
        {"income": rng.normal(size=n), "flat": np.ones(n), "never": np.full(n, np.nan), "word": pd.Series(["w"] * n, dtype=object)}
    ), when


@pytest.fixture(scope="module")
def small_reference():
    frame, when = small(1000)
    bins = Bins.of(frame, SMALL, when)
    p = np.full(1000, 0.1)
    return Collected(bins).add(frame, when, probability=p, default=(np.arange(1000) % 10 == 0).astype(int))


def test_an_empty_window_says_so(small_reference):
    reading = watch(small_reference, Collected(small_reference.bins))
    assert reading.figures == ()
    assert "has 0 applications" in reading.notes[0]
    assert watch(Collected(small_reference.bins), small_reference).figures == ()


def test_constant_and_never_seen_columns_say_so(small_reference):
    frame, when = small(300, 1)
    window = Collected(small_reference.bins).add(frame, when)
    reading = watch(small_reference, window)
    assert alarms(reading) == set()
    assert reading.of("psi", "never").note == "The same value in every row of both."
    assert reading.of("psi", "flat").p is None
    assert any("estimated, not known" in note for note in reading.notes)
    frame["never"] = 5.0
    rings = alarms(watch(small_reference, Collected(small_reference.bins).add(frame, when), with_joint=False))
    assert {("outside", "never"), ("missing", "never")} <= rings
    # A column that the window lacks altogether counts as missing in it.
    gone = watch(small_reference, Collected(small_reference.bins).add(frame.drop(columns="income"), when), with_joint=False)
    assert ("missing", "income") in alarms(gone)
    assert gone.of("missing", "income").value == 1.0


@pytest.mark.parametrize(("default", "said"), [(0, "defaulted: their"), (1, "were repaid: their")], ids=["no-default", "all-default"])
def test_one_class_gives_a_level_and_no_ranking(small_reference, default, said):
    frame, when = small(400, 2)
    window = Collected(small_reference.bins).add(frame, when, probability=np.full(400, 0.1), default=np.full(400, default))
    reading = watch(small_reference, window, with_joint=False)
    assert reading.of("auc") is None
    assert any(said in note for note in reading.notes)
    assert reading.of("oe").breach
    assert all(np.isfinite(value) for f in reading.figures for value in (f.value, f.low, f.high, f.p) if value is not None)


def test_few_labels_and_early_finishers_are_not_judged(small_reference):
    frame, when = small(400, 3)
    rng = np.random.default_rng(1)
    p = rng.uniform(0.05, 0.3, 400)
    few = np.where(np.arange(400) < 20, 1, -1)
    reading = watch(small_reference, Collected(small_reference.bins).add(frame, when, probability=p, default=few), with_joint=False)
    assert reading.of("oe") is None
    assert any("20 loans of this window have an outcome" in note for note in reading.notes)
    all_bad = (np.arange(400) % 2).astype(int)
    early = Collected(small_reference.bins).add(frame, when, probability=p, default=all_bad)
    assert watch(small_reference, early, with_joint=False).of("oe").breach
    held = watch(small_reference, early, with_joint=False, matured=False)
    assert held.of("oe").value > 2
    assert not held.of("oe").breach


def test_months_on_book_count_only_loans_watched_for_so_long():
    day = np.timedelta64(1, "D")
    started = np.full(400, np.datetime64("2024-01-01"))
    vintage = np.arange(400) < 200
    watched = started + np.where(np.arange(400) % 2 == 0, 200, 40) * day
    bad = np.full(400, np.datetime64("NaT", "D"))
    bad[:100:2] = np.datetime64("2024-01-01") + 100 * day
    found = by_month_on_book(started, bad, watched, vintage)
    by_month = {row.month: row for row in found}
    assert by_month[1].loans == 200
    assert by_month[2].loans == 100
    assert by_month[3].bad == 0
    assert (by_month[4].bad, by_month[4].share, by_month[4].reference) == (50, 0.5, 0.0)
    assert by_month[4].p < 1e-6
    assert 7 not in by_month
