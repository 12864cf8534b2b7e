"""The made-up people: nobody's numbers, rings as planted, hubs that are innocent."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mlcore.synth import World, generate
from mlcore.synth.people import phones
from mlcore.synth.plan import RING_KEYS, make_plan

WORLD = World(seed=4, applications=12_000)
KEYS = ("phone", "bank_account", "address", "device_id")


@pytest.fixture(scope="module")
def made():
    return generate(WORLD)


@pytest.fixture(scope="module")
def links(made):
    """Identifiers as they compare: one spelling for each phone."""
    frame = made.applicant.copy()
    frame["phone"] = ["".join(filter(str.isdigit, text))[-10:] for text in frame["phone"]]
    frame["device_id"] = made.frame["device_id"]
    return frame


def test_nobody_can_be_reached(made):
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+\d+@example\.(com|org|net)", text) for text in made.applicant["email"].dropna())
    assert all(re.fullmatch(r"(\+1 )?\(?[2-9]\d\d\)?[ -]{1,2}555[ -]01\d\d", text) for text in made.applicant["phone"])
    assert made.applicant["national_id"].dropna().str.startswith("000-").all()
    assert made.applicant["bank_account"].dropna().str.startswith("XX00 DEMO ").all()


def test_phones_beyond_the_reserved_have_area_codes_that_do_not_exist():
    holder = np.arange(71_000, 75_000)
    made = phones(holder, np.ones(len(holder), dtype=int), 0)
    assert len(set(made)) == len(holder)
    assert all(text[4:10] == "555-01" for text in made[:1_000])
    assert all(text[0] in "01" for text in made[1_000:])


def test_distinct_people_share_nothing_by_accident(made, links):
    alone = (made.fraud_ring < 0) & (made.hub < 0)
    _, first = np.unique(made.person[alone], return_index=True)
    for name in ("email", "phone", "national_id", "bank_account", "device_id"):
        values = links.loc[alone, name].iloc[first].dropna()
        assert values.is_unique, name


def test_some_people_apply_again_and_stay_who_they_are(made):
    again = made.person != made.number
    assert 0.02 < again.mean() < 0.06
    earlier = np.searchsorted(made.number, made.person[again])
    for name in ("name", "phone", "birth_date", "national_id"):
        now, then = made.applicant[name].to_numpy()[again], made.applicant[name].to_numpy()[earlier]
        if name == "phone":
            now, then = (["".join(filter(str.isdigit, text))[-10:] for text in texts] for texts in (now, then))
        both = [(a, b) for a, b in zip(now, then, strict=True) if a and b]
        assert all(a == b for a, b in both), name
    income = made.frame["annual_income"].to_numpy()
    assert np.ma.corrcoef(np.ma.masked_invalid(income[again]), np.ma.masked_invalid(income[earlier]))[0, 1] > 0.6


def test_rings_are_planted_as_told(made, links):
    rings = np.unique(made.fraud_ring[made.fraud_ring >= 0])
    assert abs((made.fraud_ring >= 0).mean() - WORLD.ring_share) < 0.003
    kinds = make_plan(WORLD).ring_kind
    for ring in rings:
        rows = np.flatnonzero(made.fraud_ring == ring)
        assert WORLD.ring_sizes[0] <= len(rows) <= WORLD.ring_sizes[1]
        times = made.submitted_at.iloc[rows]
        assert (times.max() - times.min()).days < WORLD.ring_days
        assert made.frame["region"].iloc[rows].nunique() == 1
        assert made.applicant["name"].iloc[rows].nunique() > 1
        for key in KEYS:
            # What the ring shares, all its loans share; what it does not, none do, nor does anybody outside.
            assert links[key].iloc[rows].nunique() == (1 if key in RING_KEYS[kinds[ring]] else len(rows)), key
        for key in RING_KEYS[kinds[ring]]:
            assert (links[key] == links[key].iloc[rows[0]]).sum() == len(rows)
    fraud = made.fraud_ring >= 0
    assert made.default[fraud].mean() > 0.8
    assert made.true_hidden[fraud].min() > 5 and not made.true_hidden[~fraud].any()


def test_some_rings_may_be_at_work_when_the_world_ends():
    world = WORLD.but(rings_at_end=2)
    usual, made = make_plan(WORLD), make_plan(world)
    at_end = [
        ring for ring in range(2) if made.moment[made.ring == ring].min() >= np.datetime64(world.end) - np.timedelta64(world.ring_days, "D")
    ]
    assert at_end == [0, 1]
    assert (np.sort(made.ring) == np.sort(usual.ring)).all() and np.isin(made.moment[made.ring >= 2], usual.moment).all()


def test_hubs_are_many_and_innocent(made, links):
    hubs = np.unique(made.hub[made.hub >= 0])
    assert 4 <= len(hubs) <= 8
    for hub in hubs:
        rows = made.hub == hub
        key = ("phone", "device_id", "address")[hub % 3]
        assert rows.sum() > 20
        assert links.loc[rows, key].nunique() == 1
        assert (links[key] == links.loc[rows, key].iloc[0]).sum() == rows.sum()
        assert links.loc[rows, "bank_account"].nunique() == rows.sum()
        assert (made.submitted_at[rows].max() - made.submitted_at[rows].min()).days > 365
        if key == "phone":
            assert made.applicant.loc[rows, "employer"].nunique() == 1
    assert made.default[made.hub >= 0].mean() < 0.25


def test_a_world_without_frauds_hubs_or_repeats():
    made = generate(World(applications=1_000, ring_share=0, hub_share=0, repeat_share=0))
    assert (made.fraud_ring < 0).all() and (made.hub < 0).all() and (made.person == made.number).all()
    assert not made.true_hidden.any()
