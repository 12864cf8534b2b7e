"""The link features by their definition, slowly: what the fast ways must agree with."""

from __future__ import annotations

import math
from collections import defaultdict

from mlcore.fraud.facts import COMPONENT_LIMIT, COUNT_LIMIT, HUB_LIMIT, KINDS, LINK_NAMES, LINKING, WINDOWS

NAN = math.nan


def features_of(row: int, at: list[int], ids: list[dict[str, str]], frauds: list[tuple[int, int, int]]) -> dict[str, float]:
    """at: microseconds. ids: {kind: value} of each application. frauds: (row, known_at, withdrawn_at)."""
    now = at[row]
    made = dict.fromkeys(LINK_NAMES, NAN)
    holders = defaultdict(list)
    for other in sorted(range(len(at)), key=lambda i: (at[i], i)):
        for kind, value in ids[other].items():
            holders[kind, value].append(other)
    earlier = {key: [i for i in rows if at[i] < now] for key, rows in holders.items()}
    known = {i for i, since, until in frauds if since < now <= until}
    for kind in KINDS:
        if kind in ids[row]:
            for window, seconds in WINDOWS:
                found = [i for i in earlier[kind, ids[row][kind]] if at[i] >= now - seconds * 1_000_000]
                made[f"{kind}_{window}"] = min(len(found), COUNT_LIMIT)
    mine = [(kind, value) for kind, value in ids[row].items() if kind in LINKING]
    if not mine:
        return made
    open_keys = [key for key in mine if len(earlier[key]) < HUB_LIMIT]
    for kind, value in open_keys:
        names = {ids[i]["name"] for i in earlier[kind, value] if "name" in ids[i]} - {ids[row].get("name")}
        made[f"other_names_{kind}"] = len(names) if "name" in ids[row] else NAN
    made["hub_keys"] = len(mine) - len(open_keys)
    neighbours = {i for key in open_keys for i in earlier[key]}
    shared = {i: {kind for kind, value in open_keys if ids[i].get(kind) == value} for i in neighbours}
    others = {
        i: len(kinds)
        for i, kinds in shared.items()
        if "name" in ids[i] and "name" in ids[row] and ids[i]["name"] != ids[row]["name"] and "national_id" not in kinds
    }
    made["shared_people"], made["strongest_match"] = len(others), max(others.values(), default=0)
    made["double_matches"] = sum(kinds >= 2 for kinds in others.values())
    made["direct_frauds"] = len(neighbours & known)
    reached, edge = set(neighbours), list(neighbours)
    while edge:
        node = edge.pop()
        for kind, value in ids[node].items():
            first = holders[kind, value][:HUB_LIMIT]
            if kind in LINKING and node in first:
                fresh = {i for i in first if at[i] < now} - reached
                reached |= fresh
                edge += fresh
    made["component_size"] = min(len(reached), COMPONENT_LIMIT + 1)
    if len(reached) <= COMPONENT_LIMIT:
        made["component_frauds"] = len(reached & known)
        if reached:
            made["component_age_days"] = (now - min(at[i] for i in reached)) / 86_400_000_000
    return made
