"""`{% load desk %}`: the sentence beside a figure."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from loans.queries.explain import EXPLAIN

register = template.Library()
_COUNTER = "loans.templatetags.desk.explained"


@register.simple_tag(takes_context=True)
def explain(context: dict[str, Any], name: str, side: str = "") -> SafeString:
    """A “?” that tells in one sentence what the figure says, by mouse, keyboard and screen reader, without a script.

    side: "end" where the sentence would leave the page to the right. An unknown name shows nothing: a stored metric of an older version.
    """
    if name not in EXPLAIN:
        return SafeString("")
    title, sentence = EXPLAIN[name]
    request = context.get("request")
    number = getattr(request, _COUNTER, 0) + 1
    if request is not None:
        setattr(request, _COUNTER, number)
    return format_html(
        '<span class="ld-tip{}"><button type="button" aria-label="{}" aria-describedby="tip-{}-{}">?</button>'
        '<span role="tooltip" id="tip-{}-{}">{}</span></span>',
        " ld-tip-end" if side == "end" else "", _("What is “%(figure)s”?") % {"figure": title}, name, number, name, number, sentence,
    )  # fmt: skip
