"""What an application's identifiers say of it, as it was known strictly before it: for a few new ones, straight from the index.

The same features as `mlcore.fraud.links` computes in bulk (a test compares the two), by a breadth-first search that is bounded by the same
limits: an identifier leads to its first HUB_LIMIT applications, a group is followed to COMPONENT_LIMIT. So the cost of one application
does not grow with the table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import connection

from loans.queries.columns import id_list
from mlcore.fraud.facts import COMPONENT_LIMIT, COUNT_LIMIT, HUB_LIMIT, KINDS, LINK_NAMES, LINKING, NATIONAL_ID, WINDOWS

if TYPE_CHECKING:
    import pandas as pd

    from mlcore.fraud.links import KnownFrauds
    from mlcore.fraud.velocity import Identifiers

Key = tuple[int, bytes]
Features = dict[str, float | None]

# Moments as microseconds: the driver takes longer to read a timestamp than the server to look an identifier up.
_MICRO = "(extract(epoch FROM {}.submitted_at) * 1000000)::int8"
_WINDOWS = ", ".join(
    f"count(*) FILTER (WHERE recent.submitted_at >= own.submitted_at - make_interval(secs => {s})) AS in_{name}" for name, s in WINDOWS
)
_OWN = f"""
    SELECT own.application_id, own.kind, own.digest, {_MICRO.format("own")}, own.name, seen.*
    FROM loans_applicationlink own CROSS JOIN LATERAL (
        SELECT {_WINDOWS} FROM (
            SELECT other.submitted_at FROM loans_applicationlink other
            WHERE other.kind = own.kind AND other.digest = own.digest AND other.submitted_at < own.submitted_at
              AND other.submitted_at >= own.submitted_at - make_interval(secs => {max(seconds for _, seconds in WINDOWS)})
            ORDER BY other.submitted_at DESC LIMIT {COUNT_LIMIT}) recent) seen
    WHERE own.application_id = ANY(%s)
"""  # noqa: S608 - only our own constants are put in
# Of each application the kinds of its identifiers as bits. Arrays make one row of it: rows cost both sides more than the numbers in them.
_OWN_KINDS = """
    SELECT array_agg(id), array_agg(kinds), array_agg(named) FROM (
        SELECT application_id, bit_or(1 << kind), bool_or(name IS NOT NULL)::int FROM loans_applicationlink
        WHERE application_id = ANY(%s::bigint[]) GROUP BY application_id) own(id, kinds, named)
"""
# Those that an earlier application had. In the order of the index, whose pages are then looked at once: a fourth less than in any order.
# OFFSET 0 keeps it a look for each: as a join the planner would rather read the whole table, which grows.
_AGAIN = """
    SELECT array_agg(application_id), array_agg(kind) FROM (
        SELECT application_id, kind, EXISTS (
            SELECT FROM loans_applicationlink other
            WHERE other.kind = own.kind AND other.digest = own.digest AND other.submitted_at < own.submitted_at) AS again
        FROM (SELECT application_id, kind, digest, submitted_at FROM loans_applicationlink
              WHERE application_id = ANY(%s::bigint[]) ORDER BY kind, digest OFFSET 0) own OFFSET 0) own
    WHERE again
"""
_AMONG = "(own.application_id, own.kind) IN (SELECT * FROM unnest(%s::bigint[], %s::smallint[]))"
_COUNTS = f"""
    SELECT array_agg(own.application_id), array_agg(own.kind), {", ".join(f"array_agg(seen.in_{name})" for name, _ in WINDOWS)}
    {_OWN[_OWN.index("FROM loans_applicationlink own") :].replace("own.application_id = ANY(%s)", _AMONG)}
"""
_EARLIER = f"""
    SELECT own.application_id, own.kind, own.digest, seen.application_id, {_MICRO.format("seen")}, seen.name,
           {_MICRO.format("own")}, own.name
    FROM loans_applicationlink own CROSS JOIN LATERAL (
        SELECT other.application_id, other.submitted_at, other.name FROM loans_applicationlink other
        WHERE other.kind = own.kind AND other.digest = own.digest AND other.submitted_at < own.submitted_at
        ORDER BY other.submitted_at, other.application_id LIMIT {HUB_LIMIT}) seen
    WHERE own.application_id = ANY(%s) AND own.kind < {len(LINKING)}
