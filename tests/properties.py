"""What the property tests share: how many cases, and what a finite value is. `make properties` sets PROPERTY_CASES for all together."""

from __future__ import annotations

import math
import os
from typing import Any

from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings

CASES = int(os.environ.get("PROPERTY_CASES", "0"))
TESTS = 10
"""How many tests share them."""


def some(cases: int) -> hypothesis_settings:
    """So many cases each time, always the same ones; or this test's part of PROPERTY_CASES, new ones every time."""
    many = CASES > 0
    return hypothesis_settings(
        max_examples=max(CASES // TESTS, 1) if many else cases, derandomize=not many, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip


def finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(finite(inner) for inner in value.values())
    return all(finite(inner) for inner in value) if isinstance(value, list | tuple) else True
