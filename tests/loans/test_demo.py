"""The synthetic desk: what seed_demo writes, what it leaves alone, and who may log in."""

from __future__ import annotations

from datetime import date
from io import StringIO

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command

from loans.models import (
    ApiKey,
    Applicant,
    AttributeDefinition,
    Decision,
    LoanApplication,
    LoanOutcome,
    LoanProduct,
    Prediction,
    ProtectedAttributes,
    ScoringJob,
    Status,
)
from loans.models.crypto import blind_index
from loans.queries.frames import outcome_frame, schema_in_force
from loans.services import demo, demo_users
from mlcore.synth import generate

UNTIL = date(2026, 3, 31)
COUNT = 600


@pytest.fixture
def seeded(db):
    return demo.seed(COUNT, seed=3, until=UNTIL, undecided=40)


@pytest.fixture
def home(settings, monkeypatch, tmp_path):
    settings.DEBUG = True
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    monkeypatch.setenv("LOANDESK_HOME", str(tmp_path))
    return tmp_path


def run(name: str, *arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(name, *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_every_row_is_there_and_marked_as_synthetic(seeded):
    assert LoanApplication.objects.count() == LoanApplication.objects.filter(synthetic=True).count() == COUNT
    assert Applicant.objects.count() == ProtectedAttributes.objects.count() == COUNT
    open_ones = LoanApplication.objects.filter(status=Status.RECEIVED)
    assert open_ones.count() == ScoringJob.objects.due().count() == seeded.undecided == 40
    assert LoanApplication.objects.filter(status=Status.HISTORICAL).count() == LoanOutcome.objects.count() == COUNT - 40
    assert not LoanOutcome.objects.filter(application__status=Status.RECEIVED).exists()
    assert not Decision.objects.exists() and not Prediction.objects.exists()
    newest_past = LoanApplication.objects.filter(status=Status.HISTORICAL).latest("submitted_at")
    assert open_ones.earliest("submitted_at").submitted_at >= newest_past.submitted_at
    assert seeded.last < UNTIL and (seeded.first.year, seeded.first.month) in ((2022, 3), (2022, 4))
    assert LoanProduct.objects.count() == 4


def test_only_ripe_loans_have_labels(seeded):
    counts = {state: LoanOutcome.objects.filter(state=state).count() for state in ("default", "repaid", "immature")}
    assert counts == {"default": seeded.defaulted, "repaid": seeded.repaid, "immature": seeded.immature}
    for outcome in LoanOutcome.objects.select_related("application"):
        young = outcome.application.submitted_at.date() > date(2025, 3, 30)  # a window of 366 days
        assert (outcome.state == "immature") == young
        assert (outcome.defaulted_on is not None) == (outcome.loss is not None) == (outcome.state == "default")
        assert outcome.observed_on <= UNTIL


def test_the_truth_can_be_made_again_and_matched(seeded):
    made = generate(demo.demo_world(COUNT, seed=3, until=UNTIL))
    assert [demo.reference(number) for number in made.number] == list(
        LoanApplication.objects.order_by("submitted_at", "pk").values_list("external_reference", flat=True)
    )
    row = LoanApplication.objects.select_related("applicant", "product", "protected").get(external_reference=demo.reference(17))
    assert row.submitted_at == made.submitted_at[17]
    assert (row.product.code, row.region, float(row.amount)) == tuple(made.frame.loc[17, ["product", "region", "amount"]])
    assert row.applicant.name == made.applicant["name"][17]
    assert row.applicant.birth_date == made.applicant["birth_date"][17]
    assert row.protected.values == made.protected.loc[17].to_dict()
    assert bytes(row.applicant.phone_index) == blind_index("phone", made.applicant["phone"][17])


def test_training_sees_what_the_world_made(seeded):
    made = generate(demo.demo_world(COUNT, seed=3, until=UNTIL))
    schema = schema_in_force()
    assert "savings_balance" in schema and schema["savings_balance"].direction == -1
    assert "device_id" not in schema and "age_band" not in schema and "sex" not in schema
    loans = outcome_frame(schema)
    assert loans.synthetic and loans.undecided == 40 and set(loans.protected) == {"age_band", "sex"}
    for name in schema.names:
        made_values, read = made.frame[name].iloc[: COUNT - 40], loans.frame[name]
        if read.dtype == float:
            assert np.array_equal(made_values.to_numpy(), read.to_numpy(), equal_nan=True), name
        else:
            assert made_values.tolist() == read.tolist(), name
    assert loans.outcomes["state"].tolist() == made.outcome(str(UNTIL))[: COUNT - 40].tolist()


def test_attributes_are_declared_and_what_is_stored_is_declared(seeded):
    declared = {row.name: row for row in AttributeDefinition.objects.all()}
    assert {name for name, row in declared.items() if row.protected} == {"age_band", "sex"}
    assert not declared["device_id"].known_at_application
    for attributes in LoanApplication.objects.values_list("attributes", flat=True):
        for name, value in attributes.items():
            assert declared[name].parse(value) == value
    assert LoanApplication.objects.filter(attributes__has_key="device_id").count() > COUNT / 2


def test_a_filled_database_is_left_as_it_is(seeded):
    with pytest.raises(demo.NotEmpty):
        demo.seed(50)
    out, _ = run("seed_demo", "--applications", "50")
    assert "Nothing was changed" in out
    assert LoanApplication.objects.count() == COUNT


def test_an_interrupted_run_leaves_nothing(db):
    def stop(share: float, step: str) -> None:
        if share > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo.seed(100, progress=stop)
    assert not LoanApplication.objects.exists() and not Applicant.objects.exists() and not LoanProduct.objects.exists()


def test_the_command_says_what_it_wrote(db, django_capture_on_commit_callbacks, monkeypatch):
    woken = []
    monkeypatch.setattr(demo, "wake_scoring", lambda: woken.append(True))
    with django_capture_on_commit_callbacks(execute=True):
        out, _ = run("seed_demo", "--applications", "120", "--undecided", "10")
    assert "120 synthetic applications" in out and "10 wait for their score" in out
    assert woken == [True]
    assert LoanApplication.objects.undecided().count() == 10
    assert LoanApplication.objects.latest("submitted_at").submitted_at <= LoanApplication.objects.latest("pk").created_at


@pytest.mark.parametrize("arguments", [("--applications", "0"), ("--applications", "99999999"), ("--undecided", "-1"), ("--seed", "-1")])
def test_impossible_numbers_exit_2(db, arguments):
    with pytest.raises(SystemExit) as stopped:
        run("seed_demo", *arguments)
    assert stopped.value.code == 2


def test_a_very_small_desk(db):
    done = demo.seed(3, until=UNTIL)
    assert (done.applications, done.undecided) == (3, 0)


def test_demo_logins_stand_for_the_roles(db, home):
    out, _ = run("ensure_demo_users")
    users = {user.username: user for user in get_user_model().objects.all()}
    assert set(users) == {"admin", "officer", "senior", "investigator", "owner", "owner2", "auditor", "client"}
    assert users["investigator"].has_perm("loans.investigate_fraudflag") and not users["officer"].has_perm("loans.investigate_fraudflag")
    assert users["admin"].is_superuser and not users["officer"].is_superuser
    assert users["officer"].has_perm("loans.decide_loanapplication") and not users["auditor"].has_perm("loans.decide_loanapplication")
    assert users["owner"].has_perm("loans.train_modelversion") and not users["owner"].has_perm("loans.decide_loanapplication")
    assert all(user.is_staff for name, user in users.items() if name != "client")
    assert not users["client"].is_staff and not users["client"].has_usable_password()
    for login in demo_users.demo_logins():
        assert users[login.username].check_password(login.password)
        assert login.username in out and login.password in out


def test_the_api_key_is_shown_again_and_made_again_when_it_no_longer_works(db, home):
    first = demo_users.ensure_demo_users().api_key
    path = home / "demo-api-key"
    assert path.read_text().strip() == first and path.stat().st_mode & 0o777 == 0o600
    assert demo_users.ensure_demo_users().api_key == first
    assert ApiKey.objects.count() == 1
    ApiKey.objects.all().delete()  # another database, the same machine
    second = demo_users.ensure_demo_users().api_key
    assert second != first and path.read_text().strip() == second


def test_a_changed_password_stays_changed(db, home):
    demo_users.ensure_demo_users()
    officer = get_user_model().objects.get(username="officer")
    officer.set_password("something else")
    officer.save()
    access = demo_users.ensure_demo_users()
    assert access.made == []
    assert {login.username: login.password for login in access.logins}["officer"] is None
    assert "(changed)" in run("ensure_demo_users")[0]
    officer.refresh_from_db()
    assert officer.check_password("something else")


def test_production_gets_no_known_passwords(db, home, settings):
    settings.DEBUG = False
    with pytest.raises(SystemExit) as stopped:
        run("ensure_demo_users")
    assert stopped.value.code == 2
    assert not get_user_model().objects.exists()
    access = demo_users.ensure_demo_users(force=True)
    for login in access.logins:
        assert login.password != f"{login.username}-demo"
        assert get_user_model().objects.get(username=login.username).check_password(login.password)
    assert access.api_key and not (home / "demo-api-key").exists()
    again = demo_users.ensure_demo_users(force=True)
    assert again.api_key is None and all(login.password is None for login in again.logins)
