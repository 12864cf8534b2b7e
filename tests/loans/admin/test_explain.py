"""The sentence beside each figure: one place holds them, and every page that names one finds it there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import reverse

from loans.models import FraudFlag
from loans.models.monitoring import METRICS
from loans.queries.explain import EXPLAIN
from tests.loans.admin.conftest import make_document

USED = re.compile(r'{% explain "(\w+)"')


def used() -> set[str]:
    pages = (Path(settings.BASE_DIR) / "templates").rglob("*.html")
    return {name for page in pages for name in USED.findall(page.read_text())}


def test_every_name_is_known_and_every_sentence_is_shown_somewhere():
    assert used() <= set(EXPLAIN) and set(EXPLAIN) - used() <= set(METRICS)
    assert set(METRICS) <= set(EXPLAIN)


def test_it_is_one_sentence_each():
    for name, (title, sentence) in EXPLAIN.items():
        assert str(title) and str(sentence).endswith(".") and len(str(sentence)) < 170, name
        assert ". " not in str(sentence), name


@pytest.mark.django_db
def test_pages_say_what_their_figures_mean_to_keyboard_and_reader(as_, application, people, uploads):
    make_document(application, people["senior"])
    flag = FraudFlag.objects.create(application=application, severity=2, score=0.1, expected_loss=100)
    for role, url, names in (
        ("officer", reverse("admin:loans_loanapplication_change", args=[application.pk]), ("probability", "grade", "reasons", "carry")),
        ("owner", "/admin/", ("to_decide", "auc", "riskiest", "intake")),
        ("investigator", reverse("admin:loans_fraudflag_changelist"), ("expected_loss", "capacity")),
        ("investigator", reverse("admin:loans_fraudflag_change", args=[flag.pk]), ("expected_loss", "severity", "fraud")),
    ):
        page = as_(role).get(url).content.decode()
        for name in names:
            assert re.search(rf'aria-describedby="tip-{name}-\d+"', page), (url, name)
        shown = re.findall(r'role="tooltip" id="([\w-]+)"', page)
        described = re.findall(r'aria-describedby="(tip-[\w-]+)"', page)
        assert len(set(shown)) == len(shown) and described == shown
        # An interactive element within a link could be reached by neither.
        assert not re.search(r'<a class="ld-(?:(?!</a>).)*ld-tip', page, re.DOTALL), url


@pytest.mark.django_db
def test_who_sees_no_person_is_noted_as_well(as_, application):
    url = reverse("admin:loans_loanapplication_change", args=[application.pk])
    as_("owner").get(url)
    page = as_("officer").get(url).content.decode()
    assert "by owner" in page and "Looked at" in page


@pytest.mark.django_db
def test_a_long_course_is_folded(as_, application, version):
    from loans.services import audit

    for _ in range(14):
        audit.record("application.claimed", subject=application)
    page = as_("officer").get(reverse("admin:loans_loanapplication_change", args=[application.pk])).content.decode()
    assert page.count("Taken</span>") == 14 and "What happened before" in page
