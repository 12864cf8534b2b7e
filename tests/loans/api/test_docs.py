"""What docs/API.md says is so, and the example client works against a real server."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from loans.api import urls
from loans.api.problems import KINDS
from loans.models import ApiKey, LoanApplication
from tests.factories import make_champion
from tests.loans.api.conftest import Api, checked, make_user

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "API.md").read_text()


def test_the_curl_lines_work(officer, artifacts):
    make_champion()
    _, key = ApiKey.issue(user=officer, name="test")
    client, number = Api().client, 0
    lines = [line for line in PAGE.splitlines() if line.startswith("curl ")]
    assert len(lines) == 3
    for line in lines:
        words = shlex.split(line.replace("$DESK", "").replace("$ID", str(number)).replace("$KEY", key))
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        headers = dict(words[place + 1].split(": ", 1) for place, word in enumerate(words) if word == "-H")
        url = next(word for word in words if word.startswith("/"))
        data = words[words.index("-d") + 1] if "-d" in words else ""
        authorization = {"authorization": headers["Authorization"]}
        answer = checked(client.generic(method, url, data, content_type=headers.get("Content-Type", ""), headers=authorization))
        assert answer.status_code in (200, 201), line
        number = number or answer.json()["id"]


def test_every_address_is_in_the_table():
    for pattern in urls.urlpatterns:
        address = str(pattern.pattern)
        if address.startswith("v1/"):
            named = address[3:].replace("<int:pk>", "{id}")
            assert f"`GET {named}`" in PAGE or f"`POST {named}`" in PAGE


def test_every_problem_is_in_the_table():
    rows = set(re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| (.*) \|$", PAGE, re.MULTILINE))
    assert rows == {(kind.slug, str(kind.status), f"{kind.title}. {kind.meaning}") for kind in KINDS.values()}


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location("loandesk_client", DOCS / "examples" / "client.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.django_db(transaction=True)
def test_the_example_client_works_over_http(live_server, example, artifacts, capsys):
    make_champion()
    root = make_user("root", is_superuser=True, is_staff=True)
    _, key = ApiKey.issue(user=root, name="test")
    example.main(live_server.url, key)
    assert "Probability of default" in capsys.readouterr().out
    desk = example.Loandesk(live_server.url, key)
    for number in range(3):
        desk.submit({"amount": 5000 + number, "external_reference": f"C-{number}"})
    assert [row["external_reference"] for row in desk.applications(page_size="2", ordering="id")][1:] == ["C-0", "C-1", "C-2"]
    with pytest.raises(example.Refused) as refused:
        desk.submit({"amount": 5000, "external_reference": "C-0"})
    assert refused.value.kind == "duplicate-reference"
    with pytest.raises(example.Refused) as refused:
        desk.submit({"amount": -1, "applicant": {"email": "none"}})
    assert refused.value.errors == {"amount": "must be at least 0.01", "applicant.email": "is not an email address"}
    scored = next(desk.applications(status="open"))
    made = desk.decide(scored["id"], outcome="decline", reason="collateral")
    assert made["officer"] == "root" and desk.application(scored["id"])["status"] == "declined"
    results = desk.submit_many([{"amount": 5000}, {"amount": 0}])
    assert [each["accepted"] for each in results] == [True, False] and results[1]["errors"][0]["field"] == "amount"
    with pytest.raises(example.Refused) as refused:
        example.Loandesk(live_server.url, "ld_wrong").application(1)
    assert refused.value.problem["status"] == 401


@pytest.mark.django_db(transaction=True)
def test_the_example_client_sends_again_what_may_have_arrived(live_server, example, monkeypatch):
    _, key = ApiKey.issue(user=make_user("shop"), name="test")
    real, answered = example.urllib.request.urlopen, []

    def loses_the_first(request, **more):
        answer = real(request, **more)
        answered.append(answer.status)
        if len(answered) == 1:
            answer.close()
            raise example.urllib.error.URLError("the line broke after the desk had answered")
        return answer

    monkeypatch.setattr(example.urllib.request, "urlopen", loses_the_first)
    monkeypatch.setattr(example.time, "sleep", lambda seconds: None)
    made = example.Loandesk(live_server.url, key).submit({"amount": 5000})
    assert answered == [201, 201] and LoanApplication.objects.get().pk == made["id"]
