"""Reasons are the strongest families, at most four, and never a protected characteristic."""

import numpy as np
import pandas as pd
import pytest

from mlcore.metrics import expit
from mlcore.risk import reasons
from mlcore.risk.base import Scores
from mlcore.schema import Column, Schema

SCHEMA = Schema(Column(f"x{number}", "number", f"Title {number}", family="pair" if number in (1, 4) else "") for number in range(7))


def scores(n=300, seed=0):
    contributions = np.random.default_rng(seed).normal(scale=0.5, size=(n, 7))
    contributions[0] = -1.0  # nothing against this one
    contributions[1] = [0.005, 0, 0, 0, 0, 0.003, -2]
    log_odds = -2 + contributions.sum(axis=1)
    return Scores(expit(log_odds), log_odds, contributions, SCHEMA.names, -2.0)


@pytest.mark.parametrize("side", ["adverse", "favourable"])
def test_the_strongest_families_by_brute_force(side):
    made, families = scores(), reasons.Families.of_schema(SCHEMA)
    given = reasons.reasons(made, families, side=side)
    sign = 1 if side == "adverse" else -1
    for row in range(2, 300):
        sums = {}
        for j, column in enumerate(SCHEMA):
            sums[column.family_key] = sums.get(column.family_key, 0) + made.contributions[row, j]
        expected = sorted((name for name in sums if sign * sums[name] >= reasons.LEAST_EFFECT), key=lambda name: -sign * sums[name])[:4]
        assert [reason.family for reason in given[row]] == expected
        for reason in given[row]:
            assert reason.effect == pytest.approx(sums[reason.family])
            assert reason.probability_change == pytest.approx(made.probability[row] - expit(made.log_odds[row] - sums[reason.family]))
            assert sign * reason.probability_change > 0
    assert max(len(row) for row in given) == 4


def test_no_reason_is_invented_and_a_small_one_is_kept_when_alone():
    given = reasons.reasons(scores(), reasons.Families.of_schema(SCHEMA))
    assert given[0] == []
    assert [reason.family for reason in given[1]] == ["x0"]


def test_a_reason_names_its_leading_column_and_value():
    made = scores()
    frame = pd.DataFrame({name: np.arange(300.0) for name in SCHEMA.names})
    frame.loc[5, "x1"] = np.nan
    made.contributions[5] = [0, 1.0, 0, 0, 0.5, 0, 0]
    made.contributions[6] = [0, 0.2, 0, 0, 0.5, 0, 0]
    given = reasons.reasons(made, reasons.Families.of_schema(SCHEMA), frame=frame)
    assert (given[5][0].family, given[5][0].column, given[5][0].missing, given[5][0].value) == ("pair", "x1", True, None)
    assert (given[6][0].column, given[6][0].title, given[6][0].missing, given[6][0].value) == ("x4", "Title 4", False, 6.0)
    assert given[6][0].to_json()["effect"] == pytest.approx(0.7)


def test_protected_characteristics_give_no_reasons():
    with pytest.raises(ValueError, match="Protected.*sex"):
        reasons.Families.of_schema(Schema([Column("sex", "category", protected=True)]))


def test_columns_that_move_together_become_one_family():
    rng = np.random.default_rng(0)
    a = rng.normal(size=2000)
    frame = pd.DataFrame({"a": a, "b": np.exp(a + 0.1 * rng.normal(size=2000)), "c": rng.normal(size=2000), "d": -a, "e": np.nan, "f": "x"})
    frame.loc[:300, "b"] = np.nan
    schema = Schema([*(Column(name, "number") for name in "abcde"), Column("f", "category")])
    merged = reasons.correlated(frame, schema)
    assert merged == {"b": "a", "d": "a"}
    families = reasons.Families.of_schema(schema, merged)
    assert families.names == ("a", "c", "e", "f") and families.of["d"] == "a"
    again = reasons.Families.from_state(families.to_state())
    assert again.of == families.of and again.titles == families.titles and np.array_equal(again.index, families.index)


def test_fewer_families_than_reasons():
    schema = Schema([Column("x", "number"), Column("y", "number")])
    contributions = np.array([[0.5, 1.0], [-1.0, 0.2]])
    made = Scores(expit(contributions.sum(axis=1)), contributions.sum(axis=1), contributions, schema.names, 0.0)
    given = reasons.reasons(made, reasons.Families.of_schema(schema))
    assert [[reason.family for reason in row] for row in given] == [["y", "x"], ["y"]]


def test_reasons_are_given_in_bulk_quickly():
    import time

    contributions = np.random.default_rng(0).normal(size=(100_000, 20))
    schema = Schema(Column(f"x{number}", "number", family=f"f{number // 2}") for number in range(20))
    made = Scores(expit(contributions.sum(axis=1)), contributions.sum(axis=1), contributions, schema.names, 0.0)
    started = time.perf_counter()
    reasons.strongest(made, reasons.Families.of_schema(schema))
    assert time.perf_counter() - started < 1.0
