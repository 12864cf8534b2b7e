"""The lenders' real files, where they lie beside the project; they are never copied into it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from loans.models import Applicant, LoanApplication, LoanOutcome, ScoringJob, Status
from loans.services.imports import load_mapping, parse_mapping, run_import
from loans.services.imports.draft import draft_mapping

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
pytestmark = [pytest.mark.django_db, pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not here (../shared/data)")]


def test_lendingclub():
    batch = run_import(DATA / "lendingclub_2007_2010.csv.gz", mapping=load_mapping("lendingclub"), open_since="last-month")
    assert (batch.rows_read, batch.rows_loaded, batch.rows_rejected) == (20_814, 20_814, 0)
    assert batch.open_since == date(2010, 12, 1)
    assert ScoringJob.objects.count() == LoanApplication.objects.filter(status=Status.RECEIVED).count() == 1_335
    states = dict(LoanOutcome.objects.order_by("state").values_list("state").annotate(n=_count()))
    assert sum(states.values()) == 20_814 - 1_335
    assert 0.14 < states["default"] / sum(states.values()) < 0.16
    first = LoanApplication.objects.order_by("pk").first()
    assert (first.amount, first.debt_to_income, first.revolving_utilisation, first.employment_months) == (
        Decimal(20_000),
        0.1404,
        0.537,
        120,
    )
    assert (first.term_months, first.credit_history_months, first.months_since_delinquency) == (36, 59, None)
    assert (first.outcome.state, first.outcome.observed_on, first.applicant.employer) == ("repaid", date(2009, 7, 1), "us air force")
    assert not LoanApplication.objects.filter(outcome__defaulted_on__lt=date(2007, 6, 1)).exists()
    # what says how a loan ended stands in no feature
    assert set(first.attributes) <= {attribute.name for attribute in load_mapping("lendingclub").attributes}


@pytest.mark.slow
def test_sba():
    batch = run_import(DATA / "sba_21k.csv.gz", mapping=load_mapping("sba"))
    assert (batch.rows_read, batch.rows_loaded, batch.rows_rejected) == (21_077, 21_077, 0)
    assert dict(LoanOutcome.objects.values_list("state").annotate(n=_count())) == {"repaid": 10_580, "default": 10_497}
    one = LoanApplication.objects.get(external_reference="sba-1846335005")
    assert (one.amount, one.region, one.term_months, one.submitted_at.date()) == (Decimal(25_000), "OR", None, date(2006, 5, 30))
    assert (one.outcome.defaulted_on, one.outcome.loss) == (date(2014, 4, 17), Decimal(21_301))
    assert one.attributes["sector"] == "23"
    assert one.attributes["existing_business"] is True
    assert (one.attributes["franchise"], one.attributes["employees"]) == (False, 4)
    assert Applicant.objects.matching("Raymond C Miller").get() == one.applicant


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lendingclub_2007_2010.csv.gz", "sba_21k.csv.gz", "taiwan_credit_card_clients.csv.gz"])
def test_drafts_for_real_files_leave_the_outcome_and_what_comes_after_it_out(name):
    mapping = parse_mapping(draft_mapping(DATA / name), name="x")
    later = [
        "funded_amnt",
        "total_pymnt",
        "recoveries",
        "last_pymnt_d",
        "chg_off_date",
        "balance_gross",
        "disbursement_gross",
        "int_rate",
        "grade",
        "installment",
    ]
    features = {rule.column for rule in mapping.application_rules()}
    assert not features & set(later)
    assert mapping.outcome.column in ("loan_status", "mis_status", "default.payment.next.month")
    assert len(mapping.outcome.default) in (1, 2)


def _count():
    from django.db.models import Count

    return Count("*")
