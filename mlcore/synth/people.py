"""Who the applicants are: nobody. Names from syllables, numbers that no network or bank ever gives out, addresses that lie nowhere.

Everything about a person follows from his number alone, so that any block of a world can be filled in without the others. Numbers turn
into digits by a multiplication modulo something coprime: distinct people get distinct phones, accounts and addresses, in no visible order.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from mlcore.synth.plan import HUB_KEYS, RING_KEYS, Plan
from mlcore.synth.world import CHANNELS, EMPLOYMENT

COLUMNS = ("name", "email", "phone", "birth_date", "national_id", "bank_account", "address", "employer")
PEOPLE = 1 << 28
"""So many people are told apart for certain; beyond, some would share an account."""
SHARED = 1 << 40
"""Rings and hubs take what they share from numbers that no person has."""


def _words(*parts: str) -> np.ndarray:
    """Every way to take one word of each part and write them together; "_" is nothing, "/" a space."""
    made = ["".join(words).replace("_", "").replace("/", " ") for words in product(*(part.split() for part in parts))]
    return np.array(made, dtype=object)


_GIVEN = _words("Al Bel Cor Dar El Fen Gil Hal Is Jor Kel Lor Mar Nel Or Pel Ros Sel Tor Vel", "a an en ia ina o on us ys eth")
_FAMILY = _words(
    "Ash Bram Cald Dun Elm Fair Graf Hol Ink Kest Lin Mor Nort Oak Pren Quil Raven Stan Thorn Und Wex Yar",
    "berg by croft dale er field ford ham hurst ley man mere ridge sen ski son stead ton wick worth",
)
_STREETS = _words(
    "Birch Clover Dove Fern Glen Heron Juniper Larch Meadow Otter Plover Willow",
    "_ bank brook gate moor side",
    "/Street /Lane /Road /Avenue /Close",
)
_TOWNS = _words("Aber Bex Corn Dray Ever Fol Gras Hart Kil Lam Mel Nor Pen Roth Sil", "bury ford haven minster mouth stoke ton wade wood")
_TRADES = _words(
    "Bakery Builders Clinic Foods Freight Glass Hotels Insurance Joinery Laundry Motors Opticians Paints Schools Shipping Stores Textiles"
)
_DOMAINS = np.array(["@example.com", "@example.org", "@example.net"], dtype=object)  # RFC 2606: nobody's mail
_DIGITS3 = np.array([f"{n:03d}" for n in range(1000)], dtype=object)
_DIGITS4 = np.array([f"{n:04d}" for n in range(10_000)], dtype=object)
_WAYS_OF_WRITING = ((("+1 (", ") ", "-")), ("", "-", "-"), ("(", ") ", " "))
_BEFORE, _BETWEEN, _AFTER = (np.array([way[i] for way in _WAYS_OF_WRITING], dtype=object) for i in range(3))
FICTIONAL = 80_000
"""Numbers of the kind (NXX) 555-0100 … 555-0199, which are reserved for fiction: 800 area codes times 100."""
_FICTIONAL_SHARED = 8_000


def mixed(person: np.ndarray, seed: int, salt: int) -> np.ndarray:
    """(n,) uint64 that look random but follow from the person (SplitMix64, Steele et al. 2014)."""
    key = (seed * 0xD1342543DE82EF95 + salt * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        z = person.astype(np.uint64) + np.uint64(key)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _from(table: np.ndarray, person: np.ndarray, seed: int, salt: int) -> np.ndarray:
    return table[mixed(person, seed, salt) % np.uint64(len(table))]


def _place(number: np.ndarray, seed: int, factor: int, places: int) -> np.ndarray:
    """(n,) int64 below `places`: distinct for distinct numbers below `places`, since the factor has no divisor in common with it."""
    return (number * factor + seed * 48_271 % places) % places


def _index(holder: np.ndarray, first: int, shared: int) -> np.ndarray:
    """(n,) int64: numbers below `first` for people, then `shared` for rings and hubs, then both as they come, never the same for two."""
    common = holder >= SHARED
    own = np.where(common, holder - SHARED, holder)
    room = np.where(common, shared, first)
    # Beyond the reserved ones: even numbers for people, odd ones for what is shared.
    return np.where(own < room, own + common * first, first + shared + 2 * (own - room) + common)


def phones(holder: np.ndarray, way: np.ndarray, seed: int) -> np.ndarray:
    """(n,) object: these holders' phone numbers, spelt in one of three ways.

    After the 80,000 reserved for fiction come area codes from 000 to 199, which do not exist.
    """
    number = _index(holder, FICTIONAL - _FICTIONAL_SHARED, _FICTIONAL_SHARED)
    fiction = number < FICTIONAL
    place = _place(number, seed, 34_567, FICTIONAL)
    beyond = _place(np.maximum(number - FICTIONAL, 0), seed, 1_234_567_891, 2_000_000_000)
    area = np.where(fiction, 200 + place // 100, beyond // 10_000_000)
    exchange = np.where(fiction, 555, beyond // 10_000 % 1000)
    line = np.where(fiction, 100 + place % 100, beyond % 10_000)
    return _BEFORE[way] + _DIGITS3[area] + _BETWEEN[way] + _DIGITS3[exchange] + _AFTER[way] + _DIGITS4[line]


def bank_accounts(holder: np.ndarray, seed: int) -> np.ndarray:
    number = _place(_index(holder, PEOPLE, 1 << 20), seed, 7_777_777_777, 10**12)
    return "XX00 DEMO " + _DIGITS4[number // 10**8] + " " + _DIGITS4[number // 10**4 % 10**4] + " " + _DIGITS4[number % 10**4]


def national_ids(person: np.ndarray, seed: int) -> np.ndarray:
    number = _place(person, seed, 618_033_989, 10**9)
    # No national number begins with 000.
    return "000-" + _DIGITS3[number // 10**6] + "-" + _DIGITS3[number // 1000 % 1000] + "-" + _DIGITS3[number % 1000]


def addresses(holder: np.ndarray, seed: int) -> np.ndarray:
    towns, streets, houses = len(_TOWNS), len(_STREETS), 199
    number = _place(_index(holder, PEOPLE, 1 << 20), seed, 617_283_947, 100 * houses * towns * streets)
    street, number = number % streets, number // streets
    town, number = number % towns, number // towns
    house = (1 + number % houses).astype(str).astype(object)
    return house + " " + _STREETS[street] + ", " + _TOWNS[town] + " " + _DIGITS4[9_900 + number // houses]


def devices(holder: np.ndarray, seed: int) -> np.ndarray:
    letters = mixed(holder, seed, 9)
    parts = [(letters >> np.uint64(shift)) % np.uint64(10_000) for shift in (0, 16, 32)]
    return "dev-" + _DIGITS4[parts[0]] + "-" + _DIGITS4[parts[1]] + "-" + _DIGITS4[parts[2]]


def is_female(person: np.ndarray, seed: int) -> np.ndarray:
    return mixed(person, seed, 3) % np.uint64(2) == 0


def protected(age: np.ndarray, female: np.ndarray) -> pd.DataFrame:
    """(n, 2) object: age_band (under_25, 25_34, … 65_plus) and sex."""
    bands = np.array(["under_25", "25_34", "35_44", "45_54", "55_64", "65_plus"], dtype=object)
    band = bands[np.searchsorted([25, 35, 45, 55, 65], age, side="right")]
    return pd.DataFrame({"age_band": band, "sex": np.where(female, "female", "male").astype(object)}, dtype=object)


def identities(
    rng: np.random.Generator,
    seed: int,
    plan: Plan,
    rows: slice,
    *,
    person: np.ndarray,
    household: np.ndarray,
    birth: np.ndarray,
    channel: np.ndarray,
    employment: np.ndarray,
) -> tuple[pd.DataFrame, np.ndarray]:
    """The applicants of a block, (n, COLUMNS) object with None for what is not given, and (n,) device ids.

    person: (n,) int64 who applies. household: (n,) int64 whose family name and address he has. birth: (n,) datetime64[D].
    channel, employment: (n,) positions.
    """  # fmt: skip
    n = len(person)
    ring, hub = plan.ring[rows], plan.hub[rows]
    holders = _holders(plan.ring_kind, ring, hub, person, household)
    payroll = (hub >= 0) & (hub % len(HUB_KEYS) == HUB_KEYS.index(("phone",)))
    kiosk = (hub >= 0) & (hub % len(HUB_KEYS) == HUB_KEYS.index(("device_id",)))
    # Few large employers and many small ones; those who give their payroll office's phone work for the same one.
    employer = (5_000 * (mixed(person, seed, 5) / 2.0**64) ** 2.2).astype(np.int64)
    employer = np.where(payroll, 5_000 + hub, employer)
    given, family = mixed(person, seed, 1) % np.uint64(len(_GIVEN)), mixed(household, seed, 2) % np.uint64(len(_FAMILY))
    suffix = ((person * 7_919 + seed) % 1_000_003).astype(str).astype(object)
    people = {
        "name": _GIVEN[given] + " " + _FAMILY[family],
        "email": _lower(_GIVEN)[given] + "." + _lower(_FAMILY)[family] + suffix + _from(_DOMAINS, person, seed, 4),
        "phone": phones(holders["phone"], rng.integers(0, len(_WAYS_OF_WRITING), n), seed),
        "birth_date": np.datetime_as_string(birth).astype(object),
        "national_id": national_ids(person, seed),
        "bank_account": bank_accounts(holders["bank_account"], seed),
        "address": addresses(holders["address"], seed),
        "employer": _from(_FAMILY, employer, seed, 11) + " " + _from(_TRADES, employer, seed, 12),
    }
    people["employer"][(employment >= EMPLOYMENT.index("unemployed")) & ~payroll] = None
    # A hub's or ring's shared identifier is there in any case: it is what the block was planned with.
    told = (ring < 0) & (hub < 0)
    for name, share in (("email", 0.03), ("bank_account", 0.08), ("national_id", 0.02)):
        people[name][told & (rng.random(n) < share)] = None
    device = devices(holders["device_id"], seed)
    device[~kiosk & np.isin(channel, [CHANNELS.index("branch"), CHANNELS.index("phone")])] = None
    return pd.DataFrame(people, columns=list(COLUMNS), dtype=object), device


def _holders(ring_kind: np.ndarray, ring: np.ndarray, hub: np.ndarray, person: np.ndarray, household: np.ndarray) -> dict[str, np.ndarray]:
    """{identifier: (n,) int64 whose it is}: the person's own, his household's, or what his ring or hub shares."""
    holders = {"phone": person, "device_id": person, "bank_account": person, "address": household}
    in_ring, in_hub = ring >= 0, hub >= 0
    kind = ring_kind[ring[in_ring]]
    for key in holders:
        owner = holders[key].copy()
        shares = np.array([key in keys for keys in RING_KEYS])[kind]
        owner[np.flatnonzero(in_ring)[shares]] = SHARED + 2 * ring[in_ring][shares].astype(np.int64)
        shares = np.array([key in keys for keys in HUB_KEYS])[hub[in_hub] % len(HUB_KEYS)]
        owner[np.flatnonzero(in_hub)[shares]] = SHARED + 2 * hub[in_hub][shares].astype(np.int64) + 1
        holders[key] = owner
    return holders


def _lower(table: np.ndarray) -> np.ndarray:
    return np.array([name.lower() for name in table], dtype=object)
