"""Many applications that come in together, scored as columns within their request and written with their scores in one transaction.

The rows are those that a worker would store, without its claim, its reading back and its updates; one at once is `at_once`. Whatever stands
in the way (no model serves, scoring fails, the database refuses a score) the batch is stored with pending jobs, and the workers, who tell
the one bad row from the others, score it. So is a batch that took the process of an earlier request down (`suspects`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import psycopg

from loans.models import ScoringState, Status
from loans.queries.held_columns import held
from loans.services import fraud, intake, suspects
from loans.services.bulk import assessed, chunk, store
from loans.services.fraud import assessment, links

if TYPE_CHECKING:
    from loans.queries.in_force import InForce

logger = logging.getLogger(__name__)

AT_ONCE_FROM = 20
"""So many on as columns: below, building them costs more than a worker's way."""


def submit(ready: Sequence[intake.Ready], *, now: InForce, digest: bytes) -> list[intake.Received | intake.DuplicateReference]:
    """Write what was checked, of one submitter, scored where that can be. As `intake.store_many`.

    digest: what `suspects.digest_of` gives for this batch and gives again when it is sent again.
    """
    if len(ready) < AT_ONCE_FROM or now.champion is None:
        return intake.store_many(ready)
    if suspects.suspected(digest):
        logger.warning("A batch took its process down when it was scored at once: it is left to the workers.")
        return intake.store_many(ready)
    with suspects.noted(digest):
        try:
            return intake.store_many(ready, _Scored(ready, now).written)
        except intake.DuplicateReference:
            raise
        except Exception as error:
            if isinstance(error, psycopg.OperationalError) or isinstance(error.__cause__, psycopg.OperationalError):
                raise  # the database is away, or was told to stop: nothing else is stored either
            # Any failure at all. The text may hold a value of somebody's.
            logger.warning("Scoring a batch of %d applications at once failed: %s; they stay due.", len(ready), type(error).__name__)
    for each in ready:
        application = each.application
        application.status, application.default_probability, application.grade, application.segment = Status.RECEIVED, None, "", None
    return intake.store_many(ready)


class _Scored:
    """The batch with its scores, before anything of it is written."""

    def __init__(self, ready: Sequence[intake.Ready], now: InForce) -> None:
        self.now = now
        self.serving, self.rules = chunk.Serving.now(), assessed.rules()
        intake.number(ready)
        rows = [each.application for each in ready]
        self.found = chunk.Rated.of(held(rows, self.serving.wanted(assessed.facts_of(self.rules))), self.serving)
        self.place = {row.pk: number for number, row in enumerate(rows)}

    def written(self, ready: list[intake.Ready]) -> list[intake.Received]:
        """Store these of them, all with their scores. Call inside a transaction."""
        import numpy as np

        found = self.found if len(ready) == len(self.place) else self._of(ready)
        _show(ready, found)
        store.prepare()
        own = [(name, row.link_kind) for name, row in self.now.attributes.items() if row.link_kind]
        new_links = links.of_new([each.application for each in ready], own)
        with nullcontext() if new_links is None else assessed.unawaited():
            received = intake.copied(ready, state=ScoringState.DONE)
        jobs = np.array([each.job.pk for each in received], dtype=np.int64)
        chunk.store_scores(found, self.serving, jobs)
        if new_links is not None:
            if assessment.earliest_waiting() is not None:
                fraud.link_quietly()
            assessed.assess_new(found.applications, new_links, self.rules, self.serving.terms)
        if self.now.webhooks:
            chunk.tell(jobs)
        return received

    def _of(self, ready: list[intake.Ready]) -> chunk.Rated:
        import numpy as np

        rows = np.array([self.place[each.application.pk] for each in ready], dtype=np.int64)
        return chunk.Rated.of(self.found.applications.taken(rows), self.serving)


def _show(ready: list[intake.Ready], found: chunk.Rated) -> None:
    segments = [None] * len(ready) if found.segments is None else found.segments["segment"].to_pylist()
    columns = (found.risk.scores.probability.tolist(), found.risk.grade.tolist(), segments)
    for each, probability, grade, segment in zip(ready, *columns, strict=True):
        application = each.application
        application.status, application.default_probability, application.grade = Status.OPEN, probability, str(grade)
        application.segment = None if segment is None else int(segment)
