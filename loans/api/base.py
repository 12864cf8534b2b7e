"""What all views of the API share."""

from __future__ import annotations

from typing import ClassVar

from rest_framework.exceptions import NotFound
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.settings import api_settings

from loans.api.pagination import KeysetPagination
from loans.api.permissions import Scoped
from loans.api.problems import InvalidRequest
from loans.api.schema import DeskSchema
from loans.api.throttles import PerClient


class DeskView(GenericAPIView):
    """scopes: {method: scope of an API key}. parameters: query parameters of the view's own; one that nobody knows is an error.

    A misspelt filter that was ignored would answer with everybody's applications.
    """

    scopes: ClassVar[dict[str, str]] = {"GET": "read"}
    session_permission: ClassVar[str | None] = None
    parameters: ClassVar[tuple[str, ...]] = ()
    orderings: ClassVar[tuple[str, ...]] = ("-id", "id")
    permission_classes = (Scoped,)
    throttle_classes = (PerClient,)
    pagination_class = KeysetPagination
    schema = DeskSchema()
    http_method_names = ("get", "head", "post")  # OPTIONS would describe the views a second time, and worse than the schema

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple:
        """Nearly everybody takes anything or JSON; who asks for something else is heard out by the rules."""
        first, asked = self.renderer_classes[0], request.META.get("HTTP_ACCEPT", "*/*")
        by_name = self.format_kwarg or api_settings.URL_FORMAT_OVERRIDE in request.query_params
        if asked in ("*/*", "application/json") and first.media_type == "application/json" and not by_name:
            return first(), first.media_type
        return super().perform_content_negotiation(request, force)

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        super().initial(request, *args, **kwargs)
        unknown = set(request.query_params) - self._known(request)
        if unknown:
            raise InvalidRequest(dict.fromkeys(sorted(unknown)[:20], "is not a parameter here"))

    def _known(self, request: Request) -> set[str]:
        known = {api_settings.URL_FORMAT_OVERRIDE, *self.parameters}
        if request.method in ("GET", "HEAD") and getattr(self, "listed", False):
            known |= {"page_size", "cursor", "ordering"}
            filters = getattr(self, "filterset_class", None)
            if filters is not None:
                known |= set(filters.base_filters)
        return known

    def listing(self, request: Request) -> object:
        """The filtered page of this view's rows, as an answer."""
        rows = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(rows, many=True).data)

    def found(self, row: object | None) -> object:
        if row is None:
            raise NotFound
        return row
