"""A few applications that nobody suspects are looked at all the same: else the only labels are of what was flagged anyway."""

from __future__ import annotations

import hashlib
import hmac


def is_sampled(reference: str, share: float, key: bytes) -> bool:
    """Whether this application is one of the `share` (0–1) to be reviewed unflagged.

    The same for ever, so that scoring twice draws once; keyed, so that nobody can choose a reference that is never drawn.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"A share of {share} is outside 0 to 1.")
    drawn = int.from_bytes(hmac.digest(key, b"fraud-sample\0" + reference.encode(), hashlib.sha256)[:8], "big")
    return drawn < share * 2**64
