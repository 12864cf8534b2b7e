"""Pages by position, not by number: rows that come in meanwhile shift nothing, and page 10,000 costs what page 1 costs."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from loans.api.problems import InvalidRequest

PAGE_SIZE, MAX_PAGE_SIZE = 50, 200
MAX_ID = 2**63 - 1


@dataclass(frozen=True)
class Key:
    """A column that a list can be sorted by. `read` makes its value from the cursor's text and raises ValueError."""

    read: Callable[[Any], Any]
    unknown: float | None = None  # stands for NULL, which no comparison finds


def _time(value: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError
    return time.astimezone(UTC)


def _money(value: Any) -> Decimal:
    amount = Decimal(value)
    if not amount.is_finite() or abs(amount) > 10**15:
        raise ValueError
    return amount


def _number(value: Any) -> float:
    if isinstance(value, str) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _id(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_ID:
        raise ValueError
    return value


KEYS = {"id": Key(_id), "submitted_at": Key(_time), "amount": Key(_money), "default_probability": Key(_number, unknown=-1.0)}


class KeysetPagination(BasePagination):
    """`?page_size=`, `?cursor=` and, where the view has several `orderings`, `?ordering=`. `next` is the whole next address."""

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: Any = None) -> list:
        self.request = request
        size = self._size(request)
        self.ordering = ordering = request.query_params.get("ordering") or view.orderings[0]
        if ordering not in view.orderings:
            raise InvalidRequest({"ordering": f"must be one of {', '.join(view.orderings)}"})
        name, falling = ordering.lstrip("-"), ordering.startswith("-")
        key = KEYS[name]
        column = F(name) if key.unknown is None else Coalesce(F(name), Value(key.unknown))
        queryset = queryset.annotate(page_key=column)
        if request.query_params.get("cursor"):
            queryset = queryset.filter(self._beyond(request.query_params["cursor"], ordering, key, "lt" if falling else "gt"))
        sign = "-" if falling else ""
        rows = list(queryset.order_by(f"{sign}page_key", f"{sign}id")[: size + 1])
        self.last = rows[size - 1] if len(rows) > size else None
        return rows[:size]

    @staticmethod
    def _size(request: Request) -> int:
        text = request.query_params.get("page_size") or str(PAGE_SIZE)
        if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_PAGE_SIZE):
            raise InvalidRequest({"page_size": f"must be a whole number from 1 to {MAX_PAGE_SIZE}"})
        return int(text)

    @staticmethod
    def _beyond(cursor: str, ordering: str, key: Key, than: str) -> Q:
        try:
            made_for, value, last_id = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
            if made_for != ordering:
                raise InvalidRequest({"cursor": f"was made for ordering={str(made_for)[:40]}; a cursor goes on in its own order only"})
            value, last_id = key.read(value), _id(last_id)
        except (ValueError, TypeError, InvalidOperation, binascii.Error, RecursionError, OverflowError):
            raise InvalidRequest({"cursor": "is not a cursor of this list; take `next` of an earlier page as it is"}) from None
        # The first condition alone is what an index can seek to; the second cuts off the equal ones before.
        return Q(**{f"page_key__{than}e": value}) & (Q(**{f"page_key__{than}": value}) | Q(**{f"id__{than}": last_id}))

    def _next(self) -> str | None:
        if self.last is None:
            return None
        value = self.last.page_key
        plain = value.isoformat() if isinstance(value, datetime) else str(value) if isinstance(value, Decimal) else value
        cursor = base64.urlsafe_b64encode(json.dumps([self.ordering, plain, self.last.pk]).encode()).decode()
        return replace_query_param(self.request.build_absolute_uri(), "cursor", cursor)

    def get_paginated_response(self, data: list) -> Response:
        return Response({"next": self._next(), "results": data})

    def get_paginated_response_schema(self, schema: dict) -> dict:
        link = {"type": "string", "format": "uri", "nullable": True, "description": "The next page's address; null on the last page."}
        return {"type": "object", "required": ["next", "results"], "properties": {"next": link, "results": schema}}

    def get_schema_operation_parameters(self, view: Any) -> list[dict]:
        def parameter(name: str, schema: dict, description: str) -> dict:
            return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}

        size = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": PAGE_SIZE}
        orderings = {"type": "string", "enum": list(view.orderings), "default": view.orderings[0]}
        return [
            parameter("page_size", size, "Rows a page."),
            parameter("cursor", {"type": "string"}, "From `next` of the page before."),
            parameter("ordering", orderings, "With “-” falling. Applications without a score count as the least risky."),
        ]
