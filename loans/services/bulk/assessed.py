"""Fraud assessments of a whole chunk: link features, every rule's outcome, the models' scores, and flags where they say so.

The arithmetic is that of `loans.services.fraud`: a condition is asked once for each distinct value that it looks at, and the verdict of
what nothing speaks against is the same for all; only what something speaks against goes through `merge` by itself.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, transaction

from loans.models import AssessmentState, FraudAssessment, LoanApplication, ModelKind
from loans.queries.columns import COUNTS, NUMBERS, TABLES, Applications, Wanted, fetched, id_list
from loans.queries.fraud_links import FRACTIONS, link_matrix, plain_feature
from loans.services import policy, registry
from loans.services.bulk import store, text
from loans.services.fraud import assessment, flags, model
from loans.services.fraud.rules import kept
from mlcore.fraud.facts import LINK_NAMES
from mlcore.fraud.findings import LETTERS, ZERO, Terms
from mlcore.fraud.merge import ODD_FROM, Judged, Verdict, merge
from mlcore.fraud.rules import NUMERIC, Condition, Rule, is_missing, trace
from mlcore.fraud.sampling import is_sampled
from mlcore.schema import Schema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from mlcore.fraud.model import FraudDetector, Overview

logger = logging.getLogger(__name__)

YES, NO, UNKNOWN = 1, 0, -1
_BYTES, _NULL = r"\\x", r"\N"  # as COPY reads them
_COMPARE: dict[str, Any] = {"above": operator.gt, "at_least": operator.ge, "below": operator.lt, "at_most": operator.le}
_HIT = LETTERS["hit"].encode()
_WHOLE = [name not in FRACTIONS for name in LINK_NAMES]
_PLACE = {name: number for number, name in enumerate(LINK_NAMES)}


def own_schema(serving: registry.Serving | None) -> Schema:
    """What the fraud model looks at of the application itself; empty where none serves."""
    return (
        Schema(())
        if serving is None
        else serving.model.schema.only([name for name in serving.model.schema.names if name not in LINK_NAMES])
    )


def rules() -> list[Rule]:
    return assessment.rules_in_force()


def facts_of(rules: Sequence[Rule]) -> list[str]:
    """What the rules look at of the application itself."""
    return sorted({condition.feature for rule in rules for condition in rule.conditions} - set(LINK_NAMES))


def assess_quietly(applications: Applications, rules: list[Rule], terms: policy.Terms) -> None:
    """Never raises, never breaks the caller's transaction: what fails is noted, and made up for by the sweeper one by one."""
    try:
        with transaction.atomic(), assessment._bounded():
            _assess(applications, rules, terms)
    except Exception as error:
        logger.warning("Fraud assessment of %d applications failed: %s", len(applications), type(error).__name__)
        assessment._note_failure(applications.ids.tolist(), error)


def assess_missed(ids: Sequence[int]) -> int:
    """Assess applications that were scored without it, in a transaction of its own; returns how many. Raises whatever stood in the way."""
    import pyarrow as pa

    rules, terms = assessment.rules_in_force(), policy.in_force()
    serving = _serving()
    wanted = Wanted.of([own_schema(serving)], facts_of(rules))
    with transaction.atomic(), assessment._bounded():
        source = f"FROM {TABLES} WHERE app.id = ANY(%s) ORDER BY app.id"
        applications = fetched(source, [list(ids)], wanted, reference=("app.external_reference", pa.string()))
        return _assess(applications, rules, terms)


def _serving() -> registry.Serving | None:
    try:
        return registry.champion(ModelKind.FRAUD)
    except registry.NoChampion:
        return None


def _assess(applications: Applications, rules: list[Rule], terms: policy.Terms) -> int:
    import numpy as np

    # Asked for here and not by the caller: a model that can't be read is a failed assessment, and no reason to leave it out.
    serving = _serving()
    ready = assessment.ready_ids(applications.ids.tolist())
    if not ready:
        return 0
    rows = np.flatnonzero(np.isin(applications.ids, np.array(ready, dtype=np.int64)))
    subjects = _Subjects(applications, rows, Terms(tuple(rules), LINK_NAMES), serving)
    verdicts = subjects.verdicts()
    _replace(applications.ids[rows], subjects.columns(verdicts))
    _flag(applications, rows, verdicts, terms)
    return len(rows)


