"""Who asks: an API client by its key, or somebody who is logged in on the site."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from loans.models import ApiKey
from loans.models.api_key import PREFIX, digest_of

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
        key = ApiKey.objects.valid().select_related("user").filter(digest=digest).first()
        if key is None:
            raise exceptions.AuthenticationFailed(_why_refused(digest))
        _note_use(key)
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Loandesk"'


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
