"""A model's scores add up, mean what they say, and survive storage."""

import numpy as np
import pandas as pd
import pytest

from mlcore import artifacts, calibration, metrics
from mlcore.risk import grades, ladder, model
from mlcore.risk.base import Dataset
from tests.mlcore.risk_eval import world


@pytest.fixture(autouse=True)
def _ladder(monkeypatch):
    monkeypatch.setattr(ladder, "LADDER", world.LADDER)


def fitted(method="platt", kind="all", n=2500):
    data, truth = world.make_world(n)
    schema = data.schema.usable()
    rung = world.Linear(schema).fit(data.frame, data.default)
    z = rung.log_odds(data.frame)
    calibrator = calibration.fit(0.7 * z, data.default, method) if method != "none" else calibration.IDENTITY
    extra = {"probability": metrics.expit(calibrator.transform(z)), "cutoff": 0.2} if kind == "at_cutoff" else {}
    return model.RiskModel(rung, calibrator, schema=schema, baseline=model.make_baseline(rung, data.frame, **extra)), data, truth


@pytest.mark.parametrize("method", ["none", "level", "platt", "beta", "isotonic"])
@pytest.mark.parametrize("kind", ["all", "at_cutoff"])
def test_contributions_add_up_through_any_calibrator(method, kind):
    made, data, _ = fitted(method, kind)
    scores = made.score(data.frame)
    assert np.abs(scores.baseline + scores.contributions.sum(axis=1) - scores.log_odds).max() < 1e-6
    assert scores.probability == pytest.approx(metrics.expit(scores.log_odds))
    assert scores.probability == pytest.approx(made.probability(data.frame))
    assert scores.features == made.schema.names and "sex" not in scores.features and "recovered" not in scores.features
    raw, intercept = made.rung.contributions(data.frame)
    shifted = raw - made.baseline.means
    assert (np.sign(np.round(shifted, 9)) == np.sign(np.round(scores.contributions, 9))).all()
    assert scores.log_odds == pytest.approx(made.calibrator.transform(raw.sum(axis=1) + intercept))


def test_contributions_are_the_true_effects():
    made, data, _ = fitted("none", n=20_000)
    scores = made.score(data.frame)
    for name, effect in world.EFFECTS.items():
        if name.startswith("score"):
            continue  # two columns share one effect
        x = data.frame[name].to_numpy()
        found = scores.contributions[:, scores.features.index(name)]
        assert found == pytest.approx(effect * (x - x.mean()), abs=0.15)
    both = scores.contributions[:, [scores.features.index("score"), scores.features.index("score_old")]].sum(axis=1)
    assert both == pytest.approx(-1.0 * (data.frame["score"] - data.frame["score"].mean()), abs=0.35)


def test_the_baselines_say_whom_they_average():
    everyone, data, _ = fitted()
    assert everyone.score(data.frame).contributions.sum(axis=1).mean() == pytest.approx(0, abs=0.05)
    assert everyone.baseline.in_words() == "the average of all 2,500 applicants that the model learned from"
    near, _, _ = fitted(kind="at_cutoff")
    assert near.baseline.rows >= 30 and near.baseline.kind == "at_cutoff"
    assert metrics.expit(near.score(data.frame).baseline) == pytest.approx(0.18, abs=0.03)
    assert "20.0%" in near.baseline.in_words()
    nobody = model.make_baseline(near.rung, data.frame, probability=np.full(2500, 0.9), cutoff=0.2)
    assert nobody.kind == "all"


@pytest.mark.parametrize("method", ["level", "platt", "beta", "isotonic"])
def test_stored_and_loaded_it_scores_the_same(method, tmp_path):
    made, data, _ = fitted(method)
    stored = artifacts.save(made.to_state(), tmp_path, kind="default_risk", name="m1", key=b"k" * 32)
    again = model.RiskModel.from_state(artifacts.load(stored.path, key=b"k" * 32)[0])
    first, second = made.score(data.frame), again.score(data.frame)
    assert np.array_equal(first.contributions, second.contributions) and np.array_equal(first.probability, second.probability)
    assert again.grades == made.grades and again.schema == made.schema and again.baseline.in_words() == made.baseline.in_words()
    assert again.families.of == made.families.of and again.name == "linear"
    with pytest.raises(model.ModelError, match="version"):
        model.RiskModel.from_state({**made.to_state(), "version": 99})


def test_absent_columns_count_as_missing():
    made, data, _ = fitted()
    few = data.frame[["debt", "amount"]].iloc[:5]
    empty = data.frame.iloc[:5].copy()
    for name in ("score", "score_old", "owner"):
        empty[name] = np.nan
    empty["purpose"] = None
    assert made.score(few).probability == pytest.approx(made.score(empty).probability)
    assert made.score(data.frame.iloc[:0]).probability.shape == (0,)


