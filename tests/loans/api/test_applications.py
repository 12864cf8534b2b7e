from __future__ import annotations

from decimal import Decimal

import pytest

from loans.models import AttributeDefinition, LoanApplication, LoanProduct, ModelVersion, Prediction, ScoringJob, Status
from loans.services import registry
from tests.factories import make_application, make_champion
from tests.loans.api.conftest import URL, Api, fields_of, key_of, make_user

FULL = {
    "external_reference": "A-1",
    "submitted_at": "2026-03-31T09:30:00+02:00",
    "product": "car",
    "channel": "online",
    "amount": "12500.50",
    "term_months": 48,
    "purpose": "car",
    "purpose_text": "A used car, Größe M",
    "annual_income": 48000,
    "debt_to_income": 0.21,
    "employment_status": "employed",
    "employment_months": 30,
    "home_ownership": "rent",
    "region": "CA",
    "credit_score": 701,
    "credit_history_months": 120,
    "open_accounts": 4,
    "total_accounts": 9,
    "delinquencies_24m": 0,
    "months_since_delinquency": 40,
    "public_records": 0,
    "inquiries_6m": 1,
    "revolving_balance": 900.25,
    "revolving_utilisation": 0.3,
    "applicant": {
        "name": "Ann Example",
        "email": "ann@example.org",
        "phone": "+1 555 010 0199",
        "birth_date": "1980-03-31",
        "national_id": "123-45-6789",
        "bank_account": "DE00 1234",
        "address": "1 Main St",
        "employer": "Example Ltd",
    },
    "attributes": {"savings": 1200.5, "sex": "f"},
}


@pytest.fixture
def declared(db):
    LoanProduct.objects.create(code="car", name="Car loan", minimum_amount=500)
    AttributeDefinition.objects.create(name="savings", kind="number")
    AttributeDefinition.objects.create(name="sex", kind="category", protected=True)


def test_an_application_with_every_field_is_stored_and_comes_back_the_same(api, declared):
    answer = api.post(body=FULL)
    assert answer.status_code == 201
    made = answer.json()
    row = LoanApplication.objects.get()
    assert answer["Location"] == f"http://testserver{URL}{row.pk}/" == made["url"]
    assert row.amount == Decimal("12500.50") and row.submitted_at.isoformat() == "2026-03-31T07:30:00+00:00"
    assert row.applicant.email == "ann@example.org" and row.protected.values == {"sex": "f"}
    assert made["status"] == "received" and made["job"]["state"] == "pending" and made["prediction"] is None
    expected = FULL | {"submitted_at": "2026-03-31T07:30:00Z", "annual_income": "48000.00", "revolving_balance": "900.25"}
    assert {name: made[name] for name in FULL} == expected | {"attributes": {"savings": 1200.5}}
    assert api.get(answer["Location"]).json() == made


def test_the_amount_alone_is_enough(api):
    answer = api.post(body={"amount": 1, "channel": "", "region": None, "applicant": None, "attributes": {}})
    assert answer.status_code == 201
    assert answer.json()["external_reference"].startswith("LD-")
    assert answer.json()["applicant"] is None and answer.json()["channel"] is None


def test_waiting_answers_with_the_score_and_its_reasons(api, artifacts):
    version = make_champion()
    answer = api.post(f"{URL}?wait=1", {"amount": 9000, "annual_income": 30000, "debt_to_income": 0.45}).json()
    prediction = answer["prediction"]
    assert answer["status"] == "open" and answer["job"]["state"] == "done" and answer["job"]["attempts"] == 1
    assert 0 < prediction["probability"] < 1 and prediction["probability"] == answer["default_probability"]
    assert prediction["model"]["version"] == version.version and prediction["reasons"]
    assert prediction["baseline"] + sum(prediction["contributions"].values()) == pytest.approx(prediction["log_odds"], abs=1e-6)
    assert {reason["direction"] for reason in prediction["reasons"]} <= {"against", "for"}
    assert all(reason["text"] for reason in prediction["reasons"])
    stored = Prediction.objects.get()
    assert (stored.pk, stored.probability) == (prediction["id"], prediction["probability"])
    assert api.get(answer["url"]).json() == answer
    assert api.get(answer["job"]["url"]).json()["prediction"] == prediction


