"""The description is exact: no warning, every error declared, and the docs page needs nothing from elsewhere."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import jsonschema
import pytest
import yaml
from django.core.management import call_command
from django.urls import URLPattern

from loans.api import urls
from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS
from tests.factories import make_champion
from tests.loans.api.conftest import URL, Api, key_of


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


def strict(part: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema: `nullable` spelt out, and no field beyond those described."""
    if isinstance(part, list):
        return [strict(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    made = {name: strict(inner) for name, inner in part.items() if name != "nullable"}
    if "properties" in made:
        made.setdefault("additionalProperties", False)
    return {"anyOf": [made, {"type": "null"}]} if part.get("nullable") is True else made


def test_answers_are_exactly_as_described(schema, officer, artifacts):
    make_champion()
    officer.is_superuser = True
    officer.save()
    api = Api(key=key_of(officer))
    components = strict({"components": schema["components"]})

    def conforms(answer: Any, path: str, method: str = "get") -> dict:
        described = schema["paths"][path][method]["responses"][str(answer.status_code)]["content"]
        (media_type,) = described
        assert answer["Content-Type"].split(";")[0] == media_type
        jsonschema.validate(answer.json(), strict(described[media_type]["schema"]) | components)
        return answer.json()

    body = {"amount": 5000, "applicant": {"name": "Ann"}, "debt_to_income": 0.4, "submitted_at": "2026-01-01T00:00:00Z"}
    conforms(api.post(body={"amount": 5000}), URL, "post")
    made = conforms(api.post(f"{URL}?wait=1", body), URL, "post")
    decision = f"{URL}{{id}}/decision/"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(made | {"undescribed": 1}, strict(schema["components"]["schemas"]["Application"]) | components)
    conforms(api.get(f"{made['url']}decision/"), decision)
    conforms(api.post(f"{made['url']}decision/", {"outcome": "decline", "reason": "collateral"}), decision, "post")
    conforms(api.post(f"{made['url']}decision/", {"outcome": "decline", "reason": "collateral"}), decision, "post")
    conforms(api.get(f"{made['url']}decision/"), decision)
    assert conforms(api.get(made["url"]), f"{URL}{{id}}/")["decision"]["outcome"] == "decline"
    conforms(api.get(made["job"]["url"]), "/api/v1/jobs/{id}/")
    for path in (URL, "/api/v1/predictions/", "/api/v1/models/"):
        assert conforms(api.get(path), path)["results"]
    conforms(api.get("/api/v1/decision-reasons/"), "/api/v1/decision-reasons/")
    conforms(api.get(f"{URL}?page_size=x"), URL)
    conforms(api.get(f"{URL}0/"), f"{URL}{{id}}/")
    conforms(api.post(body=b"{"), URL, "post")


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
