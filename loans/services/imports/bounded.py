"""A loan file read in a child process with bounds: whatever a file does to its reader, it does to nobody else.

The child is forked, reads the file with `open_reader`, and sends header and chunks back through a pipe as JSON and Arrow columns; it waits
where nobody takes them, so no more than a chunk or two is ever under way. It may take `READ_MEMORY_MB` of memory beyond what it was born
with, and so many seconds for a chunk; past that it is killed, and the file is refused with the reason.

Linux bounds memory by RLIMIT_AS. Where there is no such limit that holds (macOS), a thread of the child looks at its peak ten times a
second and ends it.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import select
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from django.conf import settings
from django.utils.translation import gettext

from loans.services.imports.opening import open_reader
from loans.services.imports.problems import RowProblem
from loans.services.imports.readers import Chunk, FileProblem, Reader, SeveralSheets, WrongEncoding
from loans.services.imports.rules import FileOptions

logger = logging.getLogger(__name__)

SECONDS_A_CHUNK = 60.0
LOOK_EVERY_SECONDS = 0.1
TOO_LARGE_FOR_MEMORY = 3
_FRAME = struct.Struct("!cQ")
_HEADER, _CHUNK, _PROBLEM, _END = b"H", b"C", b"P", b"E"


@contextmanager
def open_bounded(path: Path, options: FileOptions, *, name: str | None = None) -> Iterator[Reader]:
    """As `open_reader`, in a child. Raises FileProblem, also where the child needs too much memory or time."""
    name = name or path.name
    asked, ask = os.pipe()
    answered, answer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ask)
        os.close(answered)
        _be_the_child(path, options, name, asked, answer)
    os.close(asked)
    os.close(answer)
    reading = _Reading(child, name, ask, answered)
    try:
        yield reading.begun()
    finally:
        reading.end()


class _Reading:
    """The parent's end: a `Reader` whose chunks come from the child."""

    header: tuple[str, ...]
    row_name: str

    def __init__(self, child: int, name: str, ask: int, answered: int) -> None:
        self._child, self._name, self._ask, self._answered = child, name, ask, answered
        self._ended = False

    def begun(self) -> _Reading:
        found = json.loads(self._next()[1])
        self.header, self.row_name = tuple(found["header"]), found["row_name"]
        return self

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        os.write(self._ask, json.dumps(list(columns)).encode() + b"\n")
        while True:
            kind, body = self._next()
            if kind == _END:
                return
            yield _unpacked(body)

    def end(self) -> None:
        """Where the child is not done yet, it is killed: nobody wants the rest."""
        for pipe in (self._ask, self._answered):
            os.close(pipe)
        if not self._ended:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)

    def _next(self) -> tuple[bytes, bytes]:
        until = time.monotonic() + SECONDS_A_CHUNK
        kind, length = _FRAME.unpack(self._exactly(_FRAME.size, until))
        body = self._exactly(length, until)
        if kind == _PROBLEM:
            raise _problem(json.loads(body))
        return kind, body

    def _exactly(self, size: int, until: float) -> bytes:
        parts, missing = [], size
        while missing:
            ready, _, _ = select.select([self._answered], [], [], max(until - time.monotonic(), 0))
            if not ready:
                raise FileProblem(
                    gettext(
                        "%(name)s was given up: reading a piece of it took longer than %(seconds_a_chunk)s seconds. Is it "
                        "damaged, or packed beyond measure?"
                    )
                    % {"name": self._name, "seconds_a_chunk": f"{SECONDS_A_CHUNK:.0f}"}
                )
            part = os.read(self._answered, min(missing, 1 << 20))
            if not part:
                raise self._died()
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _died(self) -> FileProblem:
        _, status = os.waitpid(self._child, 0)
        self._ended = True
        code = os.waitstatus_to_exitcode(status)
        logger.warning("Reading an uploaded file ended with %d.", code)
        if code == TOO_LARGE_FOR_MEMORY or code in (-signal.SIGKILL, -signal.SIGABRT):
            return FileProblem(_too_large(self._name))
        return FileProblem(
            gettext("%(name)s can't be read: whatever tried to came to harm. It is damaged, or made to do that.") % {"name": self._name}
        )


