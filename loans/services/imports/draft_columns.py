"""What a column of a file's head looks like: numbers, dates, yes or no, a few codes, or text."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.utils.translation import gettext

from loans.services.imports.draft_words import ABSENT_WORDS, plain_name
from loans.services.imports.scalars import BadValue, parse_moment, parse_months, parse_number

MOSTLY = 0.98
FORMATS = (
    *(
        "%Y-%m-%d",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d.%m.%Y",
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%b-%Y",
        "%b-%y",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%Y/%m/%d",
        "%Y%m%d",
    ),
    *("%m/%Y", "%B %Y", "%d %b %Y", "%m/%d/%y", "%d/%m/%y", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%Y/%m/%d %H:%M:%S", "%Y-%m"),
)
_YES_NO = {"yes", "no", "y", "n", "true", "false", "t", "f", "0", "1", "0.0", "1.0"}
_COMMA_DECIMAL = re.compile(r"[+-]?(0,\d+|\d{1,3}(\.\d{3})*,\d{1,2}|\d+,(\d{1,2}|\d{4,}))")  # 1,000 is a thousand rather
_FLAG = re.compile(r"(^|_)(is|has|was|flag|ind|indicator|yn)(_|$)")
_SAMPLE = 1_000


@dataclass
class Column:
    """One column of the head; texts: its cells, trimmed."""

    name: str
    texts: list[str]
    decimal: str = "."

    @cached_property
    def plain(self) -> str:
        return plain_name(self.name)

    @cached_property
    def absent_words(self) -> list[str]:
        """Words for "not given" that stand among the values of a column that is otherwise numbers or dates."""
        return sorted({text for text in self.texts if text.casefold() in ABSENT_WORDS})

    @cached_property
    def counts(self) -> Counter[str]:
        return Counter(text for text in self.texts if text and text.casefold() not in ABSENT_WORDS)

    @cached_property
    def filled(self) -> int:
        return sum(self.counts.values())

    @cached_property
    def numbers(self) -> list[float]:
        """The column as numbers; empty where it is not mostly that."""
        return self._mostly(lambda text: parse_number(text.removesuffix("%").strip(), self.decimal))

    @cached_property
    def months(self) -> list[float]:
        """The column as durations that name their unit ("36 months", "10+ years"); empty where it is not mostly that."""
        return self._mostly(lambda text: parse_months(text, "months")) if any(letter.isalpha() for letter in self.sample[:40]) else []

    def _mostly(self, parse: object) -> list[float]:
        found = []
        for text, count in self.counts.items():
            try:
                found += [parse(text)] * count
            except BadValue:
                continue
        return found if self.filled and len(found) >= MOSTLY * self.filled else []

    @property
    def sample(self) -> str:
        return "".join(list(self.counts)[:40])

    @cached_property
    def comma_decimals(self) -> bool:
        texts = list(self.counts)[:_SAMPLE]
        return bool(texts) and sum(bool(_COMMA_DECIMAL.fullmatch(text)) for text in texts) > 0.5 * len(texts)

    @cached_property
    def has_percent(self) -> bool:
        return any(text.endswith("%") for text in list(self.counts)[:_SAMPLE])

    @cached_property
    def whole(self) -> bool:
        return bool(self.numbers) and all(number == int(number) for number in self.numbers)

    @cached_property
    def date_format(self) -> str | None:
        """The one format that fits all dates of the head ("" for ISO 8601); None where they are no dates."""
        texts = list(self.counts)[:_SAMPLE]
        if not texts or self.numbers and not all(len(text) == 8 for text in texts):
            return None
        for pattern in ("", *FORMATS):
            if all(self._moment(text, pattern) is not None for text in texts):
                return pattern
        return None

    def _moment(self, text: str, pattern: str) -> datetime | None:
        try:
            found = parse_moment(text, (pattern,) if pattern else ())
        except BadValue:
            return None
        return found if 1900 <= found.year <= 2200 else None

    @cached_property
    def moments(self) -> list[datetime | None]:
        """Each row's date, None where it has none."""
        known = {text: self._moment(text, self.date_format or "") for text in self.counts} if self.date_format is not None else {}
        return [known.get(text) for text in self.texts]

    @cached_property
    def is_boolean(self) -> bool:
        """Two words for yes and no. 0 and 1 only where the name says flag: further down the file a count may go on to 2."""
        words = {text.casefold() for text in self.counts}
        return len(words) == 2 and words <= _YES_NO and (not self.numbers or bool(_FLAG.search(self.plain)))

    @cached_property
    def is_binary(self) -> bool:
        return len({text.casefold() for text in self.counts}) == 2 and all(text.casefold() in _YES_NO for text in self.counts)

    @cached_property
    def is_unique(self) -> bool:
        return self.filled == len(self.texts) and len(self.counts) == self.filled

    @cached_property
    def longest(self) -> int:
        return max(map(len, self.counts), default=0)

    @property
    def written_as_float(self) -> bool:
        """Whole numbers that all end in .0, as pandas writes a column of integers with gaps."""
        return bool(self.counts) and all(re.fullmatch(r"\d+\.0", text) for text in self.counts)

    def examples(self) -> str:
        shown = ", ".join(text if len(text) <= 24 else text[:23] + "…" for text, _ in self.counts.most_common(3))
        empty = len(self.texts) - self.filled
        share = f"{empty / len(self.texts):.0%}" if empty >= 0.01 * len(self.texts) else "under 1%"
        return (shown or gettext("always empty in the head")) + (f"; {share} empty" if empty else "")
