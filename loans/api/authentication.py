"""Who asks: an API client by its key, or somebody who is logged in on the site."""

from __future__ import annotations

import json
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from loans.models import ApiKey, OfficerProfile
from loans.models.api_key import PREFIX, digest_of
from loans.models.statements import first_row

USED_EVERY = timedelta(minutes=1)


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer ld_…`. `request.auth` is then the ApiKey, whose scopes `loans.api.permissions` reads."""

    def authenticate(self, request: Request) -> tuple[object, ApiKey] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        text = text.strip()
        if not text.startswith(PREFIX):
            raise exceptions.AuthenticationFailed(f"This is not a key of ours; they begin with {PREFIX}")
        digest = digest_of(text)
        key = _key_of(digest)
        if key is None:
            raise exceptions.AuthenticationFailed(_why_refused(digest))
        _note_use(key)
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Loandesk"'


_KEY = [field.column for field in ApiKey._meta.concrete_fields]
_USER = [field.column for field in get_user_model()._meta.concrete_fields]
# As `ApiKey.objects.valid()`, with all that a request asks of its user: his permissions and his branch.
_FIND = f"""
    SELECT {", ".join(f"key.{name}" for name in _KEY)}, {", ".join(f"usr.{name}" for name in _USER)},
        ARRAY(SELECT DISTINCT type.app_label || '.' || permission.codename FROM auth_permission permission
              JOIN django_content_type type ON type.id = permission.content_type_id
              WHERE permission.id IN (SELECT permission_id FROM auth_user_user_permissions WHERE user_id = usr.id
                  UNION SELECT permission_id FROM auth_group_permissions JOIN auth_user_groups USING (group_id) WHERE user_id = usr.id)),
        {", ".join(f"profile.{field.column}" for field in OfficerProfile._meta.concrete_fields)}
    FROM loans_apikey key JOIN auth_user usr ON usr.id = key.user_id LEFT JOIN loans_officerprofile profile ON profile.user_id = usr.id
    WHERE key.digest = %s AND key.revoked_at IS NULL AND usr.is_active AND
        (key.expires_at IS NULL OR key.expires_at > statement_timestamp())
"""  # noqa: S608 - names of our own


def _key_of(digest: str) -> ApiKey | None:
    """The valid key with this digest, in one query instead of five. Its user holds his permissions as Django's backend would cache them."""
    row = first_row(_FIND, [digest], checks=True)
    if row is None:
        return None
    user_model, at, to = get_user_model(), len(_KEY), len(_KEY) + len(_USER)
    user = user_model.from_db("default", [field.attname for field in user_model._meta.concrete_fields], row[at:to])
    if not user.is_superuser:  # who has every permission there is, in no table
        user._perm_cache = user._user_perm_cache = user._group_perm_cache = set(row[to])
    profile = row[to + 1 :]
    names = [field.attname for field in OfficerProfile._meta.concrete_fields]
    user._state.fields_cache["officer_profile"] = OfficerProfile.from_db("default", names, profile) if profile[0] is not None else None
    key = ApiKey.from_db("default", [field.attname for field in ApiKey._meta.concrete_fields], _decoded(row[:at]))
    key.user = user
    return key


def _decoded(values: tuple) -> list:
    """A raw cursor hands jsonb over as text."""
    return [
        json.loads(value) if isinstance(field, models.JSONField) and isinstance(value, str) else value
        for field, value in zip(ApiKey._meta.concrete_fields, values, strict=True)
    ]


def _why_refused(digest: str) -> str:
    """Only whoever holds the whole key can ask this, so telling more than "no" gives nothing away."""
    key = ApiKey.objects.select_related("user").filter(digest=digest).first()
    if key is None:
        return "There is no such key."
    if key.revoked_at is not None:
        return f"This key was revoked on {key.revoked_at:%Y-%m-%d}."
    if not key.user.is_active:
        return "The account of this key is not active."
    return f"This key expired on {key.expires_at:%Y-%m-%d}."


def _note_use(key: ApiKey) -> None:
    """At most one write a minute: a busy client would otherwise turn each of its reads into a write of one hot row."""
    if key.last_used_at is not None and timezone.now() - key.last_used_at < USED_EVERY:
        return
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=Now() - USED_EVERY)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=Now())


class SessionAuthentication(authentication.SessionAuthentication):
    """The site's login, with its CSRF token required of everything that writes."""