"""  # noqa: S608
_EARLIER_AMONG = _EARLIER.replace("own.application_id = ANY(%s)", _AMONG)
_KEYS = f"SELECT application_id, kind, digest FROM loans_applicationlink WHERE application_id = ANY(%s) AND kind < {len(LINKING)}"  # noqa: S608
_FIRST = f"""
    SELECT key.kind, key.digest, seen.application_id, {_MICRO.format("seen")}
    FROM unnest(%s::smallint[], %s::bytea[]) AS key(kind, digest) CROSS JOIN LATERAL (
        SELECT application_id, submitted_at FROM loans_applicationlink link WHERE link.kind = key.kind AND link.digest = key.digest
        ORDER BY submitted_at, application_id LIMIT {HUB_LIMIT}) seen
"""  # noqa: S608
_FRAUDS = "SELECT application_id, known_at, withdrawn_at FROM loans_fraudlabel WHERE fraud AND application_id = ANY(%s)"

_ALL_LINKS = """
    SELECT array_agg(application_id)::text, array_agg(kind)::text, array_agg(key)::text
    FROM (SELECT application_id, kind, dense_rank() OVER (ORDER BY kind, digest) AS key FROM loans_applicationlink) link
    GROUP BY application_id / 100000
"""


@dataclass
class _Subject:
    """One application while it is described. at: microseconds since 1970, as all moments here. neighbours: {earlier application: kinds of
    identifiers shared with it}.
    """

    at: int
    name: bytes | None
    features: Features
    neighbours: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    names: dict[int, bytes | None] = field(default_factory=dict)
    reached: dict[int, int] = field(default_factory=dict)
    edge: list[int] = field(default_factory=list)

    @property
    def too_large(self) -> bool:
        return len(self.reached) > COMPONENT_LIMIT


def link_features(application_ids: Sequence[int]) -> dict[int, Features]:
    """{application: {feature: value, None where it does not apply}}. Without identifiers every feature is None."""
    wanted = list(application_ids)
    subjects = _with_counts(wanted)
    _look_back(subjects, _rows(_EARLIER, wanted))
    _finish(subjects)
    return {pk: subjects[pk].features if pk in subjects else dict.fromkeys(LINK_NAMES) for pk in wanted}


_PLACE = {name: number for number, name in enumerate(LINK_NAMES)}
_ZERO_WITH_LINK = ("hub_keys", "shared_people", "strongest_match", "double_matches", "direct_frauds", "component_size", "component_frauds")
FRACTIONS = {"component_age_days"}
# What following the links adds to; how often each identifier was seen is counted by the database.
_FOLLOWED = tuple(name for name in LINK_NAMES if name not in {f"{kind}_{window}" for kind in KINDS for window, _ in WINDOWS})
_FOLLOWED_AT = [_PLACE[name] for name in _FOLLOWED]


def link_matrix(application_ids: Sequence[int]) -> Any:
    """(n, LINK_NAMES) float64 of `link_features`, NaN where a feature does not apply: the same numbers for many applications at once.

    Most identifiers were never seen before: they cost one look at the index. The others are counted, and only an application that shares a
    linking one is followed by itself.
    """
    import numpy as np

    wanted = np.asarray(application_ids, dtype=np.int64)
    order = np.argsort(wanted, kind="stable")
    pk, kinds, named = _arrays(_OWN_KINDS, [id_list(wanted)])
    row = order[np.searchsorted(wanted[order], pk)]
    made = np.full((len(wanted), len(LINK_NAMES)), np.nan)
    linking = (kinds & ((1 << len(LINKING)) - 1)) > 0
    for name in _ZERO_WITH_LINK:
        made[row[linking], _PLACE[name]] = 0
    for number, name in enumerate(KINDS):
        has = (kinds >> number) & 1 == 1
        for window, _ in WINDOWS:
            made[row[has], _PLACE[f"{name}_{window}"]] = 0
        if number < len(LINKING):
            made[row[has & (named == 1)], _PLACE[f"other_names_{name}"]] = 0
    # An application may have several identifiers of a kind; it is counted by the one that was seen most.
    pairs = np.unique(np.stack(_arrays(_AGAIN, [id_list(wanted)]), axis=1), axis=0)
    if not len(pairs):
        return made
    pk, kind, *counts = _arrays(_COUNTS, [id_list(each) for each in pairs.T])
    row = order[np.searchsorted(wanted[order], pk)]
    for (window, _), count in zip(WINDOWS, counts, strict=True):
        for number, name in enumerate(KINDS):
            mine = kind == number
            np.fmax.at(made[:, _PLACE[f"{name}_{window}"]], row[mine], count[mine])
    place = {int(each): number for number, each in enumerate(wanted)}
    among = [id_list(each) for each in pairs[pairs[:, 1] < len(LINKING)].T]
    for each, subject in _followed(among, lambda each: made[place[each], _FOLLOWED_AT]).items():
        made[place[each], _FOLLOWED_AT] = [np.nan if subject.features[name] is None else subject.features[name] for name in _FOLLOWED]
    return made


def _arrays(query: str, parameters: list[Any]) -> list[Any]:
    """int64 arrays, one for each array in the one row that a query answers; empty ones where it found nothing."""
    import numpy as np

    ((*found,),) = _rows(query, *parameters)
    return [np.array(each or [], dtype=np.int64) for each in found]


def _followed(among: list[str], features_of: Any) -> dict[int, _Subject]:
    """Those that share an identifier with an earlier application, described. among: ids and kinds where there is an earlier one.
    features_of: id → what is known already of `_FOLLOWED`.
    """
    earlier = _rows(_EARLIER_AMONG, *among)
    subjects: dict[int, _Subject] = {}
    for pk, *_, at, name in earlier:
        if pk not in subjects:
            known = zip(_FOLLOWED, features_of(pk).tolist(), strict=True)
            subjects[pk] = _Subject(at, _bytes(name), {each: plain_feature(each, value) for each, value in known})
    _look_back(subjects, earlier)
    _finish(subjects)
    return subjects


def plain_feature(name: str, value: float) -> float | int | None:
    """A feature of a matrix as `link_features` has it: None where it does not apply, counts whole."""
    if value != value:
        return None
    return float(value) if name in FRACTIONS else int(value)


def _rows(statement: str, *values: Any) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def _finish(subjects: dict[int, _Subject]) -> None:
    _follow(subjects)
    known = _known_frauds({node for subject in subjects.values() for node in subject.reached})
    for subject in subjects.values():
        _describe(subject, known)


def _with_counts(wanted: list[int]) -> dict[int, _Subject]:
    subjects: dict[int, _Subject] = {}
    for pk, kind, _, at, name, *counts in _rows(_OWN, wanted):
        subject = subjects.setdefault(pk, _Subject(at, _bytes(name), dict.fromkeys(LINK_NAMES)))
        for (window, _), count in zip(WINDOWS, counts, strict=True):
            column = f"{KINDS[kind]}_{window}"
            subject.features[column] = max(count, subject.features[column] or 0)
        if kind < len(LINKING):
            for column in ("hub_keys", "shared_people", "strongest_match", "double_matches", "direct_frauds", "component_size"):
                subject.features[column] = 0
            subject.features["component_frauds"] = 0
            # Without a name of his own it can't be said whether the names on other applications are another's.
            subject.features[f"other_names_{KINDS[kind]}"] = None if subject.name is None else 0
    return subjects


def _look_back(subjects: dict[int, _Subject], earlier: list[tuple]) -> None:
    """The applications that share an identifier directly, hubs left out. earlier: rows of `_EARLIER`."""
    seen: dict[tuple[int, int, bytes], list[tuple]] = defaultdict(list)
    for pk, kind, digest, other, at, name, *_ in earlier:
        seen[pk, kind, bytes(digest)].append((other, at, _bytes(name)))
    hubs = {key for key, members in seen.items() if len(members) >= HUB_LIMIT}
    for pk, kind, _ in hubs:
        subjects[pk].features["hub_keys"] += 1
        subjects[pk].features[f"other_names_{KINDS[kind]}"] = None
    for (pk, kind, digest), members in seen.items():
        subject = subjects[pk]
        if (pk, kind, digest) in hubs:
            continue
        column = f"other_names_{KINDS[kind]}"
        if subject.name is not None:
            names = {name for _, _, name in members if name is not None and name != subject.name}
            subject.features[column] = max(len(names), subject.features[column] or 0)
        for other, at, name in members:
            subject.neighbours[other].add(kind)
            subject.names[other] = name
            subject.reached[other] = at
    for subject in subjects.values():
        subject.edge = list(subject.reached)


def _follow(subjects: dict[int, _Subject]) -> None:
    """Breadth-first from the direct neighbours, all subjects together: two statements a step, each identifier looked up once."""
    keys_of: dict[int, list[Key]] = {}
    first_of: dict[Key, dict[int, int]] = {}
    while active := [subject for subject in subjects.values() if subject.edge and not subject.too_large]:
        _fetch_keys({node for subject in active for node in subject.edge} - keys_of.keys(), keys_of)
        _fetch_first({key for subject in active for node in subject.edge for key in keys_of[node]} - first_of.keys(), first_of)
        for subject in active:
            fresh: dict[int, int] = {}
            for node in subject.edge:
                for key in keys_of[node]:
                    # One that came to an identifier after it was full is not linked by it.
                    if node in first_of[key]:
                        fresh |= {pk: at for pk, at in first_of[key].items() if at < subject.at and pk not in subject.reached}
            subject.reached |= fresh
            subject.edge = list(fresh)


def _fetch_keys(nodes: Iterable[int], keys_of: dict[int, list[Key]]) -> None:
    nodes = list(nodes)
    keys_of |= {node: [] for node in nodes}
    if nodes:
        for pk, kind, digest in _rows(_KEYS, nodes):
            keys_of[pk].append((kind, bytes(digest)))


def _fetch_first(keys: Iterable[Key], first_of: dict[Key, dict[int, int]]) -> None:
    keys = list(keys)
    first_of |= {key: {} for key in keys}
    if keys:
        for kind, digest, pk, at in _rows(_FIRST, [kind for kind, _ in keys], [digest for _, digest in keys]):
            first_of[kind, bytes(digest)][pk] = at


def _known_frauds(nodes: set[int]) -> dict[int, list[tuple[int, int | None]]]:
    known: dict[int, list[tuple[int, int | None]]] = defaultdict(list)
    if nodes:
        for pk, since, until in _rows(_FRAUDS, list(nodes)):
            known[pk].append((_micro(since), None if until is None else _micro(until)))
    return known


def _describe(subject: _Subject, known: dict[int, list[tuple[int, int | None]]]) -> None:
    features = subject.features
    if features["component_size"] is None:
        return
    frauds = {pk for pk in subject.reached if any(a < subject.at and (b is None or b >= subject.at) for a, b in known.get(pk, ()))}
    others = [
        len(kinds)
        for pk, kinds in subject.neighbours.items()
        if None not in (subject.name, subject.names[pk]) and subject.names[pk] != subject.name and NATIONAL_ID not in kinds
    ]
    features["shared_people"], features["strongest_match"] = len(others), max(others, default=0)
    features["double_matches"] = sum(kinds >= 2 for kinds in others)
    features["direct_frauds"] = len(frauds & subject.neighbours.keys())
    features["component_size"] = min(len(subject.reached), COMPONENT_LIMIT + 1)
    if subject.too_large:
        features["component_frauds"] = None
        return
    features["component_frauds"] = len(frauds)
    if subject.reached:
        features["component_age_days"] = (subject.at - min(subject.reached.values())) / 1_000_000 / 86_400


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


@dataclass(frozen=True)
class LinkTable:
    """The whole link table as arrays, for the bulk computation: rows are positions in `application_ids`."""

    application_ids: list[int]
    at: Any
    identifiers: Identifiers
    frauds: KnownFrauds


def link_table(submitted_at: pd.Series) -> LinkTable:
    """All links and known frauds. submitted_at: times of all applications, indexed by their ids."""
    import numpy as np
    import pandas as pd

    from mlcore.fraud.links import NEVER, KnownFrauds, microseconds
    from mlcore.fraud.velocity import Identifiers

    place = pd.Series(np.arange(len(submitted_at)), index=submitted_at.index)
    # A million applications have eight million links: as arrays' text they are read in a few blocks, and no link becomes a Python object.
    blocks = [[np.fromstring(text[1:-1], dtype=np.int64, sep=",") for text in block] for block in _rows(_ALL_LINKS)]
    rows = np.concatenate([np.stack(block, axis=1) for block in blocks]) if blocks else np.empty((0, 3), dtype=np.int64)
    with connection.cursor() as cursor:
        cursor.execute("SELECT application_id, known_at, withdrawn_at FROM loans_fraudlabel WHERE fraud")
        found = cursor.fetchall()
    rows = rows[np.isin(rows[:, 0], submitted_at.index)]
    ids = Identifiers(place.loc[rows[:, 0]].to_numpy(), rows[:, 1].astype(np.int8), rows[:, 2])
    found = [row for row in found if row[0] in place.index]
    frauds = KnownFrauds(
        np.array([place[pk] for pk, _, _ in found], dtype=np.int64),
        np.array([_micro(since) for _, since, _ in found], dtype=np.int64),
        np.array([NEVER if until is None else _micro(until) for _, _, until in found], dtype=np.int64),
    )
    return LinkTable(submitted_at.index.tolist(), microseconds(submitted_at), ids, frauds)


def _micro(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
