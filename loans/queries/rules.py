"""Knock-out rules in words, with their values as people read them."""

from __future__ import annotations

from collections.abc import Iterable

from loans.models import AttributeDefinition, KnockOutRule
from loans.models.fields import APPLICATION_FIELDS
from loans.queries.application_facts import shown, value_text


def rules_in_words(rules: Iterable[KnockOutRule]) -> dict[int, str]:
    """Of each rule by its id: `Annual income is below $12,000`. One query, and none without rules on the lender's own attributes."""
    rules = list(rules)
    own = {rule.field for rule in rules} - APPLICATION_FIELDS.keys()
    units = dict(AttributeDefinition.objects.filter(name__in=own).values_list("name", "unit")) if own else {}
    return {rule.pk: rule_in_words(rule, units.get(rule.field, "")) for rule in rules}


def rule_in_words(rule: KnockOutRule, unit: str = "") -> str:
    """unit: of the lender's own attribute that the rule is on."""
    spec = APPLICATION_FIELDS.get(rule.field)
    label = spec.label if spec else rule.field.replace("_", " ").capitalize()
    return " ".join(part for part in (label, rule.get_operator_display(), _value(rule, unit)) if part)


def _value(rule: KnockOutRule, unit: str) -> str:
    if rule.operator == "missing":
        return ""
    if rule.operator not in ("below", "above"):
        return rule.value
    number = float(rule.value)
    return value_text(rule.field, number) if rule.field in APPLICATION_FIELDS else shown(number, unit)
