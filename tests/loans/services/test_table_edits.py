from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, IntegrityError, transaction

from loans.models import AuditEvent, ModelState, ModelVersion, TableEdit
from loans.queries.table_edit import edit_page, edits_of
from loans.services import model_tables, registry, scoring, table_edits
from loans.services.table_edits import EditRefused, Wanted
from tests.factories import make_application, make_champion, make_outcomes, make_pairwise, promoted
from tests.loans.admin.conftest import make_user

pytestmark = pytest.mark.django_db
HOME = 2


@pytest.fixture
def owner(db):
    return make_user("owner", "Model owners")


@pytest.fixture
def second(db):
    return make_user("second", "Model owners")


@pytest.fixture
def version(artifacts):
    """A candidate beside a champion, with 200 loans and two scored applicants to show an effect on."""
    make_champion()
    make_outcomes(200)
    for ratio in (0.1, 0.5):
        scoring.request_score(make_application(debt_to_income=ratio, home_ownership="rent"))
    scoring.score_pending()
    return make_pairwise(report={"version": 1, "warnings": ["Few."], "split": {"test": {"from": "2021-06-01"}}})


def rent(version, value=0.9):
    model = registry.load(version)
    _, labels = model_tables.titles_and_labels(model)
    return Wanted((HOME,), (next(k for k, label in enumerate(labels[HOME]) if "rent" in label),), value)


@pytest.fixture
def edit(version, owner):
    return table_edits.propose(version, [rent(version)], reason="Rents rose here.", keep_level=True, by=owner)


def test_a_proposal_says_what_it_does_and_changes_nothing(edit, version, owner):
    assert edit.waits and edit.proposed_by == owner and edit.base == version
    (cell,) = edit.cells
    assert cell["table"] == "Home ownership" and cell["cell"] == "rent" and cell["to"] == 0.9
    assert cell["from"] == float(registry.load(version).rung.tables_.mains[HOME][cell["codes"][0]])
    outcomes, applicants = edit.effect["outcomes"], edit.effect["applicants"]
    assert 80 < outcomes["rows"] < 110 and outcomes["from"] >= "2021-06-01", "only the loans from the first judged day on"
    assert outcomes["before"]["auc"] != outcomes["after"]["auc"] and applicants["rows"] == applicants["touched"] == 2
    assert applicants["mean_shift"] > 0 and edit.effect["level"] < 0
    assert outcomes["after"]["oe"]["value"] == pytest.approx(outcomes["before"]["oe"]["value"], rel=1e-4), "the level is kept"
    assert ModelVersion.objects.count() == 2
    page = edit_page(edit)
    assert page.cells[0].after == "+0.900" and page.outcomes[0].label == "AUC" and "2 applicants" in page.seen


def test_an_approval_makes_a_candidate_that_says_what_was_changed(edit, version, second, settings):
    before = {path: path.read_bytes() for path in Path(settings.ARTIFACTS_DIR).rglob("*") if path.is_file()}
    done = table_edits.approve(edit, reason="Agreed.", by=second)
    made = done.result
    assert done.state == "approved" and done.decided_by == second and done.decided_at and done.decision_reason == "Agreed."
    assert made.state == ModelState.CANDIDATE and made.version == version.version + 1 and made.created_by == edit.proposed_by
    assert all(path.read_bytes() == content for path, content in before.items()), "the base's artifact stays as it is"
    assert list(AuditEvent.objects.filter(subject_type="tableedit").order_by("pk").values_list("action", "user_id")) == [
        ("table_edit.proposed", edit.proposed_by_id),
        ("table_edit.approved", second.pk),
    ]
    (cell,) = edit.cells
    old, new = registry.load(version), registry.load(made)
    code = cell["codes"][0]
    assert new.rung.tables_.mains[HOME][code] == 0.9 and old.rung.tables_.mains[HOME][code] == cell["from"]
    others = np.arange(len(new.rung.tables_.mains[HOME])) != code
    assert np.array_equal(new.rung.tables_.mains[HOME][others], old.rung.tables_.mains[HOME][others])
    assert made.report["warnings"][0].startswith(f"An edited version: {version} with 1 cell of") and made.report["warnings"][1] == "Few."
    (told,) = edits_of(made)
    assert told.of == str(version) and told.reason == "Rents rose here." and told.page.cells[0].cell == "rent" and told.pk == edit.pk
    version.refresh_from_db()
    assert "edits" not in version.report
    promoted(made)
    application = make_application(home_ownership="rent", debt_to_income=0.2)
    scoring.request_score(application)
    assert scoring.score_pending().stored == 1, "its contributions add up, or it would not be stored"


def test_an_edit_of_an_edited_version_tells_both(edit, owner, second):
    first = table_edits.approve(edit, reason="Agreed.", by=second).result
    more = table_edits.propose(first, [rent(first, 0.7)], reason="Not so much.", keep_level=False, by=second)
    made = table_edits.approve(more, reason="Agreed.", by=owner).result
    assert [each.reason for each in edits_of(made)] == ["Rents rose here.", "Not so much."]
    assert len([text for text in made.report["warnings"] if text.startswith("An edited version")]) == 1


