"""JSON as the standard has it: no NaN, no Infinity."""

from __future__ import annotations

import math
from typing import Any

from rest_framework.renderers import BaseRenderer, JSONRenderer


class FiniteJSONRenderer(JSONRenderer):
    """A number that is not finite goes out as null: no JSON parser but Python's own reads NaN."""

    strict = True

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: dict | None = None) -> bytes:
        try:
            return super().render(data, accepted_media_type, renderer_context)
        except ValueError:
            return super().render(finite(data), accepted_media_type, renderer_context)


class MetricsRenderer(BaseRenderer):
    """Prometheus' text format, version 0.0.4."""

    media_type = "text/plain"
    format = "txt"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: dict | None = None) -> str:
        return data


def finite(data: Any) -> Any:
    """The same data with None for every NaN and infinity."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {name: finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return data
