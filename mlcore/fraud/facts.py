"""What fraud detection may know of an application: the kinds of identifiers, the limits of a search, and the link features by name.

The limits are part of the features' definition: computed in bulk (`mlcore.fraud.links`) or for one new application in the database, the
same limits give the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

KINDS: tuple[str, ...] = ("phone", "email", "device", "bank_account", "address", "national_id", "employer", "name")
"""Kinds of identifiers; an application may have none, one or several of each. Stored by position, so only ever append."""
LINKING: tuple[str, ...] = KINDS[:6]
"""What connects applications. Employers and names are shared by people who never met: they are counted, and link nobody."""
NAME = KINDS.index("name")
NATIONAL_ID = KINDS.index("national_id")

WINDOWS: tuple[tuple[str, int], ...] = (("1h", 3_600), ("24h", 86_400), ("7d", 7 * 86_400), ("30d", 30 * 86_400))
"""Name and seconds. A window reaches from its length before the application (inclusive) to the application (exclusive)."""

HUB_LIMIT = 25
"""An identifier links its first 25 applications; then it is a hub (a payroll office's phone, a kiosk) and links no further."""
COUNT_LIMIT = 1_000
"""Counts stop here: 1,000 applications in a month from one phone are as telling as 10,000, and a count costs what it counts."""
COMPONENT_LIMIT = 250
"""A connected group is followed so far; of a larger one only that it is larger is said, not its age or its frauds."""

KIND_LABELS = {
    "phone": "phone number",
    "email": "email address",
    "device": "device",
    "bank_account": "bank account",
    "address": "address",
    "national_id": "national id",
    "employer": "employer",
    "name": "name",
}
_WINDOW_LABELS = {"1h": "hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}


@dataclass(frozen=True, slots=True)
class LinkFeature:
    """label: what the number is, for a person. Missing: the application has no such identifier (or no name to compare), or it is a hub."""

    name: str
    label: str
    family: str


def _features() -> tuple[LinkFeature, ...]:
    made = []
    for kind in KINDS:
        for window, _ in WINDOWS:
            label = f"Applications with this {KIND_LABELS[kind]} in the {_WINDOW_LABELS[window]} before"
            made.append(LinkFeature(f"{kind}_{window}", label, f"velocity_{kind}"))
    for kind in LINKING:
        made.append(LinkFeature(f"other_names_{kind}", f"Other names seen with this {KIND_LABELS[kind]}", "identity"))
    made += [
        LinkFeature("hub_keys", "Identifiers shared by so many that they link nobody", "hub"),
        LinkFeature("shared_people", "Earlier applications of other people with an identifier of this one", "identity"),
        LinkFeature("strongest_match", "Identifiers shared with one earlier application of somebody else, at most", "identity"),
        LinkFeature("double_matches", "Earlier applications of other people with two or more identifiers of this one", "identity"),
        LinkFeature("direct_frauds", "Known frauds with an identifier of this application", "known_fraud"),
        LinkFeature("component_size", "Earlier applications in the connected group", "group"),
        LinkFeature("component_age_days", "Days since the connected group's first application", "group"),
        LinkFeature("component_frauds", "Known frauds in the connected group", "known_fraud"),
    ]
    return tuple(made)


LINK_FEATURES: tuple[LinkFeature, ...] = _features()
LINK_NAMES: tuple[str, ...] = tuple(feature.name for feature in LINK_FEATURES)
LABELS: dict[str, str] = {feature.name: feature.label for feature in LINK_FEATURES}
FAMILIES: dict[str, str] = {feature.name: feature.family for feature in LINK_FEATURES}
