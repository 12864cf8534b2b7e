"""Blind indexes and signatures under a new key: whoever is looked for is found before, meanwhile and after, and links stay whole."""

from __future__ import annotations

import io
import os
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from loans.models import Applicant, ApplicationLink, AttributeDefinition, AuditEvent
from loans.models.crypto import blind_index, index_key_id
from loans.queries.fraud_links import link_features
from loans.services import erasure, index_rotation, registry
from loans.services.fraud import links
from mlcore import artifacts
from tests.factories import START, make_application, make_champion

pytestmark = pytest.mark.django_db


def person(number: int, **more) -> int:
    applicant = Applicant.objects.create(name=f"Person Nr{number % 3}", phone=f"555 000 {number % 4:04d}", email="one@example.org")
    at = START + timedelta(hours=number)
    return make_application(applicant=applicant, attributes={"device_id": f"d{number % 2}"}, submitted_at=at, **more).pk


@pytest.fixture
def desk(db):
    AttributeDefinition.objects.create(name="device_id", kind="category", link_kind="device")
    ids = [person(number) for number in range(7)]
    links.link_waiting()
    return ids


@pytest.fixture
def rotated(desk, settings):
    """A new key stands before the old one; every process was started anew."""
    settings.OLD_BLIND_INDEX_KEYS = [settings.BLIND_INDEX_KEY]
    settings.BLIND_INDEX_KEY = os.urandom(32)
    return desk


def found(text: str) -> int:
    return Applicant.objects.all().matching(text).count()


def described(ids: list[int]) -> list[dict]:
    features = link_features(ids)
    return [features[pk] for pk in ids]


def test_everybody_is_found_and_linked_before_meanwhile_and_after(rotated, settings, monkeypatch):
    ids = [*rotated, person(7)]
    assert links.link_waiting() == 1
    before = described(ids)
    assert before[-1]["email_7d"] == 7 and before[-1]["device_7d"] == 3 and before[-1]["other_names_phone"] == 1
    assert (found("ONE@example.org"), found("person nr1"), index_rotation.left()) == (8, 3, 7)

    monkeypatch.setattr(index_rotation, "BATCH", 3)
    with pytest.raises(KeyboardInterrupt):
        index_rotation.reindex(progress=_stop)
    assert index_rotation.left() == 4, "what is done stays done"
    assert (found("one@example.org"), found("person nr1")) == (8, 3)

    ids.append(person(8))
    assert links.link_waiting() == 1
    assert index_rotation.reindex() == 4
    assert index_rotation.turn_links_over() == 9
    assert AuditEvent.objects.get(action=links.TURNED).facts == {"key": index_key_id(), "applications": 9}
    assert index_rotation.turn_links_over() == 0
    ids.append(person(9))
    assert links.link_waiting() == 1
    after = described(ids)
    assert after[: len(before)] == before and after[-1]["email_7d"] == 9

    settings.OLD_BLIND_INDEX_KEYS = []
    assert (found("one@example.org"), found("person nr1")) == (10, 3)
    ids.append(person(10))
    assert links.link_waiting() == 1
    assert described(ids)[: len(after)] == after and described(ids)[-1]["email_7d"] == 10


def _stop(rows: int) -> None:
    raise KeyboardInterrupt


def test_nothing_is_left_under_the_old_key_and_nobody_comes_back(rotated, settings):
    old = settings.OLD_BLIND_INDEX_KEYS[0]
    before = ApplicationLink.objects.count()
    erased, stage = make_application(applicant=Applicant.objects.create(name="Gone"), status="declined"), index_rotation._stage
    links.link_waiting()

    def erase_meanwhile(*args):
        done = stage(*args)
        if ApplicationLink.objects.filter(application=erased).exists():
            erasure.erase(erased.pk, by=None)
        return done

    index_rotation._stage, kept = erase_meanwhile, stage
    try:
        call_command("rotate_keys", stdout=(out := io.StringIO()))
    finally:
        index_rotation._stage = kept
    assert "7 applicants indexed anew and 8 applications linked anew" in out.getvalue()
    assert ApplicationLink.objects.count() == before and not ApplicationLink.objects.filter(application=erased).exists()
    digests = [blind_index("email", "one@example.org", key=key) for key in (old, settings.BLIND_INDEX_KEY)]
    assert [ApplicationLink.objects.filter(digest=digest).count() for digest in digests] == [0, 7]
    assert [Applicant.objects.filter(email_index=digest).count() for digest in digests] == [0, 7]


def test_a_rotation_back_to_an_earlier_key_turns_the_links_again(rotated, settings):
    first, second = settings.OLD_BLIND_INDEX_KEYS[0], settings.BLIND_INDEX_KEY
    call_command("rotate_keys", stdout=io.StringIO())
    settings.BLIND_INDEX_KEY, settings.OLD_BLIND_INDEX_KEYS = first, [second]
    assert links.link_key() == second
    assert index_rotation.turn_links_over() == 7 and links.link_key() == first


def test_models_are_signed_anew_and_serve_meanwhile(artifacts_rotated, settings):
    version, path, content = artifacts_rotated
    assert registry.load(version) is not None
    assert index_rotation.sign_models_anew() == 1 and index_rotation.sign_models_anew() == 0
    settings.OLD_ARTIFACT_KEYS = []
    assert registry.load(version) is not None
    signed = path.read_bytes()
    assert signed.partition(b"\n")[2] == content.partition(b"\n")[2] and signed != content


@pytest.fixture
def artifacts_rotated(artifacts, settings):
    version = make_champion()
    path = artifacts / version.artifact
    settings.OLD_ARTIFACT_KEYS, settings.ARTIFACT_KEY = [settings.ARTIFACT_KEY], os.urandom(32)
    return version, path, path.read_bytes()


def test_a_model_that_no_key_opens_is_named(artifacts_rotated, settings):
    settings.OLD_ARTIFACT_KEYS = [os.urandom(32)]
    with pytest.raises(CommandError, match="was signed with the key .* Put its key back into ARTIFACT_KEY"):
        call_command("rotate_keys", stdout=io.StringIO())
    with pytest.raises(artifacts.ArtifactWrongKey):
        registry.load(artifacts_rotated[0])