def test_nobody_decides_on_his_own_edit_not_even_past_the_service(edit, owner):
    for decide in (table_edits.approve, table_edits.reject):
        with pytest.raises(EditRefused, match="second person"):
            decide(edit, reason="Mine.", by=owner)
    with pytest.raises(IntegrityError, match="tableedit_second_person"), transaction.atomic():
        TableEdit.objects.filter(pk=edit.pk).update(state="rejected", decided_by=owner, decided_at=edit.created_at)
    assert table_edits.withdraw(edit, by=owner).state == "withdrawn"
    with pytest.raises(EditRefused, match="decided already"):
        table_edits.withdraw(edit, by=owner)


def test_who_may(edit, version, owner, second):
    auditor = make_user("auditor", "Auditors")
    with pytest.raises(PermissionDenied):
        table_edits.propose(version, [rent(version)], reason="Why not.", keep_level=True, by=auditor)
    for decide in (table_edits.approve, table_edits.reject):
        with pytest.raises(PermissionDenied):
            decide(edit, reason="Why not.", by=auditor)
    with pytest.raises(EditRefused, match="Only who proposed"):
        table_edits.withdraw(edit, by=second)
    with pytest.raises(EditRefused, match="Say why"):
        table_edits.approve(edit, reason="  ", by=second)
    assert table_edits.reject(edit, reason="No.", by=second).state == "rejected"
    with pytest.raises(EditRefused, match="decided already"):
        table_edits.approve(edit, reason="Yes.", by=second)


def test_the_database_keeps_what_was_proposed(edit, second):
    champion = ModelVersion.objects.get(algorithm="logistic")
    for change in (
        {"cells": []},
        {"reason": "Another."},
        {"effect": {}},
        {"keep_level": False},
        {"base": champion},
        {"proposed_by": second},
    ):
        with pytest.raises(DatabaseError, match="can not be changed"), transaction.atomic():
            TableEdit.objects.filter(pk=edit.pk).update(**change)


def test_the_database_keeps_a_decision_and_every_row(edit, version, owner, second):
    table_edits.reject(edit, reason="No.", by=second)
    with pytest.raises(DatabaseError, match="decided already"), transaction.atomic():
        TableEdit.objects.filter(pk=edit.pk).update(decision_reason="Yes.")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        edit.delete()
    with pytest.raises(DatabaseError, match="begins as a proposal"), transaction.atomic():
        TableEdit.objects.create(
            base=version,
            cells=[],
            reason="x",
            effect={},
            proposed_by=owner,
            state="rejected",
            decided_by=second,
            decided_at=edit.created_at,
        )


def test_what_can_not_be_proposed_is_said(version, owner):
    def propose(*cells, base=version, reason="Because."):
        return table_edits.propose(base, cells, reason=reason, keep_level=True, by=owner)

    with pytest.raises(EditRefused, match="between 1 and"):
        propose()
    with pytest.raises(EditRefused, match="no cell"):
        propose(Wanted((HOME,), (40,), 1.0))
    with pytest.raises(EditRefused, match="Say why"):
        propose(rent(version), reason="")
    with pytest.raises(EditRefused, match="no value for a cell"):
        propose(rent(version, 40.0))
    with pytest.raises(EditRefused, match="declared to rise with debt to income"):
        propose(Wanted((1,), (3,), -4.0))
    with pytest.raises(model_tables.NoTables):
        propose(rent(version), base=ModelVersion.objects.get(algorithm="logistic"))
    assert not TableEdit.objects.exists()


def test_without_loans_or_applicants_there_is_nothing_to_show_an_effect_on(artifacts, owner):
    version = make_pairwise()
    with pytest.raises(EditRefused, match="neither loans with an outcome nor scored applications"):
        table_edits.propose(version, [rent(version)], reason="Because.", keep_level=True, by=owner)


def test_a_form_holds_changes_only_and_points_are_turned_round(version):
    table = model_tables.editable(version, "2")
    assert table.title == "Home ownership" and not table.across
    posted = {cell.name: cell.text for _, cells in table.rows for cell in cells}
    assert model_tables.read_form(version, "2", "log-odds", posted) == []
    posted["c-1"] = "−0,25"
    assert model_tables.read_form(version, "2", "log-odds", posted) == [((2,), (1,), -0.25)]
    points = {cell.name: cell.text for _, cells in model_tables.editable(version, "2", "points").rows for cell in cells}
    assert model_tables.read_form(version, "2", "points", points) == []
    ((_, _, value),) = model_tables.read_form(version, "2", "points", points | {"c-1": "20"})
    assert value == pytest.approx(-np.log(2)), "20 points more are half the odds"
    with pytest.raises(ValueError, match="“much” is not a number"):
        model_tables.read_form(version, "2", "log-odds", posted | {"c-0": "much"})
    for key in ("9", "0-9", "2-0", "x", "1-2-3", ""):
        with pytest.raises(model_tables.NoTables):
            model_tables.editable(version, key)
    pair = model_tables.editable(version, "1-2")
    assert pair.rows[0][1][0].name == "c-0-0" and len(pair.rows[0][1]) == len(pair.across)
