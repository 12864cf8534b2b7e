"""Whether a model still stands on the ground that it was built on: inputs, outputs and, as labels mature, what came of it.

    from mlcore.monitor import Bins, Collected, watch

    bins = Bins.of(reference_sample, schema)
    reference, window = Collected(bins), Collected(bins)
    reference.add(frame, submitted_at, probability=…, default=…, outputs={…})    # as often as there are blocks
    window.add(…)
    reading = watch(reference, window)
    reading.figures, reading.notes, reading.alarms

Everything is a count by bin and fortnight: a million rows cost one pass and no sort. docs/MONITORING.md says what each figure can and
cannot see.
"""

from mlcore.monitor.bins import Bins, ColumnBins
from mlcore.monitor.cbpe import Estimate, estimate
from mlcore.monitor.collect import Collected
from mlcore.monitor.figures import GROUPS, Figure, Limits, Reading
from mlcore.monitor.multiple import benjamini_hochberg, holm
from mlcore.monitor.watch import watch

__all__ = [
    "GROUPS", "Bins", "Collected", "ColumnBins", "Estimate", "Figure", "Limits", "Reading",
    "benjamini_hochberg", "estimate", "holm", "watch",
]  # fmt: skip
