"""What every rung promises, whichever it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mlcore.risk import ladder
from mlcore.risk.base import FitError
from mlcore.schema import CORE, Column, Schema

from .conftest import make_world

RUNGS = ladder.available()
LEARNING = [name for name in RUNGS if name != "prior"]


@pytest.fixture(autouse=True, scope="module")
def _smaller_ensembles():
    """The same code with fewer trees: these tests are about promises, not accuracy."""
    patch = pytest.MonkeyPatch()
    patch.setattr("mlcore.risk.pairwise.FITS", 3)
    patch.setattr("mlcore.risk.pairwise.MOST_TREES", 60)
    patch.setattr("mlcore.risk.boosting.MOST_TREES", 60)
    patch.setattr("mlcore.risk.forest.TREES", 40)
    patch.setattr("mlcore.risk.neural.MOST_EPOCHS", 12)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def fitted(world):
    known = {}

    def get(name):
        if name not in known:
            known[name] = ladder.make(name, world.schema, seed=3).fit(world.frame, world.default, submitted_at=world.submitted_at)
        return known[name]

    return get


@pytest.fixture(scope="module")
def later():
    return make_world(600, seed=2)


@pytest.mark.parametrize("name", RUNGS)
def test_contributions_add_up(name, fitted, later):
    rung = fitted(name)
    log_odds = rung.log_odds(later.frame, later.submitted_at)
    parts, baseline = rung.contributions(later.frame, later.submitted_at)
    assert parts.shape == (len(later), len(later.schema))
    np.testing.assert_allclose(baseline + parts.sum(axis=1), log_odds, atol=1e-6)
    hidden = [later.schema.names.index(column) for column in ("note", "age", "collections_cost")]
    assert not parts[:, hidden].any()


@pytest.mark.parametrize("name", LEARNING)
def test_it_learns_and_blames_the_right_columns(name, fitted, later):
    rung = fitted(name)
    assert roc_auc_score(later.default, rung.log_odds(later.frame, later.submitted_at)) > 0.68
    parts, _ = rung.contributions(later.frame, later.submitted_at)
    spread = dict(zip(later.schema.names, parts.std(axis=0), strict=True))
    assert max(spread, key=spread.get) == "credit_score"
    assert spread["open_accounts"] < spread["credit_score"] / 2


@pytest.mark.parametrize("name", LEARNING)
def test_the_baseline_is_the_mean_training_applicant(name, fitted, world):
    rung = fitted(name)
    _, baseline = rung.contributions(world.frame, world.submitted_at)
    near = 0.6 if name == "neural" else 0.15  # the net's is the score of the mean input, not the mean score
    assert baseline == pytest.approx(rung.log_odds(world.frame, world.submitted_at).mean(), abs=near)


@pytest.mark.parametrize("name", RUNGS)
def test_state_is_plain_and_round_trips_exactly(name, fitted, later):
    rung = fitted(name)
    state = rung.to_state()
    assert_plain(state)
    again = ladder.load(state)
    np.testing.assert_array_equal(again.log_odds(later.frame, later.submitted_at), rung.log_odds(later.frame, later.submitted_at))
    one, two = again.contributions(later.frame, later.submitted_at), rung.contributions(later.frame, later.submitted_at)
    np.testing.assert_array_equal(one[0], two[0])
    assert one[1] == two[1]


@pytest.mark.parametrize("name", RUNGS)
def test_same_data_and_seed_give_the_same_model(name, later):
    def fit():
        part = later.take(np.arange(400))
        return ladder.make(name, part.schema, seed=5).fit(part.frame, part.default, submitted_at=part.submitted_at)

    np.testing.assert_array_equal(fit().log_odds(later.frame, later.submitted_at), fit().log_odds(later.frame, later.submitted_at))


@pytest.mark.parametrize("name", LEARNING)
def test_one_class_is_a_clear_error(name, world):
    with pytest.raises(FitError, match="the outcome 0"):
        ladder.make(name, world.schema).fit(world.frame, np.zeros(len(world), dtype=np.int8))


@pytest.mark.parametrize("name", RUNGS)
def test_odd_lenders_train_without_a_hand(name):
    """Empty and constant columns, hundreds of values, no dates, no core columns; then a single, all-missing, all-unseen row."""
    r = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame(
        {
            "empty": np.full(n, np.nan),
            "constant": np.ones(n),
            "half": np.where(r.random(n) < 0.5, np.nan, r.normal(size=n)),
            "flag": (r.random(n) < 0.5).astype(float),
            "many": pd.Series([f"v{k}" for k in r.integers(0, 250, n)], dtype=object),
            "nothing": pd.Series([None] * n, dtype=object),
        }
    )
    kinds = {"flag": "boolean", "many": "category", "nothing": "category"}
    schema = Schema(Column(column, kinds.get(column, "number")) for column in frame)
    default = (r.random(n) < np.where(np.isnan(frame["half"]), 0.5, 0.15)).astype(np.int8)
    rung = ladder.make(name, schema).fit(frame, default)
    odd = pd.DataFrame([{**dict.fromkeys(frame.columns), "many": "never seen"}]).astype({"half": float, "flag": float, "empty": float})
    log_odds = rung.log_odds(odd)
    parts, baseline = rung.contributions(odd)
    assert np.isfinite(log_odds).all() and abs(baseline + parts.sum() - log_odds[0]) < 1e-6
    assert rung.log_odds(frame.head(0)).shape == (0,)
    assert rung.contributions(frame.head(0))[0].shape == (0, 6)


@pytest.mark.parametrize("name", LEARNING)
def test_known_directions_are_kept(name, fitted, later):
    """More income or a better score never raises the risk, through ratios neither."""
    if name in ("forest", "neural"):
        pytest.skip("This rung can't promise directions.")
    rung = fitted(name)
    for column in ("annual_income", "credit_score"):
        frame = later.frame.dropna(subset=[column]).reset_index(drop=True).head(100)
        before = rung.log_odds(frame)
        for factor in (1.05, 1.3, 3.0):
            better = frame.assign(**{column: frame[column] * factor})
            assert (rung.log_odds(better) <= before + 1e-9).all()


def test_unknown_rungs_are_named():
    with pytest.raises(ladder.UnknownRung, match="known are prior"):
        ladder.make("oracle", CORE)


def assert_plain(value):
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        for item in value.values():
            assert_plain(item)
    elif isinstance(value, list):
        for item in value:
            assert_plain(item)
    elif isinstance(value, np.ndarray):
        assert value.dtype.kind in "biuf"
    else:
        assert value is None or isinstance(value, (str, int, float, bool, bytes)), type(value)
        assert not isinstance(value, np.generic) or isinstance(value, (float, int)), type(value)


@pytest.mark.parametrize("name", LEARNING)
def test_again_keeps_the_settings_and_learns_from_the_new_rows(name, fitted, world, later):
    first = fitted(name)
    before = first.log_odds(later.frame, later.submitted_at)
    other = first.again(later.frame, later.default, submitted_at=later.submitted_at)
    described = {"columns"}  # of the rows, not found by a search
    assert {k: v for k, v in other.settings.items() if k not in described} == {
        k: v for k, v in first.settings.items() if k not in described
    }
    assert np.abs(other.log_odds(later.frame, later.submitted_at) - before).max() > 1e-3
    np.testing.assert_array_equal(first.log_odds(later.frame, later.submitted_at), before)
    same = first.again(world.frame, world.default, submitted_at=world.submitted_at)
    np.testing.assert_allclose(same.log_odds(later.frame, later.submitted_at), before, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in LEARNING if name != "xgboost"])
def test_again_searches_nothing(name, fitted, world, monkeypatch):
    first = fitted(name)
    module = type(first).__module__
    monkeypatch.setattr(f"{module}.levelled_log_loss", None, raising=False)
    monkeypatch.setattr(f"{module}.levelled_losses", None, raising=False)
    first.again(world.frame, world.default, submitted_at=world.submitted_at)


def test_xgboost_is_reproduced_exactly(world, later):
    xgboost = pytest.importorskip("xgboost")
    from mlcore.risk.xgb import XGBoost

    rung = XGBoost(world.schema, seed=3)
    kept = {}
    grow = rung._booster
    rung._booster = lambda *arguments: kept.setdefault(len(kept), grow(*arguments))
    rung.fit(world.frame, world.default)
    booster, _ = kept[len(kept) - 1]
    coded = rung._coded(rung.encoder.transform(later.frame))
    assert np.isnan(coded).any()
    margin = booster.predict(xgboost.DMatrix(coded), output_margin=True)
    np.testing.assert_allclose(rung.log_odds(later.frame), margin, atol=1e-5)