def assess_new(applications: Applications, links: Sequence[tuple], rules: list[Rule], terms: policy.Terms) -> None:
    """Link and assess applications that this transaction has stored under `unawaited`, except those that something unlinked came before.

    Never raises, never breaks the caller's transaction. Whatever it did not assess waits for the sweeper, as if the trigger had seen to it.
    """
    try:
        with transaction.atomic(), assessment._bounded():
            with connection.cursor() as cursor:
                # Batches one after the other from here to their commit: of two that share an identifier, the second sees the first.
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext('loandesk.fraud.batch'))")
            copy_links(links)
            rows = _after_nothing_unlinked(applications)
            if len(rows):
                _assess_at(applications, rows, rules, terms)
        missed = sorted(set(range(len(applications))) - set(rows.tolist()))
    except Exception as error:
        logger.warning("Fraud assessment of a batch of %d applications failed: %s", len(applications), type(error).__name__)
        missed = list(range(len(applications)))
    if missed:
        FraudAssessment.objects.bulk_create([FraudAssessment(application_id=pk) for pk in applications.ids[missed].tolist()])


def _after_nothing_unlinked(applications: Applications) -> np.ndarray:
    import numpy as np

    earliest = assessment.earliest_waiting()
    if earliest is None:
        return np.arange(len(applications))
    return np.flatnonzero(applications.numbers("submitted_at") <= round(earliest.timestamp() * 1_000_000))


def _assess_at(applications: Applications, rows: np.ndarray, rules: list[Rule], terms: policy.Terms) -> None:
    subjects = _Subjects(applications, rows, Terms(tuple(rules), LINK_NAMES), _serving())
    verdicts = subjects.verdicts()
    constant = {"state": AssessmentState.ASSESSED.value, "error": "", "attempts": "0", "assessed_at": "now"}
    ids = text.integers(applications.ids[rows])
    store.copy_in("loans_fraudassessment", {"application_id": ids} | constant | subjects.columns(verdicts))
    _flag(applications, rows, verdicts, terms)


