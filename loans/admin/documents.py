"""The documents of an application on its page: add, open, delete."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _

from loans.admin.base import post_only
from loans.models import Document, DocumentKind, LoanApplication
from loans.services import documents

ADDS, OPENS = "loans.add_document", "loans.view_document"
SEES_PEOPLE = "loans.view_personal_data"


class Documents:
    """For the admin of applications, which has `address` (where an application's page is)."""

    def document_paths(self) -> list[URLPattern]:
        return [
            self.at("<int:object_id>/documents/add/", self.document_add_view, "document_add"),
            self.at("<int:object_id>/documents/<int:document_id>/", self.document_view, "document"),
            self.at("<int:object_id>/documents/<int:document_id>/delete/", self.document_delete_view, "document_delete"),
        ]

    def documents_of(self, request: HttpRequest, application: LoanApplication) -> dict[str, Any]:
        """What the page shows. Names are personal data: without the permission there are kind, size, who and when."""
        user = request.user
        opens, named = user.has_perm(OPENS), user.has_perm(SEES_PEOPLE)
        rows = list(Document.objects.filter(application=application).select_related("added_by"))
        for row in rows:
            row.application = application
        room = settings.DOCUMENTS_AN_APPLICATION - len(rows)
        return {
            "rows": [
                {
                    "kind": row.get_kind_display(),
                    "name": documents.file_name(row) if named else "",
                    "url": reverse("admin:loans_loanapplication_document", args=[application.pk, row.pk]) if opens else "",
                    "size": filesizeformat(row.size),
                    "who": row.added_by.get_full_name() or row.added_by.get_username(),
                    "at": row.created_at,
                    "delete_url": reverse("admin:loans_loanapplication_document_delete", args=[application.pk, row.pk])
                    if documents.may_delete(row, user)
                    else "",
                }
                for row in rows
            ],
            "add_url": reverse("admin:loans_loanapplication_document_add", args=[application.pk])
            if user.has_perm(ADDS) and room > 0
            else "",
            "kinds": DocumentKind.choices,
            "takes": _("%(types)s, up to %(size)s each")
            % {"types": ", ".join(name.upper() for name in settings.DOCUMENT_TYPES), "size": documents.most()},
            "accept": ",".join(documents.TYPES[name][0] for name in settings.DOCUMENT_TYPES),
        }

    @post_only
    def document_add_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        application = self.seen_or_refused(request, str(object_id), ADDS)
        if application is None:
            return self.gone(request, str(object_id))
        file = request.FILES.get("file")
        try:
            if getattr(request, "upload_too_large", ""):
                raise documents.DocumentProblem(documents.too_large())
            if file is None:
                raise documents.DocumentProblem(_("Choose a file first."))
            added = documents.add(application, file.read(), name=file.name or "", kind=request.POST.get("kind", ""), by=request.user)
            self.message_user(request, _("The document is kept (%(kind)s).") % {"kind": added.get_kind_display()})
        except documents.HereAlready as here:
            self.message_user(request, str(here), messages.WARNING)
        except documents.DocumentProblem as problem:
            self.message_user(request, _("The document was not taken. %(why)s") % {"why": problem}, messages.ERROR)
        return HttpResponseRedirect(self.address(request, application) + "#documents")

    def document_view(self, request: HttpRequest, object_id: int, document_id: int) -> HttpResponse:
        """The file, to be saved: never shown in the desk's own origin, whatever it holds."""
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET"])
        document = self._document(request, object_id, document_id, OPENS)
        if document is None:
            return self.gone(request, str(object_id))
        try:
            content = documents.read(document, by=request.user)
        except documents.DocumentProblem as problem:
            self.message_user(request, str(problem), messages.ERROR)
            return HttpResponseRedirect(self.address(request, document.application))
        response = HttpResponse(content, content_type=document.content_type)
        response["Content-Disposition"] = content_disposition_header(True, documents.file_name(document))
        response["X-Content-Type-Options"] = "nosniff"
        response["Content-Security-Policy"] = "default-src 'none'; sandbox"
        response["Cache-Control"] = "no-store"
        return response

    @post_only
    def document_delete_view(self, request: HttpRequest, object_id: int, document_id: int) -> HttpResponse:
        document = self._document(request, object_id, document_id, ADDS)
        if document is None:
            return self.gone(request, str(object_id))
        try:
            documents.delete(document, by=request.user)
            self.message_user(request, _("The document is deleted."))
        except documents.DocumentProblem as problem:
            self.message_user(request, str(problem), messages.ERROR)
        return HttpResponseRedirect(self.address(request, document.application) + "#documents")

    def _document(self, request: HttpRequest, object_id: int, document_id: int, permission: str) -> Document | None:
        """None where the application is out of scope; raises PermissionDenied, and Http404 where it has no such document."""
        if not request.user.has_perm(SEES_PEOPLE):
            raise PermissionDenied
        application = self.seen_or_refused(request, str(object_id), permission)
        if application is None:
            return None
        document = Document.objects.filter(pk=document_id, application=application).first()
        if document is None:
            raise Http404
        document.application = application
        return document
