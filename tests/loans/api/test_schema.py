"""The description is exact: no warning, every error declared, and the docs page needs nothing from elsewhere."""

from __future__ import annotations

import re
from io import StringIO

import pytest
import yaml
from django.core.management import call_command
from django.urls import URLPattern

from loans.api import urls
from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS
from tests.loans.api.conftest import URL


@pytest.fixture(scope="module")
def schema():
    out = StringIO()
    call_command("spectacular", validate=True, fail_on_warn=True, stdout=out)
    return yaml.safe_load(out.getvalue())


def test_every_resource_is_described(schema):
    paths = {re.sub(r"<int:pk>", "{id}", f"/api/{pattern.pattern}") for pattern in urls.urlpatterns if isinstance(pattern, URLPattern)}
    assert {path for path in paths if path.startswith("/api/v1/")} == set(schema["paths"])


def test_every_operation_declares_its_errors_as_problems(schema):
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            expected = {"400", "401", "403", "406", "500", "503"} | ({"404"} if "{" in path else set())
            expected |= {"413", "415"} if method == "post" else set()
            assert expected <= set(answers), (path, method)
            for status, answer in answers.items():
                assert list(answer["content"]) == ["application/json" if status < "400" else "application/problem+json"]
            assert operation["security"] == [{"apiKey": []}, {"session": []}]
    assert "409" in schema["paths"][URL]["post"]["responses"]
    assert "409" in schema["paths"][f"{URL}{{id}}/decision/"]["post"]["responses"]


def test_the_fields_and_their_limits_are_the_tables(schema):
    described = schema["components"]["schemas"]["ApplicationInputRequest"]
    assert set(described["properties"]) == {*APPLICATION_FIELDS, "applicant", "attributes"} and described["required"] == ["amount"]
    for name, spec in APPLICATION_FIELDS.items():
        found = described["properties"][name]
        if spec.kind in ("ratio", "count"):
            assert (found["minimum"], found["maximum"]) == (spec.minimum, spec.maximum)
        elif spec.max_length and not spec.choices:
            assert found["maxLength"] == spec.max_length
    assert set(schema["components"]["schemas"]["ApplicantInputRequest"]["properties"]) == set(APPLICANT_FIELDS)


def test_an_answer_is_as_described(schema, api):
    made = api.post(body={"amount": 5000, "applicant": {"name": "Ann"}}).json()
    described = schema["components"]["schemas"]["Application"]["properties"]
    assert set(made) == set(described)
    assert set(made["job"]) == set(schema["components"]["schemas"]["JobSummary"]["properties"])
    listed = api.get(URL).json()["results"][0]
    assert set(listed) == set(schema["components"]["schemas"]["ApplicationSummary"]["properties"])


def test_the_schema_is_served_in_both_formats(client, db):
    assert yaml.safe_load(client.get("/api/schema/").content)["openapi"].startswith("3.")
    assert client.get("/api/schema/?format=json").json()["info"]["title"] == "Loandesk API"


def test_the_docs_page_runs_under_our_content_security_policy(client, db):
    page = client.get("/api/docs/")
    policy = page["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    html = page.content.decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert sources and all(source.startswith("/") for source in sources)
    assert re.search(r"<script>|<script [^>]*>[^<]", html) is None
    script = next(source for source in sources if "script" in source.rsplit("?", 1)[-1])
    answer = client.get(script.replace("&amp;", "&"))
    assert answer["Content-Type"].startswith("application/javascript") and b"SwaggerUIBundle" in answer.content


def test_the_root_leads_to_the_desk(client):
    answer = client.get("/")
    assert answer.status_code == 302 and answer["Location"] == "/admin/"
