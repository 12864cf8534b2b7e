"""What trainings learn from, fetched as columns: the same as row by row."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest

from loans.models import LoanApplication, LoanOutcome, ProtectedAttributes
from loans.queries import frames
from tests.factories import START
from tests.loans.bulk.test_chunk import apply, declare

pytestmark = pytest.mark.django_db


@pytest.fixture
def loans():
    schema = declare()
    ids = apply(120)
    LoanApplication.objects.filter(pk=ids[0]).update(submitted_at=START + timedelta(days=400))  # the order of time is not that of ids
    LoanOutcome.objects.bulk_create(
        LoanOutcome(
            application_id=pk,
            state=("repaid", "default", "immature")[n % 3],
            defaulted_on=date(2026, 3, 1 + n % 28) if n % 3 == 1 else None,
            observed_on=date(2026, 5, 1) if n % 2 else None,
        )
        for n, pk in enumerate(ids[:100])
    )
    rows = [
        ProtectedAttributes(application_id=pk, values={"sex": "fm"[n % 2]} | ({"age": n} if n % 5 else {})) for n, pk in enumerate(ids[:50])
    ]
    ProtectedAttributes.objects.bulk_create(rows)
    return schema


def test_it_holds_what_each_row_says(loans):
    found = frames.outcome_frame(loans)
    rows = list(LoanOutcome.objects.select_related("application__protected").order_by("application__submitted_at", "application_id"))
    assert len(rows) == 100
    alone = frames.scoring_frame([row.pk for row in rows], loans)
    order = [alone.application_ids.index(row.pk) for row in rows]
    pd.testing.assert_frame_equal(found.frame, alone.frame.iloc[order].reset_index(drop=True), check_exact=True)
    assert found.submitted_at.tolist() == [row.application.submitted_at for row in rows] and found.submitted_at.is_monotonic_increasing
    assert found.outcomes["state"].tolist() == [row.state for row in rows]
    for name in ("defaulted_on", "observed_on"):
        days = [None if pd.isna(moment) else moment.date() for moment in found.outcomes[name]]
        assert days == [getattr(row, name) for row in rows]
    held = [getattr(row.application, "protected", None) for row in rows]
    sexes = [None if pd.isna(value) else value for value in found.protected["sex"]]
    assert sexes == [None if each is None else each.values["sex"] for each in held]
    ages = [float("nan") if each is None else each.values.get("age", float("nan")) for each in held]
    pd.testing.assert_series_equal(found.protected["age"], pd.Series(ages, name="age"), check_dtype=False)
    assert not found.synthetic and found.undecided == 120


def test_the_latest_only_and_since_when(loans):
    whole = frames.outcome_frame(loans)
    latest = frames.outcome_frame(loans, most=7)
    assert latest.submitted_at.tolist() == whole.submitted_at.tolist()[-7:]
    since = whole.submitted_at[90]
    assert frames.outcome_frame(loans, since=since).submitted_at.tolist() == whole.submitted_at.tolist()[90:]
    assert len({whole.fingerprint, latest.fingerprint}) == 2 and frames.outcome_frame(loans).fingerprint == whole.fingerprint


def test_none_at_all():
    assert len(frames.outcome_frame(frames.schema_in_force().usable()).frame) == 0
