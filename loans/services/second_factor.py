"""Time-based one-time passwords (RFC 6238, with the parameters that authenticator apps expect: SHA-1, six digits, thirty seconds)."""

from __future__ import annotations

import base64
import hmac
import secrets
import struct
import time
from typing import Any
from urllib.parse import quote, urlencode

from django.db import transaction
from django.db.models.functions import Now

from loans.models import SecondFactor
from loans.services import audit

STEP, DIGITS, ISSUER = 30, 6, "Loandesk"
LEEWAY = 1
"""Steps that a clock may be off, either way."""


def code_at(secret: str, step: int) -> str:
    """The code of one step, HOTP as RFC 4226 has it."""
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", step), "sha1")
    at = digest[-1] & 0x0F
    return f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 10**DIGITS:0{DIGITS}d}"


def begin(user: Any) -> SecondFactor:
    """The user's factor, to be confirmed with a code; a new secret each time until it is."""
    factor = SecondFactor.objects.filter(user=user).first()
    if factor is not None and factor.confirmed_at is not None:
        return factor
    return SecondFactor.objects.update_or_create(user=user, defaults={"secret": base64.b32encode(secrets.token_bytes(20)).decode()})[0]


def address(factor: SecondFactor) -> str:
    """What an authenticator app takes."""
    label = quote(f"{ISSUER}:{factor.user.get_username()}")
    return f"otpauth://totp/{label}?{urlencode({'secret': factor.secret, 'issuer': ISSUER})}"


def has(user: Any) -> bool:
    return SecondFactor.objects.filter(user=user, confirmed_at__isnull=False).exists()


def accept(user: Any, code: str, *, now: float | None = None, confirm: bool = False) -> bool:
    """Whether this is the user's code now, and not one that was used already. confirm: the first code of a factor that was begun."""
    given = "".join(code.split())
    with transaction.atomic():
        factor = SecondFactor.objects.select_for_update().filter(user=user, confirmed_at__isnull=confirm).first()
        if factor is None:
            return False
        here = int((time.time() if now is None else now) // STEP)
        for step in range(here - LEEWAY, here + LEEWAY + 1):
            if step > factor.last_step and hmac.compare_digest(code_at(factor.secret, step).encode(), given.encode()):
                changes = {"last_step": step} | ({"confirmed_at": Now()} if confirm else {})
                SecondFactor.objects.filter(pk=factor.pk).update(**changes)
                if confirm:
                    audit.record("second_factor.confirmed", actor=user, subject=user)
                return True
    return False


def remove(user: Any, *, by: Any) -> bool:
    """Take it away, as when the phone is lost; the next login asks to set up a new one where one is required."""
    with transaction.atomic():
        found = SecondFactor.objects.filter(user=user).delete()[0]
        if found:
            audit.record("second_factor.removed", actor=by, subject=user)
    return bool(found)
