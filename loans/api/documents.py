"""The documents of an application: what there is. The files themselves are opened on the desk, where each look is noted."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from loans.api.base import DeskView
from loans.api.permissions import sees_personal_data, visible_application
from loans.models import Document, DocumentKind
from loans.services import audit, documents

MASK = "•••"


class DocumentSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=DocumentKind.choices)
    name = serializers.SerializerMethodField(help_text=f"{MASK} for whoever may not see personal data.")
    content_type = serializers.CharField(help_text="Told by the content, not by the name.")
    size = serializers.IntegerField(help_text="Bytes.")
    sha256 = serializers.CharField()
    created_at = serializers.DateTimeField()

    @extend_schema_field(serializers.CharField())
    def get_name(self, document: Document) -> str:
        return documents.file_name(document) if self.context["named"] else MASK


class DocumentList(DeskView):
    listed = True
    serializer_class = DocumentSerializer
    queryset = Document.objects.none()

    def get_queryset(self) -> object:
        return Document.objects.filter(application=self.application)

    def get_serializer_context(self) -> dict[str, object]:
        return {**super().get_serializer_context(), "named": getattr(self, "named", False)}

    @extend_schema(
        operation_id="applications_documents_list", summary="List an application's documents", responses=DocumentSerializer(many=True)
    )
    def get(self, request: Request, pk: int) -> Response:
        """The documents of one application that you may see, newest first."""
        self.application = visible_application(request, pk)
        self.named = sees_personal_data(request.user, self.application)
        answer = self.listing(request)
        if self.named and answer.data["results"]:
            audit.record("documents.listed", actor=request.auth or request.user, subject=self.application)
        return answer
