"""Personal data at rest: authenticated encryption for what is read back, a keyed digest for what is only looked up.

AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D): safe for 2³² values a key, after which `PII_KEYS` must have rotated.
A stored value is `<key id>.<base64 of nonce + ciphertext>`; the key id is the start of the key's own digest, so that an old
value finds its key after a rotation. The column's name is authenticated with it: a value moved to another column does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import models

NONCE_BYTES = 12
BLOCK_BYTES = 64
"""Of SHA-256."""


class UnreadablePersonalData(Exception):
    """A stored value does not open: its key is not in PII_KEYS, or the value was altered."""


@lru_cache(maxsize=8)
def _ciphers(keys: tuple[bytes, ...]) -> dict[str, AESGCM]:
    return {hashlib.sha256(b"key-id" + key).hexdigest()[:8]: AESGCM(key) for key in keys}


def encrypt(value: str, *, context: str) -> str:
    key_id, cipher = next(iter(_ciphers(tuple(settings.PII_KEYS)).items()))
    nonce = os.urandom(NONCE_BYTES)
    sealed = nonce + cipher.encrypt(nonce, value.encode(), context.encode())
    return f"{key_id}.{base64.b64encode(sealed).decode()}"


def encrypt_many(values: Sequence[str | None], *, context: str) -> list[str | None]:
    """`encrypt` of a column's values; None and "" stay missing."""
    key_id, cipher = next(iter(_ciphers(tuple(settings.PII_KEYS)).items()))
    nonces, column, sealed = os.urandom(NONCE_BYTES * len(values)), context.encode(), []
    for number, value in enumerate(values):
        if not value:
            sealed.append(None)
            continue
        nonce = nonces[number * NONCE_BYTES : (number + 1) * NONCE_BYTES]
        body = binascii.b2a_base64(nonce + cipher.encrypt(nonce, value.encode(), column), newline=False)
        sealed.append(f"{key_id}.{body.decode()}")
    return sealed


def key_id() -> str:
    """Of the key that encrypts now: what stored values under it begin with."""
    return next(iter(_ciphers(tuple(settings.PII_KEYS))))


def key_ids() -> list[str]:
    """Of all keys that are known here, the one that encrypts first."""
    return list(_ciphers(tuple(settings.PII_KEYS)))


def decrypt(stored: str, *, context: str) -> str:
    key_id, _, body = stored.partition(".")
    cipher = _ciphers(tuple(settings.PII_KEYS)).get(key_id)
    if cipher is None:
        raise UnreadablePersonalData(f"No key in PII_KEYS has the id {key_id!r}, which {context} was written with.")
    sealed = base64.b64decode(body)
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context.encode()).decode()
    except InvalidTag as error:
        raise UnreadablePersonalData(f"{context}: the stored value does not match its key; it was altered or moved.") from error


def encrypt_bytes(value: bytes, *, context: str) -> bytes:
    """For files: the key's id, the nonce and the ciphertext, 36 bytes longer than `value`."""
    key_id, cipher = next(iter(_ciphers(tuple(settings.PII_KEYS)).items()))
    nonce = os.urandom(NONCE_BYTES)
    return key_id.encode() + nonce + cipher.encrypt(nonce, value, context.encode())


def decrypt_bytes(stored: bytes, *, context: str) -> bytes:
    key_id, nonce, body = stored[:8].decode("ascii", "replace"), stored[8 : 8 + NONCE_BYTES], stored[8 + NONCE_BYTES :]
    cipher = _ciphers(tuple(settings.PII_KEYS)).get(key_id)
    if cipher is None:
        raise UnreadablePersonalData(f"No key in PII_KEYS has the id {key_id!r}, which {context} was written with.")
    try:
        return cipher.decrypt(nonce, body, context.encode())
    except (InvalidTag, ValueError) as error:
        raise UnreadablePersonalData(f"{context}: the stored file does not match its key; it was altered or moved.") from error


class EncryptedTextField(models.TextField):
    """Text that the database only ever holds encrypted. It can't be filtered on; search by its blind index."""

    @property
    def _context(self) -> str:
        return f"{self.model._meta.db_table}.{self.column}"

    def get_prep_value(self, value: object) -> str | None:
        value = super().get_prep_value(value)
        return None if value in (None, "") else encrypt(value, context=self._context)

    def prepared_many(self, values: Sequence[str | None]) -> list[str | None]:
        """`get_prep_value` of many, for COPY."""
        return encrypt_many(values, context=self._context)

    def from_db_value(self, value: str | None, expression: object, connection: object) -> str:
        return "" if value is None else decrypt(value, context=self._context)

    def get_lookup(self, lookup_name: str):
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None


_NOT_ALNUM = re.compile(r"[^a-z0-9]+")


def normalise(kind: str, value: str) -> str:
    """One spelling for what a person may write in several ways, so that equal things get equal digests."""
    if value.isascii():  # nearly always, and a tenth of the time
        text = value.lower()
    else:
        text = unicodedata.normalize("NFKD", value).casefold()
        text = "".join(letter for letter in text if not unicodedata.combining(letter))
    if kind == "email":
        return text.strip()
    if kind == "phone":
        return "".join(letter for letter in text if letter.isdigit())[-10:]
    return _NOT_ALNUM.sub(" ", text).strip() if kind in ("name", "address", "employer") else _NOT_ALNUM.sub("", text)


def index_keys() -> list[bytes]:
    """All keys that blind indexes may be under, the one that writes first."""
    return [settings.BLIND_INDEX_KEY, *settings.OLD_BLIND_INDEX_KEYS]


def index_key_id(key: bytes | None = None) -> str:
    """Eight hex digits that tell two index keys apart and give nothing of them away."""
    return _index_key_id(key or settings.BLIND_INDEX_KEY)


@lru_cache(maxsize=8)
def _index_key_id(key: bytes) -> str:
    return hmac.digest(key, b"index-key-id", "sha256").hex()[:8]


@lru_cache(maxsize=32)
def _keyed(key: bytes) -> tuple[Any, Any]:
    key = key if len(key) <= BLOCK_BYTES else hashlib.sha256(key).digest()
    padded = key.ljust(BLOCK_BYTES, b"\0")
    return hashlib.sha256(bytes(byte ^ 0x36 for byte in padded)), hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))


def _digest(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104), in a third of `hmac.digest`'s time: both halves of the key are hashed once and copied."""
    inner, outer = _keyed(key)
    inner, outer = inner.copy(), outer.copy()
    inner.update(message)
    outer.update(inner.digest())
    return outer.digest()


def blind_index(kind: str, value: str, *, key: bytes | None = None) -> bytes | None:
    """A 16-byte keyed digest of the normalised value (None for nothing): equality can be searched, the value can't be read.

    key: an older one, to look for what is still under it.
    """
    text = normalise(kind, value or "")
    if not text:
        return None
    return _digest(key or settings.BLIND_INDEX_KEY, f"{kind}\0{text}".encode())[:16]


MOST_NAME_WORDS = 8


def name_tokens(name: str, *, key: bytes | None = None) -> list[bytes]:
    """An 8-byte keyed digest of each word of a name, sorted and once each: who knows one word finds the name, nobody reads it.

    Equal words have equal digests, so how often a name occurs can be counted in a stolen copy, as with the index of whole names.
    """
    words = sorted({word for word in normalise("name", name or "").split() if len(word) > 1})[:MOST_NAME_WORDS]
    key = key or settings.BLIND_INDEX_KEY
    return sorted([_digest(key, f"name_token\0{word}".encode())[:8] for word in words])
