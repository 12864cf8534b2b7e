"""The starter set of rules, and new versions of a rule."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Max

from loans.models import FraudRule, FraudRuleSet, Severity
from loans.services import rulepack
from mlcore.fraud.findings import Terms

STARTER = "fraud_starter"


def read_pack(name: str = STARTER) -> list[FraudRule]:
    """Unsaved rules of a pack, checked. Raises FileNotFoundError, or ValidationError where a rule is not one."""
    path = Path(rulepack.FOLDER) / f"{name}.toml"
    pack = tomllib.loads(path.read_text())
    source = f"{pack['title']}, effective {pack['effective_from']}"
    made = []
    for each in pack["rule"]:
        row = FraudRule(
            code=each["code"],
            name=each["name"],
            severity=Severity[each["severity"].upper()],
            conditions=each["conditions"],
            family=each.get("family", ""),
            source=source,
        )
        row.clean()
        made.append(row)
    return made


def install_pack(name: str = STARTER) -> int:
    """Bring in the rules whose code is not there yet; what a lender changed or switched off stays so. Returns how many are new."""
    known = set(FraudRule.objects.values_list("code", flat=True))
    fresh = [row for row in read_pack(name) if row.code not in known]
    FraudRule.objects.bulk_create(fresh, ignore_conflicts=True)
    return len(fresh)


def new_version(rule: FraudRule, *, by: Any, **changes: Any) -> FraudRule:
    """The rule's next version, in force at once (unless `active` is False), and the one before retired. Raises ValidationError."""
    with transaction.atomic():
        same = FraudRule.objects.select_for_update().filter(code=rule.code)
        last = same.aggregate(last=Max("version"))["last"] or 0
        fields = {name: getattr(rule, name) for name in ("name", "severity", "conditions", "family", "source", "active")} | changes
        made = FraudRule(code=rule.code, version=last + 1, created_by=by, **fields)
        made.full_clean(validate_constraints=False)
        same.filter(active=True).update(active=False)
        made.save()
    return made


def kept(terms: Terms) -> int:
    """The id of the rule set that holds these terms; it is made where there is none yet."""
    made = terms.to_json()
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
    found = FraudRuleSet.objects.filter(digest=digest).values_list("pk", flat=True).first()
    if found is None:
        # Another worker may be writing the same one: this waits for it, and takes its row.
        FraudRuleSet.objects.bulk_create([FraudRuleSet(digest=digest, terms=made)], ignore_conflicts=True)
        found = FraudRuleSet.objects.values_list("pk", flat=True).get(digest=digest)
    return found
