"""A client that a generator makes from the served description works: it submits, reads, lists with filters, and understands a refusal."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import SimpleNamespace

import pytest
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections

from loans.models import ApiKey
from tests.factories import make_champion
from tests.loans.api.conftest import Api, make_user

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """The package, made by the command that docs/API.md names."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "schema.yaml").write_bytes(Api().get("/api/schema/").content)
    (folder / "options.yaml").write_text("post_hooks: []\n")
    command = ["generate", "--path", "schema.yaml", "--meta", "none", "--output-path", "loandesk_client", "--config", "options.yaml"]
    made = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    said = made.stdout + made.stderr
    assert made.returncode == 0 and "Warning" not in said and "Error" not in said, said
    sys.path.insert(0, str(folder))
    yield SimpleNamespace(take=lambda name: importlib.import_module(f"loandesk_client.{name}"))
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "loandesk_client"]:
        del sys.modules[name]


@pytest.fixture
def client(generated, artifacts):
    """It asks this process's own site, whose requests leave the test's connection open."""
    import httpx

    make_champion()
    key = ApiKey.issue(user=make_user("shop"), name="test", scopes=("submit", "read"))[1]
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    made = generated.take("client").AuthenticatedClient(
        base_url="http://localhost", token=key, httpx_args={"transport": httpx.WSGITransport(get_wsgi_application())}
    )
    with made:
        yield made
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_it_submits_reads_lists_and_understands_a_refusal(generated, client):
    take = generated.take
    models, applications = take("models"), "api.applications"
    body = models.ApplicationInputRequest(
        amount="12500.00", external_reference="G-1", annual_income=48_000, debt_to_income=0.21,
        home_ownership=models.HomeOwnershipEnum.RENT, applicant=models.ApplicantInputRequest(name="Ann Example"),
    )  # fmt: skip
    create = take(f"{applications}.applications_create").sync
    stored = create(client=client, body=body, wait=models.ApplicationsCreateWait.VALUE_1, idempotency_key="one")
    assert isinstance(stored, models.Application) and stored.applicant.name == "Ann Example"
    assert 0 < stored.prediction.probability < 1 and stored.prediction.reasons[0].text
    assert create(client=client, body=body, wait=models.ApplicationsCreateWait.VALUE_1, idempotency_key="one") == stored

    found = take("api.predictions.predictions_list").sync(client=client, application=stored.id)
    assert [each.id for each in found.results] == [stored.prediction.id]

    small = models.ApplicationInputRequest(amount=900, external_reference="G-2")
    batch = take(f"{applications}.applications_batch_create").sync(client=client, body=models.BatchInputRequest(applications=[small, body]))
    assert (batch.accepted, batch.rejected, batch.results[1].problem) == (1, 1, "duplicate-reference")
    job = take("api.jobs.jobs_retrieve").sync(batch.results[0].job, client=client)
    assert (job.state, job.prediction) == (models.ScoringStateEnum.PENDING, None)

    listed = take(f"{applications}.applications_list").sync
    assert [each.external_reference for each in listed(client=client, amount_max=1000.0).results] == ["G-2"]
    scored = listed(client=client, status=[models.ApplicationsListStatusItem.OPEN], page_size=1)
    assert [each.external_reference for each in scored.results] == ["G-1"] and scored.next_ is None

    refused = create(client=client, body=models.ApplicationInputRequest(amount=-1))
    assert isinstance(refused, models.Problem) and (refused.status, refused.errors[0].field) == (400, "amount")
    gone = take(f"{applications}.applications_retrieve").sync_detailed(stored.id + 1000, client=client)
    assert gone.status_code == 404 and gone.parsed.type_.endswith("/not-found/")