def _too_large(name: str) -> str:
    return gettext("%(name)s can't be read within %(read_memory_mb)s MB of memory. Split it, or save it as plain CSV.") % {
        "name": name,
        "read_memory_mb": f"{settings.READ_MEMORY_MB:,}",
    }


# --- the child ------------------------------------------------------------------------------------------------------------


def _be_the_child(path: Path, options: FileOptions, name: str, asked: int, answer: int) -> None:
    code = 1
    try:
        _bound()
        with os.fdopen(answer, "wb") as out:
            code = _read(path, options, name, asked, out)
    except BrokenPipeError:
        code = 0  # the parent has seen enough
    except MemoryError:
        code = TOO_LARGE_FOR_MEMORY
    except BaseException as error:
        logger.warning("Reading an uploaded file failed: %s", type(error).__name__)
    finally:
        os._exit(code)  # without the parent's exit handlers


def _read(path: Path, options: FileOptions, name: str, asked: int, out: Any) -> int:
    try:
        with open_reader(path, options, name=name) as reader:
            _send(out, _HEADER, json.dumps({"header": reader.header, "row_name": reader.row_name}).encode())
            with os.fdopen(asked, "rb") as requests:
                line = requests.readline()
            if not line:
                return 0
            for chunk in reader.chunks(json.loads(line)):
                _send(out, _CHUNK, _packed(chunk))
            _send(out, _END, b"")
    except FileProblem as problem:
        more = {"likely": problem.likely} if isinstance(problem, WrongEncoding) else {}
        more |= {"names": problem.names} if isinstance(problem, SeveralSheets) else {}
        _send(out, _PROBLEM, json.dumps({"message": str(problem), **more}).encode())
    return 0


def _bound() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    more = settings.READ_MEMORY_MB * 1_000_000
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + more
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    else:
        threading.Thread(target=_watch_peak, args=(_peak() + more,), daemon=True).start()


def _peak() -> int:
    """Bytes; the one system counts kilobytes, the other bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _watch_peak(limit: int) -> None:
    while _peak() <= limit:
        time.sleep(LOOK_EVERY_SECONDS)
    os._exit(TOO_LARGE_FOR_MEMORY)


# --- the pipe -------------------------------------------------------------------------------------------------------------


def _send(out: Any, kind: bytes, body: bytes) -> None:
    out.write(_FRAME.pack(kind, len(body)))
    out.write(body)
    out.flush()


def _packed(chunk: Chunk) -> bytes:
    """A line of JSON, then the columns as an Arrow stream."""
    about = {"share": chunk.share, "names": list(chunk.columns), "problems": [asdict(problem) for problem in chunk.problems]}
    columns = [pa.array(chunk.lines), *chunk.columns.values()]
    batch = pa.record_batch(columns, names=[str(number) for number in range(len(columns))])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return json.dumps(about).encode() + b"\n" + sink.getvalue().to_pybytes()


def _unpacked(body: bytes) -> Chunk:
    head, _, rest = body.partition(b"\n")
    about = json.loads(head)
    with pa.ipc.open_stream(pa.py_buffer(rest)) as stream:
        batch = stream.read_next_batch()
    return Chunk(
        np.asarray(batch.column(0)),
        dict(zip(about["names"], batch.columns[1:], strict=True)),
        about["share"],
        [RowProblem(**problem) for problem in about["problems"]],
    )


def _problem(said: dict[str, Any]) -> FileProblem:
    if "likely" in said:
        return WrongEncoding(said["message"], likely=said["likely"])
    if "names" in said:
        return SeveralSheets(said["message"], names=said["names"])
    return FileProblem(said["message"])
