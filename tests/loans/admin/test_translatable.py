"""Every word of a template and every label of the admin goes through gettext, so that a translation finds it."""

from __future__ import annotations

import ast
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


# What is spoken in Python: three words or more, outside of gettext, of what ends on a page, in an answer or in a letter.
FLOORS = ("admin", "queries", "services")
# Read by whoever runs the desk, on a terminal, in a log or in a file of TOML; or words to recognise a lender's columns by.
OPERATORS = {
    "apart", "archiving", "audit", "backup", "demo", "demo_users", "draft_text", "draft_words", "erasure", "health", "heartbeats",
    "index_rotation", "json_log", "key_rotation", "metrics", "parquet_files", "partitions", "sweeping", "throttling", "valid_scores",
    "wakeups", "webhook_http",
}  # fmt: skip
GETTEXT = {"gettext", "gettext_lazy", "ngettext", "ngettext_lazy", "pgettext", "pgettext_lazy"}
LOGS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
UNSAID = {
    "execute",
    "raw",
    "_run",
    "compile",
    "ValueError",
    "TypeError",
    "RuntimeError",
    "ImproperlyConfigured",
    "InvalidScore",
    "AssertionError",
    "LookupError",
    "KeyError",
}
CODE = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|FROM|CREATE|ALTER|LOCK|WHERE|JOIN|COPY|VALUES|RETURNING|CONSTRAINT)\b|://|__|\[ns|nextval\(|concat_ws"
    r"|[{<][a-z]+[ >]|[a-z]\.[a-z_]+\b|^--|^(attachment;|default-src|text/csv)|^[a-z_]+(, [a-z_]+)+$"
)
SOURCES = [
    path
    for floor in FLOORS
    for path in sorted((Path(settings.BASE_DIR) / "loans" / floor).rglob("*.py"))
    if path.stem not in OPERATORS
]  # fmt: skip


# By these words a sentence is known again that was stored before.
MARKS = {"cleared cases; a model takes", "An edited version:"}


class Spoken(ast.NodeVisitor):
    """Collects sentences that no translation finds. Keys, comparisons, docstrings, SQL, logs and errors for programmers are none."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[tuple[int, str]] = []
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation"]
        self.silent = GETTEXT | UNSAID | {each.asname for node in imports for each in node.names if each.asname}
        self.visit(tree)

    def visit_Call(self, node):
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
        if name in self.silent or name in LOGS and getattr(getattr(node.func, "value", None), "id", "") == "logger":
            return
        self.generic_visit(node)

    def visit_Expr(self, node):
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Compare(self, node):
        return

    def visit_Subscript(self, node):
        self.visit(node.value)

    def visit_Dict(self, node):
        for value in node.values:
            self.visit(value)

    def visit_AnnAssign(self, node):
        if node.value:
            self.visit(node.value)

    def visit_arg(self, node):
        return

    def visit_JoinedStr(self, node):
        self._hear(node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values))
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)

    def visit_Constant(self, node):
        if isinstance(node.value, str):
            self._hear(node.lineno, node.value)

    def _hear(self, line, text):
        if (
            text not in MARKS
            and len(words(text)) >= 3
            and re.search(r"[a-z,;:.)}’'] [A-Za-z({“]", text)
            and not CODE.search(text.replace("{}", ""))
        ):
            self.found.append((line, text))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_sentence_of_the_code_is_outside_of_gettext(path):
    found = Spoken(ast.parse(path.read_text())).found
    assert found == [], "say it through gettext: _(“…%(name)s…”) % {“name”: …}"


def test_the_listener_hears_sentences():
    source = '''
from django.utils.translation import gettext as _
def say(name, logger):
    """This is no sentence of the desk."""
    logger.warning("Nobody but the log hears this")
    if name == "one that is compared":
        raise ValueError("for the programmer only, not for people")
    return [_("This one is translated"), f"{name} waits for a person", {"a key of words": "It is here already."}]
'''
    assert [text for _, text in Spoken(ast.parse(source)).found] == ["{} waits for a person", "It is here already."]
