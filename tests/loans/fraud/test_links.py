"""The database's link features are those of the bulk computation, to the last one; and nothing later is ever seen."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from django.db import connection

from loans.models import ApplicationLink, FraudLabel, LoanApplication
from loans.queries import fraud_links
from loans.services.fraud import links
from mlcore.fraud import facts
from mlcore.fraud import links as bulk
from mlcore.fraud.facts import KINDS, LINK_NAMES
from tests.factories import START
from tests.loans.fraud.conftest import apply

pytestmark = pytest.mark.django_db


def made_up(seed: int, n: int, values: int) -> None:
    """Applications with few identifiers, few instants and some findings, straight into the tables."""
    rng = np.random.default_rng(seed)
    rows = LoanApplication.objects.bulk_create(
        [
            LoanApplication(external_reference=f"L-{i}", amount=1, submitted_at=START + timedelta(hours=7 * int(rng.integers(n))))
            for i in range(n)
        ]
    )
    made = []
    for row in rows:
        digests = {kind: bytes([kind, int(rng.integers(values * (1 + kind)))]) * 8 for kind in range(len(KINDS)) if rng.random() < 0.6}
        for kind, digest in digests.items():
            made.append(
                ApplicationLink(application=row, kind=kind, digest=digest, submitted_at=row.submitted_at, name=digests.get(facts.NAME))
            )
    ApplicationLink.objects.bulk_create(made)
    for row in rng.choice(rows, n // 5, replace=False):
        since = row.submitted_at + timedelta(hours=7 * int(rng.integers(10)))
        until = None if rng.random() < 0.5 else since + timedelta(hours=7 * int(rng.integers(1, 20)))
        FraudLabel.objects.create(application=row, fraud=True, known_at=since, learn_from=since, withdrawn_at=until)


def in_bulk() -> pd.DataFrame:
    rows = list(LoanApplication.objects.order_by("pk").values_list("pk", "submitted_at"))
    times = pd.Series(pd.to_datetime([at for _, at in rows], utc=True), index=[pk for pk, _ in rows])
    table = fraud_links.link_table(times)
    made = bulk.link_features(table.at, table.identifiers, table.frauds).frame
    return made.set_axis(table.application_ids)


def one_by_one(application_ids: list[int]) -> pd.DataFrame:
    made = fraud_links.link_features(application_ids)
    return pd.DataFrame.from_dict(made, orient="index", columns=list(LINK_NAMES), dtype=float).astype(np.float32)


@pytest.mark.parametrize(("seed", "n", "values"), [(1, 120, 6), (2, 150, 2)])
def test_incremental_is_bulk(seed, n, values):
    made_up(seed, n, values)
    whole = in_bulk()
    pd.testing.assert_frame_equal(one_by_one(whole.index.tolist()), whole)


def test_a_group_beyond_the_limit_is_bulk_too(monkeypatch):
    for module in (fraud_links, bulk):
        monkeypatch.setattr(module, "COMPONENT_LIMIT", 5)
    made_up(3, 60, 4)
    whole = in_bulk()
    assert (whole["component_size"] == 6).any()
    pd.testing.assert_frame_equal(one_by_one(whole.index.tolist()), whole)


def test_what_comes_later_is_not_seen():
    made_up(4, 80, 3)
    ids = list(LoanApplication.objects.order_by("submitted_at", "pk").values_list("pk", flat=True))
    early, late = ids[:40], LoanApplication.objects.get(pk=ids[39])
    before = one_by_one(early)
    with connection.cursor() as cursor:
        # Everything later is renamed, moved further off, or found to be fraud from now on.
        cursor.execute("DELETE FROM loans_fraudlabel WHERE known_at > %s", [late.submitted_at])
        cursor.execute("UPDATE loans_fraudlabel SET withdrawn_at = NULL WHERE withdrawn_at > %s", [late.submitted_at])
        cursor.execute(
            "UPDATE loans_applicationlink SET digest = digest || '\\x00', submitted_at = submitted_at + interval '9 days'"
            " WHERE submitted_at > %s",
            [late.submitted_at],
        )
    unknown = [pk for pk in ids if not FraudLabel.objects.filter(application_id=pk).exists()]
    for pk in unknown:
        FraudLabel.objects.create(application_id=pk, fraud=True, known_at=late.submitted_at, learn_from=late.submitted_at)
    pd.testing.assert_frame_equal(one_by_one(early), before)


def test_identifiers_meet_however_they_are_spelt_and_nothing_readable_is_stored(device):
    one = apply(0, name="Änn Able", phone="(555) 010-0199", device="dev 1")
    other = apply(10, name="ann  able", phone="555 010 0199", device="DEV1")
    assert links.link_waiting() == 2
    of_one = set(ApplicationLink.objects.filter(application=one).values_list("kind", "digest"))
    of_other = set(ApplicationLink.objects.filter(application=other).values_list("kind", "digest"))
    assert {(kind, bytes(digest)) for kind, digest in of_one} == {(kind, bytes(digest)) for kind, digest in of_other}
    assert {KINDS[kind] for kind, _ in of_one} == {"name", "phone", "device"}
    assert all(len(bytes(digest)) == 16 for _, digest in of_one)


def test_a_second_phone_declared_as_an_attribute_meets_the_first():
    from loans.models import AttributeDefinition

    AttributeDefinition.objects.create(name="device_id", kind="category", link_kind="phone")
    apply(0, name="Ann", phone="555 0100")
    other = apply(10, name="Bob", device="5550100")
    links.link_waiting()
    assert fraud_links.link_features([other.pk])[other.pk]["phone_1h"] == 1


def test_linking_twice_changes_nothing():
    apply(0, phone="1")
    assert (links.link_waiting(), links.link_waiting()) == (1, 0)
    assert links.relink() == 1
    assert links.link_waiting() == 1 and ApplicationLink.objects.count() == 1


def test_without_identifiers_nothing_applies():
    application = apply(0)
    links.link_waiting()
    assert set(fraud_links.link_features([application.pk])[application.pk].values()) == {None}
