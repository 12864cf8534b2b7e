"""A version's life on its page: the steps that were taken, and those that this reader may take next. Each is a POST with a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.translation import gettext as _

from loans.admin.base import post_only
from loans.models import ModelState, ModelVersion
from loans.queries.words import day_of
from loans.services import registry, shadow

PROMOTES = "loans.promote_modelversion"
LONGEST_REASON = 300


class ModelLife:
    """For the admin of model versions."""

    def life_paths(self) -> list[URLPattern]:
        return [
            self.at("<int:object_id>/roll-back/", self.roll_back_view, "rollback"),
            self.at("<int:object_id>/shadow/", self.shadow_view, "shadow"),
            self.at("<int:object_id>/no-shadow/", self.no_shadow_view, "noshadow"),
        ]

    @post_only
    def roll_back_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        def back(version: ModelVersion, reason: str) -> tuple[ModelVersion, str]:
            if not version.is_champion:
                raise registry.NotPromotable(
                    _("%(version)s does not serve any more: look at which version does before you roll back.") % {"version": version}
                )
            returned = registry.roll_back(version.kind, by=request.user, reason=reason)
            return returned, _("%(returned)s serves again. Applications that were scored meanwhile keep their scores.") % {
                "returned": returned
            }

        return self._step(request, object_id, back, wanted=_("Say what is wrong with this version: it is kept with the roll-back."))

    @post_only
    def shadow_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        def begin(version: ModelVersion, reason: str) -> tuple[ModelVersion, str]:
            started = shadow.start(version, by=request.user, reason=reason)
            return started, _("%(started)s scores in shadow from now on: what is scored is scored by it too, and nobody is shown it.") % {
                "started": started
            }

        return self._step(request, object_id, begin, wanted=_("Say why it should run in shadow."))

    @post_only
    def no_shadow_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        def end(version: ModelVersion, reason: str) -> tuple[ModelVersion, str]:
            stopped = shadow.stop(version, by=request.user, reason=reason)
            return stopped, _("%(stopped)s is out of shadow. Its scores stay for comparison.") % {"stopped": stopped}

        return self._step(request, object_id, end, wanted=_("Say why its shadow ends."))

    def _step(
        self,
        request: HttpRequest,
        object_id: int,
        take: Callable[[ModelVersion, str], tuple[ModelVersion, str]],
        *,
        wanted: str,
        permission: str = PROMOTES,
    ) -> HttpResponse:
        """Check permission and reason, take the step, and say on the version's page what came of it."""
        from mlcore.artifacts import ArtifactError

        version = self.seen_or_refused(request, str(object_id), permission)
        if version is None:
            return self.gone(request, str(object_id))
        reason = request.POST.get("reason", "").strip()
        if not reason or len(reason) > LONGEST_REASON:
            return self.told(
                request,
                version,
                wanted if not reason else _("At most %(longest_reason)s characters.") % {"longest_reason": LONGEST_REASON},
                messages.ERROR,
            )
        try:
            found, words = take(version, reason)
        except (registry.NotPromotable, ArtifactError, OSError) as refusal:
            return self.told(request, version, str(refusal), messages.ERROR)
        self.log_change(request, found, f"{words} {reason}"[:1000])
        return self.told(request, found, words)

    def life(self, request: HttpRequest, version: ModelVersion) -> dict[str, Any]:
        """For the template: `events`, and `back` where this reader may roll back."""
        may = request.user.has_perm(PROMOTES)
        made: dict[str, Any] = {
            "events": [
                {
                    "when": event.at,
                    "what": event.get_action_display(),
                    "who": who(event.actor),
                    "why": event.reason,
                }
                for event in version.events.select_related("actor")[:50]
            ],
            "made_with": made_with(version),
            "checks": [
                (one.created_at, one.get_state_display(), reverse("admin:loans_promotioncheck_change", args=[one.pk]))
                for one in version.checks.only("created_at", "state", "version_id")[:5]
            ]
            if request.user.has_perm("loans.view_promotioncheck")
            else [],
        }
        if version.kind in shadow.KINDS:
            made["shadow"] = self._shadow(version, may)
        if may and version.is_champion and version.predecessor_id:
            made["back"] = {"to": version.predecessor, "url": reverse("admin:loans_modelversion_rollback", args=[version.pk])}
        return made

    def _shadow(self, version: ModelVersion, may: bool) -> dict[str, Any]:
        """What the page says of its shadow, and the way in or out of it."""
        days = shadow.time_in(version).total_seconds() / 86_400
        made: dict[str, Any] = {"runs": version.state == ModelState.SHADOW, "days": f"{days:.1f}", "ever": days > 0}
        if made["ever"]:
            made["scores"] = version.predictions.filter(shadow=True).count()
        if may and made["runs"]:
            made["stop"] = reverse("admin:loans_modelversion_noshadow", args=[version.pk])
        elif may and version.state in shadow.STARTS_FROM:
            made["start"] = reverse("admin:loans_modelversion_shadow", args=[version.pk])
        return made


def who(user: Any) -> str:
    """None is the schedule, a command or a rule."""
    return _("the desk itself") if user is None else user.get_full_name() or user.get_username()


def made_with(version: ModelVersion) -> list[tuple[str, str]]:
    """Libraries, code and data that the version was made with, to show."""
    environment = version.environment if isinstance(version.environment, dict) else {}
    rows = [(str(name), str(number)) for name, number in (environment.get("libraries") or {}).items()]
    if environment.get("code"):
        rows.append(("Code", str(environment["code"])))
    if environment.get("commit"):
        rows.append(("Commit", str(environment["commit"])))
    if version.learned_until:
        rows.append((_("Learned from applications until"), day_of(version.learned_until)))
    return rows
