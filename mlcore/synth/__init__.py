"""A made-up lender whose truth is known: for tests, benchmarks and demonstrations. No real person, account or loan is in it.

world = World(seed=3, applications=10_000, drifts=(Drift("level", date(2025, 6, 1), size=1.25),))
made = generate(world)
made.frame, made.default, made.true_default_probability, made.true_contributions, made.fraud_ring
for block in blocks(World(applications=5_000_000)): ...     # the same in bounded memory
"""

from mlcore.synth.arrivals import days_of, expected_counts, holidays
from mlcore.synth.features import LATENTS, latent_correlation
from mlcore.synth.generate import BLOCK, blocks, generate
from mlcore.synth.generated import Generated
from mlcore.synth.truth import DIRECTIONS, NO_EFFECT, Oracle
from mlcore.synth.world import (
    FEATURES,
    LEAK,
    LENDER_COLUMNS,
    PRODUCTS,
    REGIONS,
    SCHEMA,
    Drift,
    Product,
    World,
    WorldError,
    months_later,
)

__all__ = [
    "BLOCK", "DIRECTIONS", "FEATURES", "LATENTS", "LEAK", "LENDER_COLUMNS", "NO_EFFECT", "PRODUCTS", "REGIONS", "SCHEMA",
    "Drift", "Generated", "Oracle", "Product", "World", "WorldError",
    "blocks", "days_of", "expected_counts", "generate", "holidays", "latent_correlation", "months_later",
]  # fmt: skip
