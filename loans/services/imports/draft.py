"""A proposal for a mapping, from the head of a file: a person finishes it in minutes instead of writing it in hours."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from django.utils import timezone
from django.utils.translation import gettext

from loans.services.imports.bounded import open_bounded
from loans.services.imports.draft_proposal import Proposal
from loans.services.imports.draft_text import toml_of
from loans.services.imports.mapping import parse_mapping
from loans.services.imports.readers import Chunk, FileProblem, SeveralSheets, WrongEncoding
from loans.services.imports.rules import FileOptions
from loans.services.imports.validate import Validator

# A file is often sorted, by date or even by outcome: its first rows alone would mislead.
CHUNKS, ROWS_A_CHUNK = 10, 1_000
MAX_BAD = 0.02


def draft_mapping(path: Path | str, *, name: str | None = None) -> str:
    """TOML of a complete mapping: it parses, fits the header, and converts nearly all rows of the head. Raises ImportProblem."""
    path = Path(path)
    return toml_of(draft_from(read_head(path), file_name=path.name, name=name))


def draft_from(head: Head, *, file_name: str, name: str | None = None) -> Proposal:
    """The same as a proposal, from a head that was read already."""
    proposal = Proposal(name or mapping_name(file_name), file_name, head.options, head.header, head.chunk)
    for _ in range(len(head.header) + 1):
        bad = _badly_converted(toml_of(proposal), file_name, head.header, head.chunk)
        if not bad:
            break
        proposal.demote(bad)
    return proposal


def _badly_converted(toml: str, file_name: str, header: tuple[str, ...], chunk: Chunk) -> set[str]:
    """Columns of which more than 2 % of the rows are refused by the draft as it stands."""
    fitted = parse_mapping(toml, name="draft").fit(header, file_name=file_name)
    counts = Validator(fitted, now=timezone.now()).count_problems(chunk)
    return {column for column, count in counts.items() if count > MAX_BAD * len(chunk)}


def mapping_name(file_name: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", file_name.split(".")[0].lower()).strip("-_")[:60] or "lender"


@dataclass(frozen=True)
class Head:
    """How to read a file, its columns, and rows spread over its first `CHUNKS` pieces."""

    options: FileOptions
    header: tuple[str, ...]
    chunk: Chunk


def read_head(path: Path, *, name: str | None = None) -> Head:
    """name: what the file is called in messages. Raises FileProblem."""
    name = name or path.name
    options = FileOptions()
    try:
        return Head(options, *_rows(path, options, name))
    except WrongEncoding as error:
        options = FileOptions(encoding=error.likely)
    except SeveralSheets as error:
        options = FileOptions(sheet=error.names[0])
    return Head(options, *_rows(path, options, name))


def _rows(path: Path, options: FileOptions, name: str) -> tuple[tuple[str, ...], Chunk]:
    with open_bounded(path, options, name=name) as reader:
        chunks = [_thinned(chunk) for chunk in itertools.islice(reader.chunks(reader.header), CHUNKS) if len(chunk)]
        if not chunks:
            raise FileProblem(gettext("%(name)s has a header and no rows to learn from.") % {"name": name})
        columns = {column: pa.concat_arrays([chunk.columns[column] for chunk in chunks]) for column in reader.header}
        return reader.header, Chunk(np.concatenate([chunk.lines for chunk in chunks]), columns, chunks[-1].share)


def _thinned(chunk: Chunk) -> Chunk:
    step = max(len(chunk) // ROWS_A_CHUNK, 1)
    return Chunk(
        chunk.lines[::step], {name: cells.take(pa.array(range(0, len(chunk), step))) for name, cells in chunk.columns.items()}, chunk.share
    )
