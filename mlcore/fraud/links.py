"""Who is connected to whom, as it was known when each application came in: in bulk, on arrays, a million applications in seconds.

Applications are taken in the order of their time; each is first described by what came strictly before it and only then added. An
application that shares an identifier with an earlier one joins its group (union–find, Tarjan 1975, groups merged into the larger). An
identifier links its first `facts.HUB_LIMIT` applications only. The database finds the same features for a single new application
(`loans.queries.fraud_links`); a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mlcore.fraud.facts import COMPONENT_LIMIT, HUB_LIMIT, KIND_LABELS, KINDS, LINK_NAMES, LINKING, NAME, NATIONAL_ID
from mlcore.fraud.velocity import Identifiers, Sorted, counts

PAIRS_AT_ONCE = 4_000_000
DAY = 86_400_000_000
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class KnownFrauds:
    """Which applications were known to be frauds, and from when to when. All (k,): row, known_at and withdrawn_at in microseconds.

    withdrawn_at is `NEVER` where the finding still stands. What is known at the very moment of an application is not known to it.
    """

    row: np.ndarray
    known_at: np.ndarray
    withdrawn_at: np.ndarray

    @classmethod
    def none(cls) -> KnownFrauds:
        return cls(*(np.empty(0, dtype=np.int64) for _ in range(3)))


@dataclass(frozen=True)
class Linked:
    """frame: (n, `facts.LINK_NAMES`) float32, in the order of the rows given. warnings: what a person should know of these data."""

    frame: pd.DataFrame
    warnings: list[str] = field(default_factory=list)


def microseconds(moments: pd.Series) -> np.ndarray:
    """(n,) int64 microseconds since 1970 of datetime64[ns, UTC] values. Raises ValueError where one is missing."""
    if moments.isna().any():
        raise ValueError(f"{int(moments.isna().sum())} applications have no time; links follow time.")
    return moments.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)


def link_features(at: np.ndarray, ids: Identifiers, frauds: KnownFrauds | None = None, *, now: int | None = None) -> Linked:
    """The link features of n applications, each from what was known strictly before its own time.

    at: (n,) int64 microseconds. now: microseconds; applications dated later are named in a warning.
    """
    frauds = frauds or KnownFrauds.none()
    n = len(at)
    pairs = Sorted.of(ids, at)
    columns = counts(ids, pairs, n)
    names = _one_name(ids, n)
    linking = _linking(pairs)
    has_link = np.zeros(n, dtype=bool)
    has_link[ids.row[ids.kind < len(LINKING)]] = True
    columns |= _other_names(ids, linking, names, n)
    columns |= _matches(linking, names, frauds, at, has_link)
    columns |= _groups(linking, frauds, at, has_link)
    frame = pd.DataFrame({name: columns[name] for name in LINK_NAMES}, copy=False)
    return Linked(frame, _warnings(at, pairs, now))


def _linking(pairs: Sorted) -> Sorted:
    keep = np.flatnonzero(pairs.kind < len(LINKING))
    moved = np.cumsum(pairs.kind < len(LINKING)) - 1
    return Sorted(
        *(getattr(pairs, name)[keep] for name in ("row", "kind", "key", "time")),
        start=moved[pairs.start[keep]],
        before=pairs.before[keep],
        place=pairs.place[keep],
    )


def _one_name(ids: Identifiers, n: int) -> np.ndarray:
    """(n,) int64 key of each application's name, -1 where it states none."""
    names = np.full(n, -1, dtype=np.int64)
    of_name = ids.kind == NAME
    names[ids.row[of_name]] = ids.key[of_name]
    return names


