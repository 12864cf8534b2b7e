"""axe-core over the main pages, in light and dark: nothing serious or critical. The console stays empty, the page's policy holds."""

from __future__ import annotations

import pytest

from loans.models import Decision, FraudFlag
from tests.browser.people import BROWSER, come_in, person
from tests.loans.admin.conftest import make_application, make_version, score
from tests.loans.admin.reports import full_report
from tests.loans.admin.test_permissions import watched

pytestmark = [*BROWSER, pytest.mark.slow]
GRAVE = ("serious", "critical")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


@pytest.fixture
def pages(live_server) -> dict[str, dict[str, str]]:
    """{who: {name: address}}, each page with something on it."""
    senior = person("sonja", "Senior officers")
    person("mona", "Model owners")
    person("inga", "Fraud investigators")
    version = make_version(report=full_report())
    rows = [make_application() for _ in range(3)]
    for row, probability in zip(rows, (0.04, 0.2, 0.41), strict=True):
        score(row, version, probability, grade="A" if probability < 0.1 else "G", advice="approve" if probability < 0.1 else "decline")
    decision = Decision.objects.create(
        application=rows[1], outcome="decline", officer=senior, reason="recent_inquiries", reason_text="Number of recent inquiries"
    )
    flag = FraudFlag.objects.create(application=rows[2], severity=3, score=0.8, expected_loss=9000)
    window = watched(version)
    return {
        "sonja": {
            "home": "/admin/",
            "inbox": "/admin/loans/loanapplication/",
            "application": f"/admin/loans/loanapplication/{rows[0].pk}/change/",
            "decisions": "/admin/loans/decision/",
            "decision": f"/admin/loans/decision/{decision.pk}/change/",
        },
        "mona": {
            "home of a model owner": "/admin/",
            "versions": "/admin/loans/modelversion/",
            "model version": f"/admin/loans/modelversion/{version.pk}/change/",
            "policy": f"/admin/loans/modelversion/{version.pk}/policy/",
            "monitoring": "/admin/loans/monitoringwindow/",
            "monitoring of a version": f"/admin/loans/monitoringwindow/model/{version.pk}/",
            "window": f"/admin/loans/monitoringwindow/{window.pk}/change/",
            "import": "/admin/loans/importupload/add/",
        },
        "inga": {"fraud queue": "/admin/loans/fraudflag/", "fraud flag": f"/admin/loans/fraudflag/{flag.pk}/change/"},
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_stands_in_the_way(screen, pages, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed").Axe()
    screen.emulate_media(color_scheme=scheme)
    found = []
    for name, addresses in pages.items():
        come_in(screen, name)
        for title, address in addresses.items():
            answer = screen.goto(address)
            assert answer.status == 200 and "script-src 'self'" in answer.headers["content-security-policy"], title
            # What is folded away has to be readable, too.
            screen.evaluate("document.querySelectorAll('#content details').forEach((each) => { each.open = true; })")
            result = axe.run(screen, options={"resultTypes": ["violations"], "runOnly": RULES}).response
            found += [
                f"{title}: {each['id']} ({each['impact']}) {node['html'][:160]}"
                for each in result["violations"]
                if each["impact"] in GRAVE
                for node in each["nodes"]
            ]
    assert found == []
    assert screen.locator("[role=main]").count() == 1


def test_axe_would_find_it(screen, pages):
    """The check itself: what nobody can read or name is found."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed").Axe()
    come_in(screen, "sonja")
    screen.evaluate("document.querySelector('#content').insertAdjacentHTML('beforeend', '<button></button><img src=\"data:,\">')")
    result = axe.run(screen, options={"resultTypes": ["violations"], "runOnly": RULES}).response
    assert {"button-name", "image-alt"} <= {each["id"] for each in result["violations"]}
