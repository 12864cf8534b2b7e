"""What would change an application's outcome: asked for when somebody looks, computed on the serving model, nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.utils.translation import gettext as _

from loans.models import LoanApplication
from loans.models.fields import APPLICATION_FIELDS
from loans.queries.application_facts import value_text
from loans.queries.application_risk import KnockOut
from loans.queries.words import fixed, percent, points
from loans.services import registry
from loans.services.what_if import WhatIf, what_if


@dataclass(frozen=True)
class Step:
    """`Amount requested: $8,500 instead of $12,000`. also: it follows from another step."""

    title: str
    new: str
    old: str
    change: str
    also: bool


@dataclass(frozen=True)
class Way:
    steps: list[Step]
    probability: str
    change: str


@dataclass(frozen=True)
class Answer:
    """text: in one sentence. ways: the nearest first. version: of the model that scored every one of them."""

    text: str
    ways: list[Way]
    knock_outs: list[KnockOut]
    version: Any = None
    help: str = ""


def answer(application: LoanApplication) -> Answer:
    from mlcore.artifacts import ArtifactError

    try:
        found = what_if(application)
    except registry.NoChampion:
        return Answer(_("No model serves yet, so nothing can be tried out."), [], [])
    except (ArtifactError, OSError):
        return Answer(_("The model in service can't be read, so nothing can be tried out. Tell whoever runs this desk."), [], [])
    ways = [_way(proposal, found.probability) for proposal in found.proposals]
    return Answer(_text(found), ways, [KnockOut.of(row) for row in found.knock_outs], found.version, help=_help(found))


def _text(found: WhatIf) -> str:
    here, cut = percent(found.probability), percent(found.cutoff)
    if found.probability < found.cutoff:
        if found.knock_outs:
            return _("The score is not what stands against it: %(here)s is below the %(cut)s up to which is approved.") % {
                "here": here,
                "cut": cut,
            }
        return _("Nothing has to change: %(here)s is below the %(cut)s up to which is approved.") % {"here": here, "cut": cut}
    if not found.proposals:
        text = _("No feasible change brings it from %(here)s to below %(cut)s, up to which is approved.") % {"here": here, "cut": cut}
        if found.lowest < found.cutoff:
            return _("%(text)s Some would, but they run into a knock-out rule.") % {"text": text}
        return _("%(text)s The lowest that was reached is %(lowest)s.") % {"text": text, "lowest": percent(found.lowest)}
    ways = _("One way") if len(found.proposals) == 1 else f"{('Two', 'Three')[min(len(found.proposals), 3) - 2]} ways"
    return _("%(ways)s from %(here)s to below %(cut)s, up to which is approved; the nearest first.") % {
        "ways": ways,
        "here": here,
        "cut": cut,
    }


def _help(found: WhatIf) -> str:
    if not found.proposals:
        return _("Scored by %(version)s as the application stands, under the policy in force.") % {"version": found.version}
    return _(
        "Each was scored by %(version)s as a changed application. Only what an applicant can change was moved, up "
        "to what other applicants have; a new application with these values would get that score, provided "
        "nothing else changes."
    ) % {"version": found.version}


def _way(proposal: dict[str, Any], before: float) -> Way:
    after = proposal["probability"]
    return Way([_step(change) for change in proposal["changes"]], percent(after), points(after - before))


def _step(change: dict[str, Any]) -> Step:
    old, new, column, unit = change["old"], change["new"], change["column"], change["unit"] or ""
    moved = ""
    if _is_number(old) and _is_number(new):
        size = f"{fixed(100 * abs(new - old), 1)} % points" if _is_share(column) else value_text(column, abs(new - old), unit)
        moved = f"{'lower' if new < old else 'higher'} by {size}"
    return Step(change["title"], value_text(column, new, unit), value_text(column, old, unit), moved, change["follows"] is not None)


def _is_share(column: str) -> bool:
    return column in APPLICATION_FIELDS and APPLICATION_FIELDS[column].kind == "ratio"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class WhatIfPage:
    """For the admin of applications: `…/what-if/`, a page of its own, or with `?part=1` only what the application's page loads into it."""

    def what_if_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        application = self.seen_or_refused(request, str(object_id))
        part = "part" in request.GET
        if application is None:
            return HttpResponse(_("It is not there any more."), status=404) if part else self.gone(request, str(object_id))
        context = {"original": application, "answer": answer(application), "decided": not application.is_undecided}
        if part:
            return render(request, "admin/loans/loanapplication/what_if_answer.html", context)
        context |= {
            "title": _("What would change the outcome of %(application)s?") % {"application": application},
            "application_url": self.page_of(application),
        }
        return self.render(request, "admin/loans/loanapplication/what_if.html", context)
