"""What holds at this moment, asked in one query: serving versions, policy, rules, the lender's attributes and products, webhooks.

Each of these is a row or a few that rarely change and that every submission needs. The query answers with their ids and row versions
(`xmin` and `ctid` change with every write), so that a process reads again only what is another than it holds, and follows a change at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loans.models import AttributeDefinition, KnockOutRule, LoanProduct, ModelKind, ModelState, ModelVersion, Policy
from loans.models.statements import first_row

_STAMP = "concat_ws(':', id, xmin, ctid)"
_ALL = f"SELECT string_agg({_STAMP}, ',' ORDER BY id) FROM"
_STAMPS = f"""
    SELECT ({_ALL} loans_modelversion WHERE state = 'champion'),
           (SELECT {_STAMP} FROM loans_policy WHERE effective_from <= statement_timestamp() ORDER BY effective_from DESC, id DESC LIMIT 1),
           ({_ALL} loans_knockoutrule), ({_ALL} loans_attributedefinition), ({_ALL} loans_loanproduct),
           EXISTS (SELECT FROM loans_webhookendpoint WHERE active)
"""  # noqa: S608 - names of our own


@dataclass(frozen=True)
class InForce:
    """champions: {kind: version}, reports left out. policy: None where none is written. rules: the active ones."""

    champions: dict[str, ModelVersion]
    policy: Policy | None
    rules: list[KnockOutRule]
    attributes: dict[str, AttributeDefinition]
    products: dict[str, LoanProduct]
    webhooks: bool

    @property
    def champion(self) -> ModelVersion | None:
        return self.champions.get(ModelKind.DEFAULT_RISK)


_held: dict[str, tuple[str | None, Any]] = {}
_reading = threading.Lock()


def in_force() -> InForce:
    models, policy, rules, attributes, products, webhooks = first_row(_STAMPS)
    return InForce(
        champions={version.kind: version for version in _read("models", models, _versions)},
        policy=_read("policy", policy, lambda: Policy.objects.get(pk=int(policy.partition(":")[0])) if policy else None),
        rules=_read("rules", rules, lambda: list(KnockOutRule.objects.in_force())),
        attributes=_read("attributes", attributes, lambda: {row.name: row for row in AttributeDefinition.objects.all()}),
        products=_read("products", products, lambda: {row.code: row for row in LoanProduct.objects.all()}),
        webhooks=webhooks,
    )


def _versions() -> list[ModelVersion]:
    return list(ModelVersion.objects.filter(state=ModelState.CHAMPION).defer("report"))


def _read(name: str, stamp: str | None, read: Callable[[], Any]) -> Any:
    held = _held.get(name)
    if held is not None and held[0] == stamp:
        return held[1]
    with _reading:
        # Read after the stamp was taken: what changed in between shows in the next one's stamp, and is read again.
        value = read()
        _held[name] = (stamp, value)
    return value
