"""On the real LendingClub file, out of time: learned from loans issued before 2010, judged on those of 2010.

Needs `../shared/data`. The yardstick is an untuned HistGradientBoostingClassifier on the same columns and split.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlcore import metrics
from mlcore.labels import label
from mlcore.risk import ladder
from mlcore.risk.base import Dataset
from mlcore.risk.train import train_default_risk
from mlcore.schema import CORE

FILE = Path(__file__).parents[3].parent / "shared" / "data" / "lendingclub_2007_2010.csv.gz"
CUT = "2010-01-01"
RUNGS = ("logistic", "pairwise")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILE.exists(), reason=f"{FILE} is not here; the real data lie outside the project"),
]

YEARS = {"< 1 year": 6, "1 year": 12, **{f"{years} years": 12 * years for years in range(2, 10)}, "10+ years": 120}
NUMBERS = {
    "loan_amnt": "amount",
    "term": "term_months",
    "annual_inc": "annual_income",
    "open_acc": "open_accounts",
    "total_acc": "total_accounts",
    "delinq_2yrs": "delinquencies_24m",
    "pub_rec": "public_records",
    "inq_last_6mths": "inquiries_6m",
    "revol_bal": "revolving_balance",
    "revol_util": "revolving_utilisation",
}


@pytest.fixture(scope="module")
def data():
    raw = pd.read_csv(FILE, low_memory=False)
    when = pd.to_datetime(raw["issue_d"], utc=True)
    frame = pd.DataFrame({ours: raw[theirs].astype(float) for theirs, ours in NUMBERS.items()})
    frame["debt_to_income"] = raw["dti"] / 100
    frame["employment_months"] = raw["emp_length"].map(YEARS).astype(float)
    frame["months_since_delinquency"] = raw["mths_since_last_delinq"].where(raw["mths_since_last_delinq"] > 0)
    frame["credit_history_months"] = (when - pd.to_datetime(raw["earliest_cr_line"], utc=True)).dt.days / 30.44
    for theirs, ours in {"purpose": "purpose", "home_ownership": "home_ownership", "addr_state": "region"}.items():
        frame[ours] = raw[theirs].astype(object).where(raw[theirs].notna(), None)
    status = raw["loan_status"].map(lambda value: "default" if "Charged Off" in value else "repaid" if "Fully Paid" in value else None)
    labels = label(status, submitted_at=when)
    assert labels.known.all() and len(raw) == 20_814
    return Dataset(frame, labels.default, CORE.only(frame.columns), when, frame["amount"].to_numpy())


@pytest.fixture(scope="module")
def earlier(data):
    return (data.submitted_at < pd.Timestamp(CUT, tz="UTC")).to_numpy()


@pytest.fixture(scope="module")
def against(data, earlier):
    from sklearn.ensemble import HistGradientBoostingClassifier

    coded = data.frame.copy()
    for name in ("purpose", "home_ownership", "region"):
        coded[name] = pd.Categorical(coded[name])
    yardstick = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0).fit(coded[earlier], data.default[earlier])
    return metrics.auc(data.default[~earlier], yardstick.predict_proba(coded[~earlier])[:, 1])


@pytest.mark.parametrize("name", RUNGS)
def test_one_fit_holds_its_own_against_untuned_boosting(data, earlier, against, name):
    train, test = data.take(earlier), data.take(~earlier)
    rung = ladder.make(name, data.schema).fit(train.frame, train.default, submitted_at=train.submitted_at)
    assert metrics.auc(test.default, rung.log_odds(test.frame, test.submitted_at)) >= against - 0.005


def test_the_champion_holds_its_own_against_untuned_boosting(data, earlier, against):
    result = train_default_risk(data, rungs=[name for name in RUNGS if name in ladder.LADDER], cut=CUT)
    report = result.report
    champion = report["champion"]["figures"]
    print(f"\nAUC out of time: {report['champion']['title']} {champion['auc']}, untuned boosting {against:.4f}, prior .5")
    print(f"Majority accuracy {report['baselines']['majority_accuracy']:.4f}, O/E {champion['oe']}, slope {champion['slope']}")
    assert champion["auc"]["value"] >= against - 0.005
    assert champion["auc"]["low"] > 0.5 == report["baselines"]["prior_auc"]
    assert report["split"]["test"] == report["split"]["test"] | {"rows": int((~earlier).sum()), "from": "2010-01-01", "until": "2010-12-01"}
    assert report["baselines"]["majority_accuracy"] == pytest.approx(1 - data.default[~earlier].mean(), abs=1e-5)
    assert 0.9 < champion["oe"]["value"] < 1.1
    json.dumps(report, allow_nan=False)

    scores = result.model.score(data.frame, data.submitted_at)
    assert np.abs(scores.baseline + scores.contributions.sum(axis=1) - scores.log_odds).max() < 1e-6
    assert data.default[~earlier].sum() / scores.probability[~earlier].sum() == pytest.approx(1, abs=0.05)
    assert max(len(reasons) for reasons in result.model.adverse(scores)) == 4
