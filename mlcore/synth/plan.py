"""Who applies when, for the whole world at once: the arrivals in their order, the fraud rings among them, and the innocent hubs.

Small numbers an application (29 bytes), so that a world of many millions is planned in memory and then filled in block by block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlcore.synth import arrivals
from mlcore.synth.world import PRODUCTS, REGION_SHARES, World

# What a ring's loans have in common: always two identifiers or more, since one alone is what honest people share too.
RING_KEYS = (
    ("phone", "device_id"),
    ("bank_account", "phone"),
    ("bank_account", "device_id"),
    ("address", "bank_account"),
    ("phone", "address", "device_id"),
    ("bank_account", "phone", "device_id"),
)
HUB_KEYS = (("phone",), ("device_id",), ("address",))
"""A payroll office's phone, a kiosk in a branch, a hall of residence: hub number modulo three says which."""
APPLICATIONS_PER_HUB = 40


@dataclass(frozen=True)
class Plan:
    """Arrays of n applications in the order of their time.

    moment: datetime64[s], UTC. product, region: int8 positions in PRODUCTS and REGIONS. ring, hub: int32, -1 for none.
    ring_kind: (rings,) position in RING_KEYS of what each ring's loans share.
    """

    moment: np.ndarray
    product: np.ndarray
    region: np.ndarray
    ring: np.ndarray
    hub: np.ndarray
    ring_kind: np.ndarray

    def __len__(self) -> int:
        return len(self.moment)


def make_plan(world: World) -> Plan:
    """Everything about a world that has to be known before its first application is filled in."""
    rng = np.random.default_rng([world.seed, 1])
    total = arrivals.total_of(world, rng)
    sizes = _ring_sizes(world, rng, total)
    rings = len(sizes)
    fraud = int(sizes.sum())
    moment, product, region = arrivals.draw(world, rng, total - fraud)
    ring_moment = _ring_moments(world, rng, sizes)
    ring = np.repeat(np.arange(rings, dtype=np.int32), sizes)
    # A ring works one region, and mostly asks for what pays out at once.
    ring_product = rng.choice(len(PRODUCTS), fraud, p=[0.75, 0.1, 0.1, 0.05]).astype(np.int8)
    ring_region = rng.choice(len(REGION_SHARES), rings, p=REGION_SHARES).astype(np.int8)[ring]
    hubs = -(-int(total * world.hub_share) // APPLICATIONS_PER_HUB)
    hub = np.where(rng.random(total - fraud) < world.hub_share, rng.integers(0, max(hubs, 1), total - fraud), -1).astype(np.int32)
    everyone = np.concatenate([moment, ring_moment])
    order = np.argsort(everyone, kind="stable")
    return Plan(
        moment=everyone[order],
        product=np.concatenate([product, ring_product])[order],
        region=np.concatenate([region, ring_region])[order],
        ring=np.concatenate([np.full(total - fraud, -1, np.int32), ring])[order],
        hub=np.concatenate([hub, np.full(fraud, -1, np.int32)])[order],
        ring_kind=rng.integers(0, len(RING_KEYS), rings),
    )


def _ring_sizes(world: World, rng: np.random.Generator, total: int) -> np.ndarray:
    """(rings,) loans of each: as many rings as come nearest to the share of fraud asked for."""
    least, most = world.ring_sizes
    rings = round(total * world.ring_share / ((least + most) / 2))
    sizes = rng.integers(least, most + 1, rings)
    return sizes[np.cumsum(sizes) <= total]


def _ring_moments(world: World, rng: np.random.Generator, sizes: np.ndarray) -> np.ndarray:
    """(sum of sizes,) datetime64[s]: a ring's loans come hours to days apart, all within `world.ring_days` and within the world."""
    start, end = np.datetime64(world.start, "s"), np.datetime64(world.end, "s")
    span = float((end - start).astype(np.int64))
    life = np.minimum(rng.uniform(0.25, 1.0, len(sizes)) * world.ring_days * 86_400, span)
    opening = rng.random(len(sizes)) * (span - life)
    opening[: world.rings_at_end] = (span - life)[: world.rings_at_end]
    ring = np.repeat(np.arange(len(sizes)), sizes)
    offset = rng.random(int(sizes.sum())) * life[ring]
    return start + (opening[ring] + offset).astype(np.int64).astype("timedelta64[s]")
