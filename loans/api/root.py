"""The plain addresses beside the resources: what a kind of problem means, and what is not there."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import csrf_exempt

from loans.api import problems


def problem_kind(request: HttpRequest, slug: str) -> HttpResponse:
    """What the `type` of a problem points to."""
    kind = problems.KINDS.get(slug)
    if kind is None:
        return nothing_here(request)
    return JsonResponse({"type": request.path, "status": kind.status, "title": kind.title, "meaning": kind.meaning})


@csrf_exempt
def nothing_here(request: HttpRequest) -> HttpResponse:
    """404 for whatever else is under /api/, whichever method, without a redirect that would lose a POST's body."""
    if not request.path.endswith("/"):
        try:
            if resolve(f"{request.path_info}/").func is not nothing_here:
                return problems.response("not-found", "Nothing here; the addresses of this API end with a slash.")
        except (Resolver404, Http404):
            pass
    return problems.response("not-found", "There is no such address in this API; /api/docs/ lists them.")
