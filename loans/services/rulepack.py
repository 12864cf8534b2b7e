"""The rule pack in force: dated data with its source, that reasons and notices are taken from. No law is written in code."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

OUTCOMES = ("approve", "decline", "refer", "counter")
FOLDER = Path(__file__).resolve().parent.parent / "rulepacks"


class UnknownReason(ValueError):
    """The rule pack has no such reason for such an outcome."""


@dataclass(frozen=True)
class Reason:
    code: str
    text: str
    note_required: bool = False


@dataclass(frozen=True)
class NoticeRules:
    """days: from an application to the notice of what was decided; offer_days: from an offer to its end; keep_months: after sending."""

    days: int
    offer_days: int
    keep_months: int
    days_source: str
    offer_source: str
    keep_source: str
    checked_on: str
    no_reasons: tuple[str, ...]

    def is_no_reason(self, text: str) -> bool:
        """Whether a text only says that some score or standard of the lender's was missed, which tells the applicant nothing."""
        said = " ".join(text.casefold().split())
        return any(phrase in said for phrase in self.no_reasons)


@dataclass(frozen=True)
class RulePack:
    """reasons: {outcome: {code: Reason}} in the pack's order. families: {family: {"code", "text", "for"}}. overrides: {code: Reason}."""

    name: str
    source: str
    effective_from: str
    reasons: dict[str, dict[str, Reason]]
    families: dict[str, dict[str, str]]
    overrides: dict[str, Reason]
    notice: NoticeRules

    def reason(self, outcome: str, code: str) -> Reason:
        try:
            return self.reasons[outcome][code]
        except KeyError:
            raise UnknownReason(
                _("%(code)s is not a reason to %(outcome)s; there are: %(what)s.")
                % {"code": f"{code!r}", "outcome": outcome, "what": ", ".join(self.reasons.get(outcome, {}))}
            ) from None

    def adverse_text(self, family: str) -> tuple[str, str] | None:
        """(code, text) of a reason against the applicant; None where the pack does not know the family."""
        entry = self.families.get(family)
        if entry is None:
            return None
        return entry["code"], entry.get("text") or self.reasons["decline"][entry["code"]].text

    def favourable_text(self, family: str) -> str | None:
        entry = self.families.get(family)
        return entry["for"] if entry else None


@lru_cache(maxsize=4)
def read(path: Path) -> RulePack:
    with path.open("rb") as file:
        data = tomllib.load(file)
    reasons = {outcome: {row["code"]: Reason(**row) for row in data[outcome]} for outcome in OUTCOMES}
    notice = data["notice"] | {"checked_on": str(data["notice"]["checked_on"]), "no_reasons": tuple(data["notice"]["no_reasons"])}
    return RulePack(
        name=data["name"],
        source=data["source"],
        effective_from=str(data["effective_from"]),
        reasons=reasons,
        families=data["families"],
        overrides={row["code"]: Reason(**row) for row in data["override"]},
        notice=NoticeRules(**notice),
    )


def in_force() -> RulePack:
    return read(FOLDER / f"{settings.RULE_PACK}.toml")
