"""Schemathesis over every operation: whatever is sent, the answer is one that the OpenAPI description declares, and never a 5xx.

A small derandomised run here; `make contract` runs 10,000 cases (CONTRACT_CASES).
"""

from __future__ import annotations

import itertools
import os
import warnings

import pytest
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings

from loans.models import ApiKey, ScoringJob
from tests.factories import make_application, make_champion

CASES = int(os.environ.get("CONTRACT_CASES", "0"))


def _schema():
    import schemathesis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return schemathesis.openapi.from_wsgi("/api/schema/", get_wsgi_application())


@pytest.fixture
def desk(artifacts, settings):
    settings.THROTTLES = {}
    settings.ALLOWED_HOSTS = ["*"]
    make_champion()
    user = User.objects.create_superuser("root")
    applications = [make_application(submitted_by=user) for _ in range(3)]
    ScoringJob.objects.bulk_create([ScoringJob(application=application) for application in applications])
    # As Django's own test client does: a finished request must not end the connection that holds the test's transaction.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield ApiKey.issue(user=user, name="x")[1], applications
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def run(desk, cases: int, *, derandomize: bool) -> dict[str, int]:
    """{operation: cases}; an assertion for the first answer that is none of the declared ones."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

    key, applications = desk
    checks = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
    operations = [result.ok() for result in _schema().get_all_operations()]
    done = {}
    for operation in operations:
        numbers = itertools.count(1)

        def ask(case):
            number = next(numbers)  # noqa: B023 - run before the loop goes on
            if case.path_parameters and number % 2:
                case.path_parameters = dict.fromkeys(case.path_parameters, applications[number % 3].pk)
            case.validate_response(case.call(headers={"Authorization": f"Bearer {key}"}), checks=checks)

        settled = hypothesis_settings(
            max_examples=max(1, cases // len(operations)),
            derandomize=derandomize,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        settled(given(operation.as_strategy())(ask))()
        done[operation.label] = next(numbers) - 1
    return done


@pytest.mark.slow
@pytest.mark.django_db
def test_every_operation_answers_as_declared(desk):
    done = run(desk, 36, derandomize=True)
    assert len(done) >= 15 and all(done.values())


@pytest.mark.slow
@pytest.mark.django_db
def test_ten_thousand_cases(desk):
    done = run(desk, CASES or 10_000, derandomize=False)
    print("\n".join(f"{count:6,}  {label}" for label, count in done.items()))
