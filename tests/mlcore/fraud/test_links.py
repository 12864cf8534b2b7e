"""Links: as their definition says, from the past alone, and fast where one identifier is everywhere."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.fraud import links, velocity
from mlcore.fraud.facts import COMPONENT_LIMIT, HUB_LIMIT, KINDS, LINK_NAMES
from mlcore.fraud.links import NEVER, KnownFrauds, link_features
from mlcore.fraud.velocity import Identifiers
from tests.mlcore.fraud.brute import features_of

HOUR = 3_600_000_000


def identifiers(ids: list[dict[str, str]]) -> Identifiers:
    return Identifiers.from_columns({kind: np.array([each.get(kind) for each in ids] + [None], dtype=object)[:-1] for kind in KINDS})


def known(frauds: list[tuple[int, int, int]]) -> KnownFrauds:
    return KnownFrauds(*(np.array([each[i] for each in frauds], dtype=np.int64) for i in range(3)))


def made_up(seed: int, n: int, values: int = 6) -> tuple[list[int], list[dict[str, str]], list[tuple[int, int, int]]]:
    """Few values and few instants, so that everything is shared and ties abound."""
    rng = np.random.default_rng(seed)
    at = (rng.integers(0, n, n) * 7 * HOUR).tolist()
    ids = [{kind: f"{kind[0]}{rng.integers(values * (1 + i))}" for i, kind in enumerate(KINDS) if rng.random() < 0.6} for _ in range(n)]
    frauds = []
    for row in np.flatnonzero(rng.random(n) < 0.2).tolist():
        since = at[row] + int(rng.integers(0, 10)) * 7 * HOUR
        frauds.append((row, since, NEVER if rng.random() < 0.6 else since + int(rng.integers(1, 20)) * 7 * HOUR))
        if rng.random() < 0.3 and frauds[-1][2] != NEVER:
            frauds.append((row, frauds[-1][2] + 7 * HOUR, NEVER))
    return at, ids, frauds


def compare(at: list[int], ids: list[dict[str, str]], frauds: list[tuple[int, int, int]]) -> None:
    frame = link_features(np.array(at, dtype=np.int64), identifiers(ids), known(frauds)).frame
    assert tuple(frame.columns) == LINK_NAMES
    for row in range(len(at)):
        wanted = pd.Series(features_of(row, at, ids, frauds), dtype=np.float32)
        pd.testing.assert_series_equal(frame.iloc[row], wanted, check_names=False, obj=f"row {row}")


@pytest.mark.parametrize("seed", [1, 2])
def test_as_the_definition_says(seed):
    compare(*made_up(seed, 60))


def test_as_the_definition_says_with_hubs():
    compare(*made_up(3, 120, values=2))


@given(st.integers(0, 10**6), st.integers(0, 14))
@settings(max_examples=25, deadline=None)
def test_as_the_definition_says_for_any_world(seed, n):
    compare(*made_up(seed, n, values=2))


def test_chunks_change_nothing(monkeypatch):
    at, ids, frauds = made_up(4, 80, values=3)
    whole = link_features(np.array(at), identifiers(ids), known(frauds)).frame
    monkeypatch.setattr(links, "PAIRS_AT_ONCE", 7)
    pd.testing.assert_frame_equal(link_features(np.array(at), identifiers(ids), known(frauds)).frame, whole)


@pytest.mark.parametrize("seed", range(5))
def test_the_future_changes_nothing(seed):
    """Everything after a cut is shuffled, renamed, cut off or found to be fraud: no feature before the cut moves."""
    at, ids, frauds = made_up(10 + seed, 90, values=3)
    cut = sorted(at)[45]
    past = np.array(at) <= cut
    before = link_features(np.array(at), identifiers(ids), known(frauds)).frame[past]
    rng = np.random.default_rng(seed)
    later = np.flatnonzero(~past)
    other_at, other_ids = list(at), list(ids)
    for row in later:
        other_at[row] = cut + int(rng.integers(1, 10**9))
        other_ids[row] = ids[int(rng.integers(len(ids)))]
    found = [(row, since, until if until < cut else NEVER) for row, since, until in frauds if since < cut]
    found += [(int(row), cut, NEVER) for row in rng.integers(0, len(at), 30)]
    after = link_features(np.array(other_at), identifiers(other_ids), known(found)).frame[past]
    pd.testing.assert_frame_equal(before, after)
    short = np.flatnonzero(past)
    moved = {int(row): number for number, row in enumerate(short)}
    kept = [(moved[row], since, until) for row, since, until in frauds if row in moved]
    alone = link_features(np.array(at)[short], identifiers([ids[row] for row in short]), known(kept)).frame
    pd.testing.assert_frame_equal(before.reset_index(drop=True), alone)


def test_the_order_of_the_rows_changes_nothing():
    at, ids, frauds = made_up(20, 70, values=4)
    at = [HOUR * number for number in np.random.default_rng(0).permutation(len(at)).tolist()]  # without ties no order is left to rows
    order = np.random.default_rng(1).permutation(len(at))
    place = np.argsort(order)
    whole = link_features(np.array(at), identifiers(ids), known(frauds)).frame
    mixed = link_features(
        np.array(at)[order], identifiers([ids[i] for i in order]), known([(int(place[row]), a, b) for row, a, b in frauds])
    ).frame
    pd.testing.assert_frame_equal(mixed, whole.iloc[order].reset_index(drop=True))


def test_ten_thousand_applications_with_one_phone_are_fast_and_said():
    n = 10_000
    ids = [{"phone": "1", "name": f"n{i}"} for i in range(n)]
    began = time.process_time()
    made = link_features(np.arange(n) * 1_000_000, identifiers(ids))
    assert time.process_time() - began < 2
    assert made.frame["component_size"].max() == HUB_LIMIT - 1
    assert made.frame["phone_1h"].iloc[-1] == velocity.COUNT_LIMIT
    assert "10,000" in made.warnings[0] and "hub" in made.warnings[0]


def test_a_group_beyond_the_limit_is_called_larger_and_nothing_more():
    n = COMPONENT_LIMIT + 10
    ids = [{"phone": f"p{i // 2}", "email": f"e{(i + 1) // 2}"} for i in range(n)]
    frame = link_features(np.arange(n) * HOUR, identifiers(ids), known([(0, 1, NEVER)])).frame
    assert frame["component_size"].iloc[COMPONENT_LIMIT] == COMPONENT_LIMIT
    assert frame["component_frauds"].iloc[COMPONENT_LIMIT] == 1
    assert frame["component_size"].iloc[-1] == COMPONENT_LIMIT + 1
    assert np.isnan(frame["component_frauds"].iloc[-1]) and np.isnan(frame["component_age_days"].iloc[-1])


def test_nothing_at_all_and_nothing_shared():
    assert link_features(np.empty(0, dtype=np.int64), identifiers([])).frame.empty
    frame = link_features(np.array([1, 2]), identifiers([{}, {}])).frame
    assert frame.isna().all().all()


def test_dates_in_the_future_are_said():
    made = link_features(np.array([1, 10**15]), identifiers([{}, {}]), now=10**14)
    assert made.warnings == ["1 applications are dated in the future; each is linked to what is dated before it."]


def test_an_application_without_a_time_is_refused():
    with pytest.raises(ValueError, match="1 applications have no time"):
        links.microseconds(pd.Series(pd.to_datetime(["2026-01-01", None], utc=True)))
