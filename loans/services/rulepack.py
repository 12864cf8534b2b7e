"""The rule pack in force: dated data with its source, that reasons and notices are taken from. No law is written in code."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings

FOLDER = Path(__file__).resolve().parent.parent / "rulepacks"


class UnknownReason(ValueError):
    """The rule pack has no such reason for such an outcome."""


@dataclass(frozen=True)
class Reason:
    code: str
    text: str
    note_required: bool = False


@dataclass(frozen=True)
class RulePack:
    """reasons: {outcome: {code: Reason}} in the pack's order. families: {family: {"code", "text", "for"}}."""

    name: str
    source: str
    effective_from: str
    reasons: dict[str, dict[str, Reason]]
    families: dict[str, dict[str, str]]

    def reason(self, outcome: str, code: str) -> Reason:
        try:
            return self.reasons[outcome][code]
        except KeyError:
            raise UnknownReason(f"{code!r} is not a reason to {outcome}; there are: {', '.join(self.reasons.get(outcome, {}))}.") from None

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
    reasons = {outcome: {row["code"]: Reason(**row) for row in data[outcome]} for outcome in ("approve", "decline", "refer")}
    return RulePack(
        name=data["name"], source=data["source"], effective_from=str(data["effective_from"]), reasons=reasons, families=data["families"]
    )


def in_force() -> RulePack:
    return read(FOLDER / f"{settings.RULE_PACK}.toml")
