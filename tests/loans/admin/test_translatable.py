"""Every word of a template and every label of the admin goes through gettext, so that a translation finds it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib import admin
from django.template import engines
from django.utils.functional import Promise

ROOT = Path(settings.BASE_DIR) / "templates"
PAGES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.html"))
TRANSLATED = re.compile(r"\{%\s*(blocktranslate|blocktrans)\b.*?%\}.*?\{%\s*end\1\s*%\}", re.DOTALL)
COMMENTS = re.compile(r"\{#.*?#\}|\{%\s*comment\b.*?endcomment\s*%\}|\{%\s*block bodyclass\s*%\}.*?\{%\s*endblock", re.DOTALL)
TAGS = re.compile(r"\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
WORD = re.compile(r"[A-Za-z]{2,}")
SPOKEN = ("title", "aria-label", "placeholder", "alt")
# Names and units are the same in every language; keys of the keyboard are what is printed on them.
NAMES = {"UTC", "CSV", "XLSX", "PDF", "AUC", "MB", "Loandesk", "nbsp"}
SILENT = ("script", "style", "kbd", "code")


class Bare(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag, attrs):
        classes = dict(attrs).get("class") or ""
        self.silent += tag in SILENT
        self.icon = "material-symbols" in classes
        self.found += [value for name, value in attrs if name in SPOKEN and value and words(value)]

    def handle_endtag(self, tag):
        self.silent -= tag in SILENT
        self.icon = False

    def handle_data(self, data):
        if not self.silent and not getattr(self, "icon", False) and words(data):
            self.found.append(data.strip())


def words(text: str) -> list[str]:
    return [word for word in WORD.findall(text) if word not in NAMES]


def bare(source: str) -> list[str]:
    parser = Bare()
    parser.feed(TAGS.sub("", TRANSLATED.sub("", COMMENTS.sub("", source))))
    parser.close()
    return parser.found


@pytest.mark.parametrize("page", PAGES)
def test_no_words_outside_of_gettext(page):
    assert bare((ROOT / page).read_text()) == []
    engines["django"].get_template(page)


def test_the_walker_sees_words():
    assert bare('<p title="Why">{{ x }} loans {% translate "and" %}<kbd>Esc</kbd>{% blocktranslate %}more{% endblocktranslate %}</p>') == [
        "Why",
        "loans",
    ]


def test_labels_of_lists_are_lazy():
    """A label that is translated at import stays in the language of whoever imported it."""
    plain = []
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label != "loans":
            continue
        for name in model_admin.list_display:
            label = getattr(getattr(model_admin, name, None), "short_description", None)
            if isinstance(label, str) and not isinstance(label, Promise):
                plain.append(f"{model_admin.__class__.__name__}.{name}: {label}")
        for name in ("empty_title", "empty_text", "search_help_text"):
            text = getattr(model_admin, name, "")
            if text and not isinstance(text, Promise):
                plain.append(f"{model_admin.__class__.__name__}.{name}: {text}")
    assert plain == []