def _expanded(pairs: Sorted, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (p,) of the chosen pairs, repeated, and beside each a pair of the same key and a strictly earlier time."""
    many = pairs.before[chosen]
    mine = np.repeat(chosen, many)
    first = np.cumsum(many) - many
    return mine, pairs.start[mine] + np.arange(len(mine)) - np.repeat(first, many)


def _chunks(weights: np.ndarray) -> list[np.ndarray]:
    """Positions in runs whose weights add up to about `PAIRS_AT_ONCE`."""
    if not len(weights):
        return []
    return np.split(np.arange(len(weights)), np.flatnonzero(np.diff(np.cumsum(weights) // PAIRS_AT_ONCE)) + 1)


def _other_names(ids: Identifiers, pairs: Sorted, names: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """Distinct names, other than the applicant's own, on earlier applications with his identifier; NaN for none or a hub.

    NaN too where he states no name: whether the others are his own can't be said.
    """
    made = {}
    for number, kind in enumerate(LINKING):
        column = np.full(n, np.nan, dtype=np.float32)
        mine = ids.row[ids.kind == number]
        column[mine[names[mine] >= 0]] = 0
        made[f"other_names_{kind}"] = column
    hub = pairs.before >= HUB_LIMIT
    for number, kind in enumerate(LINKING):
        made[f"other_names_{kind}"][pairs.row[hub & (pairs.kind == number)]] = np.nan
    usable = np.flatnonzero((pairs.before > 0) & ~hub & (names[pairs.row] >= 0))
    for chunk in _chunks(pairs.before[usable]):
        mine, theirs = _expanded(pairs, usable[chunk])
        name = names[pairs.row[theirs]]
        other = (name >= 0) & (name != names[pairs.row[mine]])
        found = pd.DataFrame({"pair": mine[other], "name": name[other]}).drop_duplicates().groupby("pair").size()
        at = found.index.to_numpy()
        for number, kind in enumerate(LINKING):
            of_kind = pairs.kind[at] == number
            np.fmax.at(made[f"other_names_{kind}"], pairs.row[at[of_kind]], found.to_numpy()[of_kind].astype(np.float32))
    return made


def _matches(pairs: Sorted, names: np.ndarray, frauds: KnownFrauds, at: np.ndarray, has_link: np.ndarray) -> dict[str, np.ndarray]:
    """What the applications directly linked to each one tell: how many are other people's, how much they share, which are frauds."""
    n = len(names)
    wanted = ("hub_keys", "shared_people", "strongest_match", "double_matches", "direct_frauds")
    made = {name: np.where(has_link, np.float32(0), np.float32(np.nan)) for name in wanted}
    hub = pairs.before >= HUB_LIMIT
    np.add.at(made["hub_keys"], pairs.row[hub], np.float32(1))
    usable = np.flatnonzero((pairs.before > 0) & ~hub)
    usable = usable[np.argsort(pairs.row[usable], kind="stable")]
    # Chunks end between applications, so that all that one shares with another is seen at once.
    weights = np.bincount(pairs.row[usable], weights=pairs.before[usable], minlength=n) if len(usable) else np.empty(0)
    ends = np.searchsorted(pairs.row[usable], np.arange(n + 1)) if len(usable) else np.zeros(n + 1, dtype=np.int64)
    spans = _spans(frauds, n)
    for chunk in _chunks(weights):
        mine, theirs = _expanded(pairs, usable[ends[chunk[0]] : ends[chunk[-1] + 1]])
        if not len(mine):
            continue
        code = pairs.row[mine] * n + pairs.row[theirs]
        order = np.argsort(code, kind="stable")
        code, bit = code[order], np.left_shift(1, pairs.kind[mine][order].astype(np.int64))
        first = np.flatnonzero(np.append(True, code[1:] != code[:-1]))
        shared = np.bitwise_or.reduceat(bit, first)
        row, earlier = np.divmod(code[first], n)
        named = (names[row] >= 0) & (names[earlier] >= 0) & (names[row] != names[earlier])
        other = named & (shared & (1 << NATIONAL_ID) == 0)
        kinds = np.bitwise_count(shared).astype(np.float32)
        np.add.at(made["shared_people"], row[other], np.float32(1))
        np.fmax.at(made["strongest_match"], row[other], kinds[other])
        double = other & (kinds >= 2)
        np.add.at(made["double_matches"], row[double], np.float32(1))
        for known, withdrawn in spans:
            is_known = (known[earlier] < at[row]) & (withdrawn[earlier] >= at[row])
            np.add.at(made["direct_frauds"], row[is_known], np.float32(1))
    return made


def _spans(frauds: KnownFrauds, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(n,) known and withdrawn times; as many such pairs as the most often re-opened case has findings."""
    order = np.lexsort((frauds.known_at, frauds.row))
    row = frauds.row[order]
    turn = np.arange(len(row)) - np.searchsorted(row, row)
    made = []
    for number in range(int(turn.max()) + 1 if len(row) else 0):
        known, withdrawn = np.full(n, NEVER), np.full(n, NEVER)
        chosen = order[turn == number]
        known[frauds.row[chosen]], withdrawn[frauds.row[chosen]] = frauds.known_at[chosen], frauds.withdrawn_at[chosen]
        made.append((known, withdrawn))
    return made


def _groups(pairs: Sorted, frauds: KnownFrauds, at: np.ndarray, has_link: np.ndarray) -> dict[str, np.ndarray]:
    """Size, age and known frauds of the connected groups that each application falls into, before it is added itself."""
    n = len(at)
    size = np.where(has_link, np.float32(0), np.float32(np.nan))
    age, known = np.full(n, np.nan, dtype=np.float32), size.copy()
    order = np.lexsort((pairs.row, pairs.time))
    rows, keys = pairs.row[order].tolist(), pairs.key[order]
    # Small consecutive numbers index plain lists, which Python reads three times faster than arrays.
    keys = np.unique(keys, return_inverse=True)[1].tolist() if len(keys) else []
    may_look, may_add = (pairs.before[order] < HUB_LIMIT).tolist(), (pairs.place[order] < HUB_LIMIT).tolist()
    events = _events(frauds)
    times, waiting = at.tolist(), 0
    forest = _Forest(n, (max(keys) + 1) if keys else 0, times)
    start, end = 0, len(rows)
    while start < end:
        now, stop = times[rows[start]], start
        while stop < end and times[rows[stop]] == now:
            stop += 1
        while waiting < len(events) and events[waiting][0] < now:
            forest.note(events[waiting][1], events[waiting][2])
            waiting += 1
        for at_row, total, first, caught in forest.look(rows, keys, may_look, start, stop):
            too_large = total > COMPONENT_LIMIT
            size[at_row] = min(total, COMPONENT_LIMIT + 1)
            known[at_row] = np.nan if too_large else caught
            age[at_row] = np.nan if too_large else (now - first) / DAY
        forest.add(rows, keys, may_add, start, stop)
        start = stop
    return {"component_size": size, "component_age_days": age, "component_frauds": known}


def _events(frauds: KnownFrauds) -> list[tuple[int, int, int]]:
    """(time, application, +1 or -1), by time. A withdrawal counts from just after its moment, as the rest does."""
    made = [(int(time), int(row), 1) for time, row in zip(frauds.known_at, frauds.row, strict=True)]
    made += [(int(time), int(row), -1) for time, row in zip(frauds.withdrawn_at, frauds.row, strict=True) if time != NEVER]
    return sorted(made)


class _Forest:
    """Union–find over applications, with each group's size, first time and number of known frauds at its root."""

    def __init__(self, n: int, keys: int, times: list[int]) -> None:
        self.parent, self.size, self.frauds = list(range(n)), [1] * n, [0] * n
        self.first = list(times)
        self.holder = [-1] * keys

    def root(self, node: int) -> int:
        parent = self.parent
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def note(self, row: int, change: int) -> None:
        self.frauds[self.root(row)] += change

    def look(self, rows: list[int], keys: list[int], allowed: list[bool], start: int, stop: int) -> list[tuple[int, int, int, int]]:
        """(application, size, first time, known frauds) of those between the positions that have earlier ones to link to."""
        reached: dict[int, set[int]] = {}
        for position in range(start, stop):
            holder = self.holder[keys[position]]
            if holder >= 0 and allowed[position]:
                reached.setdefault(rows[position], set()).add(self.root(holder))
        return [
            (row, sum(self.size[r] for r in roots), min(self.first[r] for r in roots), sum(self.frauds[r] for r in roots))
            for row, roots in reached.items()
        ]

    def add(self, rows: list[int], keys: list[int], allowed: list[bool], start: int, stop: int) -> None:
        for position in range(start, stop):
            if not allowed[position]:
                continue
            row, key = rows[position], keys[position]
            if self.holder[key] < 0:
                self.holder[key] = row
                continue
            one, other = self.root(row), self.root(self.holder[key])
            if one == other:
                continue
            if self.size[one] < self.size[other]:
                one, other = other, one
            self.parent[other] = one
            self.size[one] += self.size[other]
            self.frauds[one] += self.frauds[other]
            self.first[one] = min(self.first[one], self.first[other])


def _warnings(at: np.ndarray, pairs: Sorted, now: int | None) -> list[str]:
    said = []
    if now is not None and (at > now).any():
        said.append(f"{int((at > now).sum()):,} applications are dated in the future; each is linked to what is dated before it.")
    ends = np.flatnonzero(np.append(pairs.key[1:] != pairs.key[:-1], True)) if len(pairs.key) else np.empty(0, dtype=np.int64)
    many = pairs.place[ends] + 1
    for number, kind in enumerate(KINDS[: len(LINKING)]):
        hubs = many[(pairs.kind[ends] == number) & (many > HUB_LIMIT)]
        if len(hubs):
            said.append(
                f"{len(hubs):,} {KIND_LABELS[kind]} value(s) are used by more than {HUB_LIMIT} applications, one by {int(hubs.max()):,}: "
                "each links its first ones only and is then taken for a hub."
            )
    return said
