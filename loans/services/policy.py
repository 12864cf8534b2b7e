"""The policy in force, applied to scores: advice for the officer, with the rules that decided it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from loans.models import KnockOutRule, Policy
from loans.models.policy import Advice
from loans.queries.rules import rules_in_words
from loans.services import rulepack

if TYPE_CHECKING:
    from mlcore.metrics import ProfitTerms


@dataclass(frozen=True)
class Advised:
    """knock_outs: each rule that ruled the application out, as {"rule", "in_words", "value", "code", "text"}."""

    advice: str
    knock_outs: list[dict[str, Any]]


@dataclass(frozen=True)
class Terms:
    """The policy and the rules as they were when read; one reading serves a whole batch."""

    policy: Policy
    rules: list[KnockOutRule]
    words: dict[int, str]

    def advise(self, probability: float, facts: dict[str, Any]) -> Advised:
        """facts: the application's values by field name, None where missing."""
        pack = rulepack.in_force()
        hits = []
        for rule in self.rules:
            value = facts.get(rule.field)
            if rule.hits(value):
                reason = pack.reasons["decline"].get(rule.reason)
                hits.append(
                    {
                        "rule": rule.name,
                        "in_words": self.words[rule.pk],
                        "value": value,
                        "code": rule.reason,
                        "text": reason.text if reason else rule.name,
                    }
                )
        return Advised(advice=Advice.DECLINE if hits else self.policy.advice(probability), knock_outs=hits)


def in_force() -> Terms:
    return of(Policy.objects.in_force(), list(KnockOutRule.objects.in_force()))


def of(policy: Policy | None, rules: list[KnockOutRule]) -> Terms:
    """The terms of a policy and rules that were read already."""
    return Terms(policy=policy or _FALLBACK(), rules=rules, words=rules_in_words(rules))


def fallback() -> Policy:
    """What holds until the lender writes a policy of its own: the break-even of the stated margin and loss. It is not saved."""
    from mlcore.metrics import ProfitTerms

    even = ProfitTerms().break_even
    return Policy(
        approve_below=even,
        decline_from=even,
        margin=ProfitTerms().margin,
        loss_given_default=ProfitTerms().loss_given_default,
        reason=_("No policy is written yet: approval is advised where a loan is expected to earn more than it loses."),
    )


_FALLBACK = functools.cache(fallback)


def profit_terms() -> ProfitTerms:
    from mlcore.metrics import ProfitTerms

    policy = in_force().policy
    return ProfitTerms(margin=policy.margin, loss_given_default=policy.loss_given_default)
