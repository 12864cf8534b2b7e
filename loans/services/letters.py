"""Letters as PDF, in fonts that the library brings along: nothing is fetched and nothing has to be installed."""

from __future__ import annotations

import io
from functools import lru_cache
from html import escape

from django.utils.translation import gettext as _

from loans.queries.words import day_of
from loans.services.notices import Letter

FONT, BOLD = "Vera", "VeraBd"


@lru_cache(maxsize=1)
def _fonts() -> frozenset[int]:
    """Registers the two fonts; the code points that both can show."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    shown = None
    for name in (FONT, BOLD):
        font = TTFont(name, f"{name}.ttf")
        pdfmetrics.registerFont(font)
        points = frozenset(font.face.charToGlyph)
        shown = points if shown is None else shown & points
    return shown


def unshowable(letter: Letter) -> str:
    """The letters of this text that the PDF's font lacks; the page to print has them all."""
    shown = _fonts()
    parts = [letter.name, letter.request, *letter.address, *letter.creditor, *letter.reasons]
    parts += [*letter.rights, *letter.agency, *letter.sources]
    return "".join(sorted({sign for part in parts for sign in part if ord(sign) not in shown and not sign.isspace()}))


class CannotShow(ValueError):
    """The font lacks a letter that the text has: a name with boxes in it is not sent."""


def pdf(letter: Letter, *, reference: str) -> bytes:
    """The notice on A4. A draft says so across its head. Raises CannotShow."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.platypus import ListFlowable, Paragraph, SimpleDocTemplate, Spacer

    lacking = unshowable(letter)
    if lacking:
        raise CannotShow(_("The PDF's font has no %(lacking)s. Print the page instead.") % {"lacking": ", ".join(lacking)})
    plain = ParagraphStyle("plain", fontName=FONT, fontSize=10, leading=14)
    strong = ParagraphStyle("strong", parent=plain, fontName=BOLD)
    small = ParagraphStyle("small", parent=plain, fontSize=8.5, leading=12)

    def lines(texts: list[str], style: ParagraphStyle = plain) -> list[Paragraph]:
        return [Paragraph(escape(text), style) for text in texts if text.strip()]

    space = Spacer(1, 5 * mm)
    story: list = []
    if letter.missing:
        story += [*lines([_("DRAFT – NOT TO BE SENT. Missing: ") + "; ".join(letter.missing)], strong), space]
    story += [*lines(letter.creditor), space, *lines([letter.name, *letter.address]), space]
    story += [*lines([day_of(letter.day), f"Reference: {reference}"]), space]
    story += [*lines([f"Your request: {letter.request}"]), *lines([letter.action], strong), space]
    story += lines([_("The principal reasons for this decision:")])
    story += [ListFlowable(lines(letter.reasons), bulletType="bullet", bulletFontName=FONT, leftIndent=6 * mm), space]
    story += [*lines(letter.sources), space] if letter.sources else []
    story += [*lines(letter.rights, small), *lines(letter.agency, small)]
    buffer = io.BytesIO()
    document = SimpleDocTemplate(
        buffer, pagesize=A4, leftMargin=25 * mm, rightMargin=20 * mm, topMargin=25 * mm, bottomMargin=20 * mm,
        title=f"Notice {reference}", author=letter.creditor[0] if letter.creditor else "", invariant=1,
    )  # fmt: skip
    document.build(story)
    return buffer.getvalue()
