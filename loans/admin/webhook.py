"""Webhooks: who is told, what was sent, what was answered, and sending it again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminURLInputWidget

from loans.admin.base import DeskAdmin, ReadOnly, badge, post_only
from loans.models import DeliveryState, WebhookDelivery, WebhookEndpoint
from loans.models.webhook import EVENTS
from loans.services import audit, webhook_http, webhooks

REPLAYS = "loans.replay_webhookdelivery"
TONES = {DeliveryState.PENDING: "info", DeliveryState.DELIVERED: "success", DeliveryState.FAILED: "danger"}


class EndpointForm(forms.ModelForm):
    url = forms.URLField(
        label="Address", max_length=500, assume_scheme="https", widget=UnfoldAdminURLInputWidget,
        help_text="https://…; private and local addresses are refused.",
    )  # fmt: skip
    events = forms.MultipleChoiceField(
        choices=[(event, f"{event}: {meaning}") for event, meaning in EVENTS.items()], widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    class Meta:
        model = WebhookEndpoint
        fields = ("name", "url", "user", "events", "active")

    def clean_url(self) -> str:
        url = self.cleaned_data["url"]
        try:
            webhook_http.check_url(url, settings.WEBHOOK_ALLOWED_NETWORKS)
        except webhook_http.Refused as refusal:
            raise forms.ValidationError(str(refusal)) from refusal
        return url


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(DeskAdmin):
    form = EndpointForm
    list_display = ("name", "host_shown", "events_shown", "user", "active_shown", "created")
    list_filter = ("active",)
    list_filter_submit = False
    list_select_related = ("user",)
    search_fields = ("name",)
    autocomplete_fields = ("user",)
    fields = ("name", "url", "user", "events", "active")
    empty_title = _("No webhooks yet")
    empty_text = _("A webhook tells another system when an application is scored, decided or flagged.")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its deliveries are the log: switch it off instead

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type[forms.ModelForm]:
        made = super().get_form(request, obj, change=change, **kwargs)
        if "user" in made.base_fields and not request.user.is_superuser:
            # It hears what its user may see: an administrator must not listen with a superuser's ears.
            made.base_fields["user"].queryset = made.base_fields["user"].queryset.filter(is_superuser=False)
        return made

    def response_add(self, request: HttpRequest, obj: WebhookEndpoint, post_url_continue: str | None = None) -> HttpResponse:
        # In the answer to the POST itself, as with API keys: a redirect would need the text to be kept somewhere.
        context = {"title": f"Secret of {obj.name}", "secret": obj.secret, "endpoint": obj, "list_url": self.the_list()}
        response = self.render(request, "admin/loans/webhook/issued.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @display(description=_("Host"))
    def host_shown(self, obj: WebhookEndpoint) -> str:
        return obj.url.split("/")[2] if obj.url.count("/") >= 2 else obj.url

    @display(description=_("Told of"))
    def events_shown(self, obj: WebhookEndpoint) -> SafeString:
        return format_html('<span class="ld-wrap">{}</span>', ", ".join(obj.events))

    @display(description=_("State"))
    def active_shown(self, obj: WebhookEndpoint) -> SafeString:
        return badge("On", "success") if obj.active else badge("Off")


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnly, DeskAdmin):
    list_display = ("event", "endpoint", "state_shown", "attempts", "status_code", "error", "created")
    list_filter = (("endpoint", RelatedDropdownFilter), ("state", ChoicesDropdownFilter))
    list_select_related = ("endpoint",)
    search_fields = ("=uid",)
    search_help_text = _("A delivery's whole id (webhook-id)")
    empty_title = _("Nothing sent yet")
    empty_text = _("Each notice that a webhook was owed shows here with every attempt.")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("endpoint")

    def custom_paths(self) -> list[URLPattern]:
        return [self.at("<int:object_id>/replay/", self.replay_view, "replay")]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        delivery = self.seen_or_refused(request, object_id)
        if delivery is None:
            return self.gone(request, object_id)
        may = request.user.has_perm(REPLAYS) and delivery.state != DeliveryState.PENDING
        context = {
            "title": f"{delivery.event} to {delivery.endpoint}",
            "original": delivery,
            "delivery": delivery,
            "tone": TONES[delivery.state],
            "payload": delivery.payload,
            "replay_url": reverse("admin:loans_webhookdelivery_replay", args=[delivery.pk]) if may else "",
        }
        return self.render(request, "admin/loans/webhook/delivery.html", context)

    @post_only
    def replay_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        delivery = self.seen_or_refused(request, str(object_id), REPLAYS)
        if delivery is None:
            return self.gone(request, str(object_id))
        if not webhooks.replay(delivery):
            return self.told(request, delivery, gettext("It waits to be sent anyhow."), messages.WARNING)
        audit.record("webhook.replayed", actor=request.user, subject=delivery)
        return self.told(request, delivery, gettext("It goes out again within seconds, under the same id."))

    @display(description=_("State"))
    def state_shown(self, obj: WebhookDelivery) -> SafeString:
        return badge(obj.get_state_display(), TONES[obj.state])