def test_waiting_without_a_model_still_takes_the_application_in(api):
    answer = api.post(f"{URL}?wait=1", {"amount": 9000})
    assert answer.status_code == 201 and answer.json()["prediction"] is None and answer.json()["job"]["state"] == "pending"


def test_waiting_survives_a_model_that_can_not_be_loaded(api, artifacts, monkeypatch):
    def unreadable(version):
        raise ValueError("the artifact was altered")

    make_champion()
    monkeypatch.setattr(registry, "model_of", unreadable)
    answer = api.post(f"{URL}?wait=1", {"amount": 9000})
    assert answer.status_code == 201 and answer.json()["prediction"] is None
    assert ScoringJob.objects.get().state == "pending"


def test_wait_is_0_or_1(api):
    answer = api.post(f"{URL}?wait=yes", {"amount": 9000})
    assert answer.status_code == 400 and fields_of(answer) == {"wait"} and not LoanApplication.objects.exists()


def test_a_reference_that_is_taken_is_a_conflict(api):
    assert api.post(body={"amount": 9000, "external_reference": "A-1"}).status_code == 201
    answer = api.post(body={"amount": 9000, "external_reference": "A-1", "applicant": {"name": "Ann"}})
    assert answer.status_code == 409 and answer.json()["type"] == "/api/problems/duplicate-reference/"
    assert fields_of(answer) == {"external_reference"}
    assert LoanApplication.objects.count() == ScoringJob.objects.count() == 1


def test_products_and_attributes_must_be_known(api, declared):
    answer = api.post(body={"amount": 100, "product": "car", "attributes": {"height": 3, "savings": "much"}})
    assert answer.status_code == 400 and fields_of(answer) == {"amount", "attributes.height", "attributes.savings"}
    assert fields_of(api.post(body={"amount": 9000, "product": "boat"})) == {"product"}
    assert not LoanApplication.objects.exists()


def test_others_applications_do_not_exist_for_a_client(api, other_api):
    url = api.post(body={"amount": 9000}).json()["url"]
    assert other_api.get(url).status_code == 404
    assert other_api.get(f"{url}decision/").status_code == 404
    assert other_api.get(URL).json()["results"] == []


def test_personal_data_are_masked_for_whoever_neither_sent_nor_may_see_them(api, officer_api, declared):
    url = api.post(body=FULL).json()["url"]
    assert officer_api.get(url).json()["applicant"]["email"] == "ann@example.org"
    owner = Api(key=key_of(make_user("model-owner", "Model owners", is_staff=True), "read"))
    seen = owner.get(url)
    assert seen.json()["applicant_masked"] is True and set(seen.json()["applicant"].values()) == {"•••"}
    for value in FULL["applicant"].values():
        assert value.encode() not in seen.content


def test_a_list_never_decrypts_anything(api, django_assert_num_queries, monkeypatch):
    from loans.models import crypto

    api.post(body={"amount": 9000, "applicant": {"name": "Ann"}})
    monkeypatch.setattr(crypto, "decrypt", None)
    with django_assert_num_queries(2):  # the key, the page
        row = api.get(URL).json()["results"][0]
    assert "applicant" not in row and "attributes" not in row


