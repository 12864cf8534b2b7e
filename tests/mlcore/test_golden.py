from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlcore import artifacts, golden
from mlcore.amount.model import AmountModel
from mlcore.amount.train import train_amount
from mlcore.risk.model import RiskModel
from mlcore.schema import CORE, Column, Schema
from tests.factories import fit_model
from tests.mlcore.risk_eval.world import make_world

KEY = b"k" * 32


@pytest.fixture(scope="module")
def model():
    return fit_model()


def test_golden_rows_span_each_column_and_are_nobodys():
    schema = Schema((Column("a", "number"), Column("b", "category"), Column("c", "date"), Column("d", "boolean")))
    n = 400
    frame = pd.DataFrame(
        {
            "a": np.arange(n, dtype=float),
            "b": pd.Series([f"x{i % 3}" for i in range(n)], dtype=object),
            "c": pd.to_datetime(pd.Series(np.arange(n), dtype=float), unit="D", utc=True),
            "d": np.arange(n) % 2 * 1.0,
        }
    )
    frame.loc[:39, "a"] = np.nan
    drawn = golden.draw(frame, frame["c"], schema)
    made, dates = golden.as_frame(drawn, schema)
    assert len(made) == golden.ROWS and len(dates) == golden.ROWS
    assert made["a"].min() == 40 and made["a"].max() == 399 and made["a"].isna().sum() == 5
    assert set(made["b"].dropna()) == {"x0", "x1", "x2", golden.UNSEEN}
    rows = {tuple(row) for row in frame.astype(str).itertuples(index=False)}
    assert not rows & {tuple(row) for row in made.astype(str).itertuples(index=False)}


def test_a_model_answers_its_golden_rows_after_it_was_stored_and_loaded(model, tmp_path):
    state = model.to_state() | {"golden": golden.record(model, golden.made_up(model.schema), model.schema)}
    saved = artifacts.save(state, tmp_path, kind="default_risk", name="m", key=KEY)
    found, manifest = artifacts.load(saved.path, key=KEY)
    golden.check(RiskModel.from_state(found), found["golden"], model.schema)
    assert manifest.code == artifacts.code_digest() and manifest.libraries["python"]


def test_another_answer_is_named_with_its_size(model, monkeypatch):
    stored = golden.record(model, golden.made_up(model.schema), model.schema)
    whole = type(model.calibrator).transform
    monkeypatch.setattr(type(model.calibrator), "transform", lambda self, z: whole(self, z) + 0.01 * (z > np.median(z)))
    with pytest.raises(golden.GoldenDrift, match=r"\d+ of 48 golden rows .* 0\.01 in log odds"):
        golden.check(model, stored, model.schema)


def test_a_rounding_error_is_no_drift(model, monkeypatch):
    stored = golden.record(model, golden.made_up(model.schema), model.schema)
    stored["answers"]["log_odds"] = stored["answers"]["log_odds"] + 1e-9
    golden.check(model, stored, model.schema)


def test_amount_models_have_golden_rows_too(tmp_path):
    data, _ = make_world(400, seed=3)
    model = train_amount(data).model
    stored = golden.record(model, golden.draw(data.frame, data.submitted_at, model.schema), model.schema)
    golden.check(AmountModel.from_state(model.to_state()), stored, model.schema)
    model.intercepts = model.intercepts + 0.1
    with pytest.raises(golden.GoldenDrift, match="48 of 48"):
        golden.check(model, stored, model.schema)


def test_the_core_schema_can_be_made_up():
    frame, _ = golden.as_frame(golden.made_up(CORE.usable()), CORE.usable())
    assert list(frame.columns) == list(CORE.usable().names) and frame["annual_income"].isna().any()
