"""Only closed windows are labels; rejected is never good."""

import numpy as np
import pandas as pd
import pytest

from mlcore.labels import LabelPolicy, label

ROWS = pd.DataFrame(
    [
        # status, submitted, outcome, rejected → with a window of 12 months as of 2021-06-30
        ("default", "2020-01-10", "2020-08-01", False, "default"),
        ("default", "2020-01-10", "2021-03-01", False, "repaid"),  # after the window's end
        ("default", "2020-01-10", None, False, "default"),  # no date: inside
        ("repaid", "2020-01-10", "2020-03-01", False, "repaid"),
        ("open", "2020-01-10", None, False, "repaid"),  # window closed without a default
        ("default", "2020-12-01", "2021-02-01", False, "immature"),  # early default of an open window
        ("repaid", "2020-12-01", "2021-02-01", False, "immature"),
        (None, "2021-06-01", None, False, "immature"),
        (None, "2020-01-10", None, True, "rejected"),
        ("repaid", "2020-01-10", "2020-03-01", True, "rejected"),  # contradiction
        ("default", None, "2020-08-01", False, "unknown"),
        ("default", "2020-01-10", "2019-08-01", False, "unknown"),  # outcome before the application
    ],
    columns=["status", "submitted_at", "outcome_at", "rejected", "expected"],
)


def labels(policy, rows=ROWS):
    return label(rows.status, submitted_at=rows.submitted_at, outcome_at=rows.outcome_at, rejected=rows.rejected, policy=policy)


def test_window():
    made = labels(LabelPolicy(12, as_of=pd.Timestamp("2021-06-30", tz="UTC")))
    assert made.reason.tolist() == ROWS.expected.tolist()
    assert made.default.tolist() == [{"default": 1, "repaid": 0}.get(each, -1) for each in ROWS.expected]
    assert made.known.sum() == 5
    report = made.report()
    assert report["counts"] == {"default": 2, "repaid": 3, "rejected": 2, "immature": 3, "embargo": 0, "unknown": 2}
    assert sum(report["counts"].values()) == report["rows"] == 12
    assert report["policy"]["window_months"] == 12 and "12 months" in report["in_words"]
    assert (
        len(made.warnings) == 3
        and any("no date" in each for each in made.warnings)
        and any("rejected and yet" in each for each in made.warnings)
    )


def test_as_of_defaults_to_the_latest_date_seen():
    made = labels(LabelPolicy(12))
    assert made.policy.as_of == pd.Timestamp("2021-06-01", tz="UTC")


def test_embargo():
    made = labels(LabelPolicy(12, embargo_days=600, as_of=pd.Timestamp("2021-06-30", tz="UTC")))
    assert set(made.reason[:8]) == {"embargo"} and made.known.sum() == 0
    assert made.reason[8] == "rejected"


def test_without_a_window_the_final_outcome_counts():
    made = labels(LabelPolicy())
    assert made.default.tolist()[:8] == [1, 1, 1, 0, -1, 1, 0, -1] and made.default[8] == -1 and made.default[9] == -1
    assert any("early finishers" in each for each in made.warnings)
    bare = label(pd.Series(["default", "repaid", "running"]))
    assert bare.default.tolist() == [1, 0, -1] and bare.warnings == () and bare.policy.as_of is None


def test_dates_that_the_policy_needs():
    with pytest.raises(ValueError, match="need the dates"):
        label(pd.Series(["default"]), policy=LabelPolicy(12))


def test_maturity_removes_the_bias_of_young_vintages():
    """True rate .3 within 12 months, everywhere. Counting young loans as they stand would see far less or far more."""
    rng = np.random.default_rng(0)
    n = 20_000
    start = pd.Series(pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(rng.uniform(0, 730, n), unit="D"))
    as_of = pd.Timestamp("2022-01-01", tz="UTC")
    bad = rng.random(n) < 0.3
    happens = start + pd.to_timedelta(rng.uniform(0, 360, n), unit="D")
    seen = bad & (happens <= as_of).to_numpy()
    status = pd.Series(np.where(seen, "default", "open"))
    made = label(status, submitted_at=start, outcome_at=happens.where(seen), policy=LabelPolicy(12, as_of=as_of))
    assert made.default[made.known].mean() == pytest.approx(0.3, abs=0.01)
    assert seen.mean() < 0.27