@contextmanager
def unawaited() -> Iterator[None]:
    """Applications that are stored in here get no assessment row that waits: whoever stores them writes it in the same transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('loandesk.assessed_here', 'on', true)")
        yield
        cursor.execute("SELECT set_config('loandesk.assessed_here', 'off', true)")


def copy_links(links: Sequence[tuple]) -> None:
    """links: rows of `links._links`, of applications that have none yet."""
    if not links:
        return
    written, times = [], {}
    for pk, kind, digest, at, name in links:
        moment = times.get(at) or times.setdefault(at, at.isoformat())
        written.append(f"{pk}\t{kind}\t{_BYTES}{digest.hex()}\t{moment}\t{_NULL if name is None else _BYTES + name.hex()}\n")
    columns = "application_id, kind, digest, submitted_at, name"
    with connection.cursor() as cursor, cursor.copy(f"COPY loans_applicationlink ({columns}) FROM STDIN") as copy:
        copy.write("".join(written))


def _replace(ids: np.ndarray, columns: dict[str, Any]) -> None:
    """The rows (locked by `ready_ids`) with what was found in place of what stood there.

    Deleted and copied in anew, which costs less than an UPDATE by way of a staging table.
    """
    import numpy as np
    import pyarrow as pa

    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM loans_fraudassessment WHERE application_id = ANY(%s::bigint[])"
            " RETURNING application_id, attempts::text, due_at::text, statement_timestamp()::text",
            [id_list(ids)],
        )
        kept = cursor.fetchall()
    order = np.argsort([row[0] for row in kept])
    attempts, due_at = (pa.array([kept[at][place] for at in order.tolist()], type=pa.string()) for place in (1, 2))
    columns = columns | {"application_id": text.integers(ids), "state": AssessmentState.ASSESSED.value, "error": ""}
    columns |= {"attempts": attempts, "due_at": due_at, "assessed_at": kept[0][3]}
    missed = {field.column for field in FraudAssessment._meta.concrete_fields} - set(columns)
    if missed:
        raise RuntimeError(f"A column of the assessment would be lost: {', '.join(sorted(missed))}")
    store.copy_in("loans_fraudassessment", columns)


@dataclass(frozen=True)
class _Verdicts:
    """score: (n,). alone: verdicts by row of those that something speaks for or against, or that are drawn at random."""

    score: np.ndarray
    alone: dict[int, Verdict]
    sampled: set[int]


class _Subjects:
    """The applications at `rows`, described: what the rules, the anomaly and the supervised model are shown."""

    def __init__(self, applications: Applications, rows: np.ndarray, terms: Terms, serving: registry.Serving | None) -> None:
        self.applications, self.rows, self.terms, self.serving = applications, rows, terms, serving
        self.matrix = link_matrix(applications.ids[rows].tolist())
        self.facts = {name: applications.fact(name)[rows] for name in terms.facts}
        self.found = None if serving is None else self._judged(serving.model)
        self.unusual = self.found.odd.unusual if self.found is not None and self.found.odd is not None else None
        self.probability = None if self.found is None else self.found.probability
        self.outcomes = self._outcomes()

    def _judged(self, detector: FraudDetector) -> Overview:
        import pandas as pd

        schema = detector.schema
        own = schema.only([name for name in schema.names if name not in LINK_NAMES])
        frame = self.applications.frame(own).iloc[self.rows].reset_index(drop=True)
        frame = pd.concat([frame, pd.DataFrame(self.matrix, columns=list(LINK_NAMES))], axis=1)
        return detector.overview(frame[list(schema.names)], self.applications.submitted_at.iloc[self.rows].reset_index(drop=True))

    def _value(self, name: str, row: int) -> Any:
        """As the rules see it: a link feature where there is one of this name, else what the application says."""
        if name in _PLACE:
            return plain_feature(name, self.matrix[row, _PLACE[name]])
        return self.facts[name][row]

    def _outcomes(self) -> np.ndarray:
        """(n, rules) the letter of each rule's outcome, as bytes."""
        import numpy as np

        made = np.empty((len(self.rows), len(self.terms.rules)), dtype="S1")
        for place, rule in enumerate(self.terms.rules):
            seen = [self._holds(condition) for condition in rule.conditions]
            failed, unknown = (np.logical_or.reduce([holds == what for holds in seen]) for what in (NO, UNKNOWN))
            made[:, place] = np.where(failed, LETTERS["no_hit"], np.where(unknown, LETTERS["not_applicable"], LETTERS["hit"]))
        return made

    def _holds(self, condition: Condition) -> np.ndarray:
        """(n,) whether it holds: YES, NO or UNKNOWN. What no comparison of numbers settles is asked once for each distinct value."""
        import numpy as np

        name = condition.feature
        numbers = self.matrix[:, _PLACE[name]] if name in _PLACE else self._numbers(name)
        if numbers is not None and condition.operator in NUMERIC:
            return np.where(np.isfinite(numbers), _COMPARE[condition.operator](numbers, float(condition.value)), UNKNOWN)
        codes, first = _distinct(self.facts[name] if name in self.facts else numbers)
        answers = [condition.holds({name: self._value(name, row)}) for row in first]
        return np.array([UNKNOWN if holds is None else YES if holds else NO for holds in answers])[codes]

    def _numbers(self, name: str) -> np.ndarray | None:
        """(n,) float64 of what an application states as a number, NaN where missing; None where it is no number for all."""
        return self.applications.numbers(name)[self.rows].astype(float) if name in NUMBERS else None

    def columns(self, verdicts: _Verdicts) -> dict[str, Any]:
        """Of the assessment, as they are to be stored."""
        return {
            "score": text.floats(verdicts.score),
            "calibrated": "t" if self.probability is not None else "f",
            "unusual": None if self.unusual is None else text.floats(self.unusual),
            "probability": None if self.probability is None else text.floats(self.probability),
            "features": self.features_json(),
            "trace": self.trace_json(),
            "rule_set_id": str(kept(self.terms)),
            "model_id": None if self.serving is None else str(self.serving.version.pk),
        }

    def trace_json(self) -> pa.StringArray:
        """As `Terms.short_trace`."""
        import numpy as np

        rules = len(self.terms.rules)
        if rules:
            outcomes, codes = np.unique(np.ascontiguousarray(self.outcomes).view(f"S{rules}").ravel(), return_inverse=True)
            letters = text.picked([text.plain(each.decode()) for each in outcomes], codes.ravel())
        else:
            letters = text.picked(['""'], np.zeros(len(self.rows), dtype=np.int64))
        facts = text.json_list([self._fact_json(name) for name in self.terms.facts]) if self.terms.facts else "[]"
        return text.joined('{"outcomes": ', letters, ', "facts": ', facts, "}")

    def _fact_json(self, name: str) -> pa.StringArray:
        if name in NUMBERS:
            numbers = self._numbers(name)
            return text.or_null(text.integers(numbers, numbers == numbers) if name in COUNTS else text.floats(numbers))
        codes, first = _distinct(self.facts[name])
        values = [self.facts[name][row] for row in first]
        return text.picked([text.plain(None if is_missing(value) else value) for value in values], codes)

    def features_json(self) -> pa.StringArray:
        import numpy as np

        # Most applications share no identifier with an earlier one: a handful of rows stands for nearly all.
        packed = np.ascontiguousarray(np.nan_to_num(self.matrix, nan=-1.0)).view(f"V{8 * self.matrix.shape[1]}").ravel()
        _, first, codes = np.unique(packed, return_index=True, return_inverse=True)
        written = self._short_features(first)
        return text.picked(written, codes.ravel())

    def _short_features(self, rows: np.ndarray) -> list[str]:
        """As `Terms.short_features`: most features are zero, and only the others are looked at one by one."""
        import numpy as np

        values = self.matrix[rows]
        zero = (values == 0) & _WHOLE
        bits = np.packbits(zero, axis=1, bitorder="little")
        written = [f'{{"{ZERO}": "{int.from_bytes(each.tobytes(), "little"):x}"' for each in bits]
        for row, place in np.argwhere(~zero & (values == values)).tolist():
            name = LINK_NAMES[place]
            written[row] += f', "{name}": {plain_feature(name, float(values[row, place]))!r}'
        return [each + "}" for each in written]

    def verdicts(self) -> _Verdicts:
        import numpy as np

        n, limits = len(self.rows), model.thresholds()
        look = (self.outcomes == _HIT).any(axis=1)
        if self.unusual is not None:
            look |= ~(self.unusual <= ODD_FROM)
        score = np.full(n, merge([]).score)
        if self.probability is not None:
            score = self.probability.copy()
            look |= self.probability >= limits.probability
        references = self.applications.table["reference"].take(self.rows).to_pylist()
        share, key = settings.FRAUD_SAMPLE_SHARE, settings.BLIND_INDEX_KEY
        sampled = {row for row, reference in enumerate(references) if is_sampled(reference, share, key)}
        alone = {row: self._merged(row, limits) for row in sorted({*np.flatnonzero(look).tolist(), *sampled})}
        for row, verdict in alone.items():
            score[row] = verdict.score
        return _Verdicts(score, alone, sampled)

    def _merged(self, row: int, limits: Any) -> Verdict:
        # Only what hits has a say, and its conditions are shown with the flag.
        hits = [rule for rule, letter in zip(self.terms.rules, self.outcomes[row], strict=True) if letter == _HIT]
        traces = [trace(rule, {condition.feature: self._value(condition.feature, row) for condition in rule.conditions}) for rule in hits]
        judged = Judged() if self.found is None else self.found.of(row)
        return merge(
            traces,
            unusual=judged.unusual,
            odd=judged.odd,
            probability=judged.probability,
            drivers=judged.drivers,
            labels=judged.labels,
            thresholds=limits,
        )


def _distinct(values: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """((n,) positions among the distinct values, the first row that has each)."""
    import numpy as np
    import pandas as pd

    codes, found = pd.factorize(pd.Series(values), use_na_sentinel=False)
    first = np.empty(len(found), dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # the last one written is the first one there
    return codes, first.tolist()


def _flag(applications: Applications, rows: np.ndarray, verdicts: _Verdicts, terms: policy.Terms) -> None:
    wanted = {row: verdict for row, verdict in verdicts.alone.items() if verdict.flagged or row in verdicts.sampled}
    ids = {row: int(applications.ids[rows[row]]) for row in wanted}
    found = LoanApplication.objects.in_bulk(list(ids.values()))
    share = terms.policy.loss_given_default
    raised = [(found[ids[row]], verdict, assessment.expected_loss(found[ids[row]], verdict, share)) for row, verdict in wanted.items()]
    flags.raise_many([each for each in raised if each[1].flagged], [each for each in raised if not each[1].flagged])