def test_blocks_do_not_change_scores(monkeypatch):
    made, data, _ = fitted()
    whole = made.score(data.frame, data.submitted_at)
    monkeypatch.setattr(model, "BLOCK", 700)
    pieces = made.score(data.frame, data.submitted_at)
    assert np.array_equal(whole.contributions, pieces.contributions) and np.array_equal(whole.log_odds, pieces.log_odds)


def test_a_score_that_does_not_add_up_is_refused():
    made, data, _ = fitted()
    made.rung.weights_ = made.rung.weights_ * np.nan
    with pytest.raises(model.ModelError, match="miss the score"):
        made.score(data.frame)
    with pytest.raises(model.ModelError, match="baseline has"):
        model.RiskModel(made.rung, made.calibrator, schema=world.SCHEMA, baseline=made.baseline)


def test_the_applicant_at_the_baseline_has_no_contributions():
    made, data, _ = fitted("isotonic")
    means = data.frame[["amount", "debt", "score", "score_old", "owner"]].mean()
    row = pd.DataFrame([means.to_dict() | {"purpose": None}])
    scores = made.score(row)
    assert np.abs(scores.contributions).max() < 1e-6 and scores.log_odds[0] == pytest.approx(scores.baseline)


def test_grades():
    bands = grades.Grades((0.02, 0.04, 0.08, 0.12, 0.2, 0.4))
    assert bands.of(np.array([0.0, 0.02, 0.0399, 0.1, 0.3, 0.4, 1.0])).tolist() == list("ABBDFGG")
    assert bands.describe()[0] == {"grade": "A", "from": 0.0, "to": 0.02} and bands.describe()[-1]["to"] == 1.0
    drawn = grades.Grades.from_probabilities(np.random.default_rng(0).beta(2, 12, 5000))
    shares = np.array([(drawn.of(np.random.default_rng(1).beta(2, 12, 5000)) == letter).mean() for letter in "ABCDEFG"])
    assert shares == pytest.approx([0.1, 0.2, 0.2, 0.2, 0.15, 0.1, 0.05], abs=0.05)
    for odd in (np.full(100, 0.17), np.zeros(10), np.ones(10), np.empty(0)):
        assert len(grades.Grades.from_probabilities(odd).bounds) == 6
    for wrong in ((0.1, 0.2), (0.5, 0.4, 0.3, 0.2, 0.1, 0.05)):
        with pytest.raises(ValueError, match="Grades|grades"):
            grades.Grades(wrong)


def test_points_double_the_odds():
    scale = grades.PointScale()
    assert scale.of(-np.log(50)) == pytest.approx(600)
    assert scale.of(-np.log(100)) == pytest.approx(620) and scale.of(-np.log(25)) == pytest.approx(580)
    made, data, _ = fitted()
    scores = made.score(data.frame)
    assert np.argmax(made.points(scores.log_odds)) == np.argmin(scores.probability)
    with pytest.raises(ValueError):
        grades.PointScale(double=0)


class Lookup(world.Linear):
    """`Linear` with the quick path that some rungs have."""

    name = "linear"

    def one(self, row, submitted_at=None):
        parts, intercept = self.contributions(model.one_row(row, self.schema))
        return float(parts.sum() + intercept), parts[0].tolist()


@pytest.mark.parametrize("method", ["level", "platt", "beta", "isotonic"])
@pytest.mark.parametrize("quick", [False, True])
def test_one_application_scores_as_in_bulk(method, quick):
    made, data, _ = fitted(method)
    if quick:
        made.rung.__class__ = Lookup
    frame = data.frame.copy()
    frame.loc[1, ["score", "purpose"]] = [np.nan, None]
    scores = made.score(frame)
    adverse, favourable = made.adverse(scores, frame), made.favourable(scores, frame)
    for number in range(0, 40):
        row = {name: None if pd.isna(value) else value for name, value in frame.iloc[number].items()}
        one = made.score_one(row, data.submitted_at.iloc[number])
        assert one.probability == pytest.approx(scores.probability[number], abs=1e-12)
        assert one.contributions == pytest.approx(scores.contributions[number].tolist(), abs=1e-9) and one.baseline == scores.baseline
        for single, several in ((made.adverse_one(one, row), adverse[number]), (made.favourable_one(one, row), favourable[number])):
            assert [(r.family, r.column, r.missing, r.value) for r in single] == [(r.family, r.column, r.missing, r.value) for r in several]
            assert [r.effect for r in single] == pytest.approx([r.effect for r in several])
            assert [r.probability_change for r in single] == pytest.approx([r.probability_change for r in several])


def test_dataset_without_dates_scores_too():
    made, data, _ = fitted()
    undated = Dataset(data.frame, data.default, data.schema)
    assert len(made.score(undated.frame).probability) == len(undated)