def test_filters_and_orderings(api, sender):
    product = LoanProduct.objects.create(code="car", name="Car loan")
    for number, status in enumerate((Status.OPEN, Status.OPEN, Status.DECLINED)):
        make_application(
            submitted_by=sender, status=status, amount=1000 * (number + 1), external_reference=f"F-{number}",
            product=product if number else None, default_probability=(None, 0.4, 0.1)[number],
        )  # fmt: skip

    def found(query: str) -> list[str]:
        return [row["external_reference"] for row in api.get(f"{URL}?{query}").json()["results"]]

    assert found("") == ["F-2", "F-1", "F-0"]
    assert found("status=open&ordering=id") == ["F-0", "F-1"]
    assert found("status=open&status=declined&ordering=-amount") == ["F-2", "F-1", "F-0"]
    assert found("product=car&amount_max=2000") == ["F-1"]
    assert found("external_reference=F-2") == ["F-2"]
    assert found("ordering=-default_probability") == ["F-1", "F-2", "F-0"]
    assert found("submitted_after=2030-01-01T00:00:00Z") == []
    # ISO 8601 knows offsets that PostgreSQL does not.
    assert found("submitted_after=1552-08-25T05:10:58%2B22:32&page_size=1&ordering=submitted_at") == ["F-0"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("staus=open", "staus"),
        ("status=opened", "status"),
        ("ordering=applicant__name", "ordering"),
        ("page_size=0", "page_size"),
        ("page_size=100000000000000000000", "page_size"),
        ("page_size=²", "page_size"),
        ("cursor=x", "cursor"),
        ("cursor=W1swXSwwLDBd", "cursor"),
        ("cursor=WyItaWQiLCAxZTQwMCwgMV0=", "cursor"),
        ("cursor=WyItaWQiLCAiMSIsIDk5OTk5OTk5OTk5OTk5OTk5OTk5XQ==", "cursor"),
        ("cursor=WyJpZCIsIDEsIDFd", "cursor"),
        ("amount_min=NaN", "amount_min"),
        ("amount_min=1e400", "amount_min"),
        ("external_reference=%00", "external_reference"),
        ("product=" + "x" * 200, "product"),
        ("submitted_after=yesterday", "submitted_after"),
        ("submitted_before=0001-01-01T00:00:00%2B01:00", "submitted_before"),
        ("wait=1", "wait"),
    ],
)
def test_a_bad_query_names_its_parameter(api, query, field):
    answer = api.get(f"{URL}?{query}")
    assert answer.status_code == 400 and fields_of(answer) == {field}


@pytest.mark.parametrize("ordering", ["-id", "amount", "-submitted_at", "-default_probability"])
def test_pages_join_without_gap_or_repeat_while_rows_come_in(api, sender, ordering):
    for number in range(23):
        make_application(submitted_by=sender, amount=1000 + number % 3, default_probability=None if number % 4 else number / 50)
    before = set(LoanApplication.objects.values_list("pk", flat=True))
    seen: list[int] = []
    url = f"{URL}?ordering={ordering}&page_size=5"
    while url:
        page = api.get(url).json()
        assert len(page["results"]) <= 5
        seen += [row["id"] for row in page["results"]]
        make_application(submitted_by=sender, amount=1001)
        url = page["next"]
    assert len(seen) == len(set(seen)) and before <= set(seen)


def test_a_page_that_is_exactly_full_is_the_last(api, sender):
    for _ in range(5):
        make_application(submitted_by=sender)
    assert api.get(f"{URL}?page_size=5").json()["next"] is None


def test_models_are_listed_with_their_headline_figures(api, artifacts):
    make_champion()
    figure = {"value": 0.7, "low": 0.65, "high": 0.75}
    ModelVersion.objects.update(
        report={"data": {"rows": 400}, "champion": {"figures": {"auc": figure, "oe": figure}}, "baselines": {"prior_auc": 0.5}, "roc": []}
    )
    (model,) = api.get("/api/v1/models/?state=champion").json()["results"]
    assert model["state"] == "champion" and model["rows"] == 400 and model["figures"] == {"auc": figure, "observed_expected": figure}
    assert model["baselines"] == {"prior_auc": 0.5, "majority_accuracy": None, "default_rate": None}
    ModelVersion.objects.update(report={"champion": "unknown"})
    assert api.get("/api/v1/models/").json()["results"][0]["figures"] == {}


def test_predictions_are_of_ones_own_applications_and_never_a_shadows(api, other_api, artifacts):
    make_champion()
    first, second = (api.post(f"{URL}?wait=1", {"amount": amount}).json() for amount in (9000, 5000))
    listed = api.get("/api/v1/predictions/").json()["results"]
    assert listed == [second["prediction"], first["prediction"]]
    assert api.get(f"/api/v1/predictions/?application={first['id']}").json()["results"] == [first["prediction"]]
    assert other_api.get("/api/v1/predictions/").json()["results"] == []
    assert other_api.get(first["job"]["url"]).status_code == 404
    shadow = Prediction.objects.get(pk=first["prediction"]["id"])
    job = ScoringJob.objects.create(application_id=first["id"])
    shadow.pk, shadow.scoring_job, shadow.shadow, shadow.probability = None, job, True, 0.99
    shadow.advice, shadow.policy = "", None
    shadow.save()
    assert api.get(f"/api/v1/predictions/?application={first['id']}").json()["results"] == [first["prediction"]]
    assert api.get(f"/api/v1/jobs/{job.pk}/").json()["prediction"] is None
    assert api.get(first["url"]).json()["prediction"] == first["prediction"]
