"""The OpenAPI description: keys as a login, and every error that an operation can answer with."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework import serializers

from loans.api.problems import KINDS, MEDIA_TYPE

EVERYWHERE = ("invalid", "unauthenticated", "forbidden", "not-acceptable", "throttled", "unexpected", "unavailable")
WITH_BODY = ("malformed", "too-large", "unsupported-media-type")


class FieldErrorSerializer(serializers.Serializer):
    field = serializers.CharField(help_text="Path of the field, such as applicant.email; empty for the whole body.")
    message = serializers.CharField()


class ProblemSerializer(serializers.Serializer):
    """RFC 9457."""

    type = serializers.CharField(help_text="Address of this kind of problem; it says what it means.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = FieldErrorSerializer(many=True, required=False, help_text="Where single fields are wrong.")
    request_id = serializers.CharField(help_text="Of this request; our log has it too.")


class DeskSchema(AutoSchema):
    """Adds to each operation the problems of all operations, and those that its view names in `problems` ({method: slugs})."""

    def _get_response_bodies(self, direction: str = "response") -> dict[str, Any]:
        bodies = super()._get_response_bodies(direction)
        slugs = {*EVERYWHERE, *getattr(self.view, "problems", {}).get(self.method, ())}
        if "{" in self.path:
            slugs.add("not-found")
        if self.method in ("POST", "PUT", "PATCH"):
            slugs.update(WITH_BODY)
        problem = self.resolve_serializer(ProblemSerializer, direction).ref
        for kind in sorted((KINDS[slug] for slug in slugs), key=lambda kind: (kind.status, kind.slug)):
            body = bodies.setdefault(str(kind.status), {"content": {MEDIA_TYPE: {"schema": problem}}, "description": ""})
            body["description"] = f"{body['description']} {kind.slug}: {kind.meaning}".strip()
        return bodies


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = "loans.api.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "ld_…", "description": "An API key, as an administrator issued it."}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "loans.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "The site's login; writing needs X-CSRFToken."}


class SchemaView(SpectacularAPIView):
    http_method_names = ("get", "head")


class DocsView(SpectacularSwaggerSplitView):
    """Its script has an address of its own, so that it runs under script-src 'self'."""

    http_method_names = ("get", "head")
