"""A stored model is data, not code: one file that is signed, checked before it is read, and never half-written.

Layout of the file, so that `head -2` shows what it is:

    LOANDESK-MODEL 1 <key id> <HMAC-SHA256, hex> <bytes of the manifest>\\n
    <manifest, one line of JSON>\\n
    <the parts, one after another>

The HMAC covers the format number, the key id and the manifest, and is verified before the manifest is parsed. The manifest holds length and
sha256 of every part; each is verified before that part is parsed. Parts are `state.json` (the nesting and the scalars), `arrays.npz` (numpy
arrays, read with `allow_pickle=False`) and `bytes/N` (opaque bytes of a rung, e.g. a skops dump, whose allow-list is the rung's affair).
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import importlib.metadata
import io
import json
import math
import os
import platform
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
SUFFIX = ".model"
MAGIC = b"LOANDESK-MODEL "
LIBRARIES = ("numpy", "pandas", "scikit-learn", "skops", "xgboost-cpu")
MANIFEST_LIMIT = 64 * 1024 * 1024  # far above any real one; stops a damaged length from asking for the machine's memory
_HEADER = re.compile(rb"LOANDESK-MODEL (\d{1,9}) ([0-9a-f]{16}) ([0-9a-f]{64}) (\d{1,9})\n")


class ArtifactError(Exception):
    """A model could not be stored or loaded."""


class ArtifactNotWritten(ArtifactError):
    """The disk is full, the folder is read-only, or the name is taken. Nothing was left behind."""


class ArtifactUnstorable(ArtifactError):
    """The state holds something that is not plain data."""


class ArtifactMissing(ArtifactError):
    """There is no such file, or it can't be read."""


class ArtifactUnknownFormat(ArtifactError):
    """Not a stored model, or one of a format that this version does not know."""


class ArtifactTruncated(ArtifactError):
    """The file ends too early or too late."""


class ArtifactWrongKey(ArtifactError):
    """Signed with another key."""


class ArtifactTampered(ArtifactError):
    """A byte of the header, the manifest or a part is not what was signed."""


@dataclass(frozen=True)
class Manifest:
    """What a stored model says about itself. `digest` is the same for the same content, whenever and wherever it was stored.

    code: digest of the source that made it. libraries: versions of Python and of what computes a score.
    """

    kind: str
    name: str
    path: Path
    created_at: str
    digest: str
    libraries: dict[str, str]
    parts: list[dict[str, Any]]
    code_commit: str | None = None
    code: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def save(
    state: Mapping[str, Any],
    directory: Path,
    *,
    kind: str,
    name: str,
    key: bytes,
    meta: Mapping[str, Any] | None = None,
    code_commit: str | None = None,
) -> Manifest:
    """Store `state` as `directory/name.model` and return its manifest.

    state: nested dicts (string keys), lists, tuples, str, int, float, bool, None, bytes and numpy arrays; nothing else. meta: JSON that
    should be readable without loading the state (schema, report summary). code_commit defaults to the environment's GIT_COMMIT, where a
    build sets it. Raises ArtifactUnstorable for a state that is not plain data, ArtifactNotWritten where the disk refuses.
    """
    _check_key(key)
    directory = Path(directory)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name):
        raise ArtifactUnstorable(f"A model's name may hold letters, digits, dot, dash and underscore; {name!r} does not fit.")
    parts = _to_parts(state)
    try:
        meta_json = json.loads(json.dumps(dict(meta or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArtifactUnstorable(f"The meta data of {name} are not plain JSON: {error}") from error
    described = [{"name": part, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for part, content in parts]
    path = directory / f"{name}{SUFFIX}"
    manifest = Manifest(
        kind=kind,
        name=name,
        path=path,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        digest=hashlib.sha256("".join(part["name"] + part["sha256"] for part in described).encode()).hexdigest(),
        libraries=library_versions(),
        parts=described,
        code_commit=code_commit or os.environ.get("GIT_COMMIT") or None,
        code=code_digest(),
        meta=meta_json,
    )
    text = json.dumps(
        {name_: value for name_, value in vars(manifest).items() if name_ != "path"}, sort_keys=True, separators=(",", ":")
    ).encode()
    if len(text) > MANIFEST_LIMIT:
        raise ArtifactUnstorable(f"The manifest of {name} would be {len(text):,} bytes; keep large things in the state.")
    head = b"%s%d %s %s %d\n" % (MAGIC, FORMAT, key_id(key).encode(), _sign(key, FORMAT, text).encode(), len(text))
    _write_once(path, [head, text, b"\n", *(content for _, content in parts)])
    return manifest


def load(path: Path, *, key: bytes, old_keys: Sequence[bytes] = ()) -> tuple[dict[str, Any], Manifest]:
    """The state and the manifest of a stored model; nothing is parsed before its signature or checksum is verified.

    old_keys: earlier keys that are still accepted, so that a key can be replaced without storing every model anew.
    """
    path = Path(path)
    raw, manifest, offset = _open(path, key, old_keys)
    contents: dict[str, bytes] = {}
    for part in manifest.parts:
        content = raw[offset : offset + part["bytes"]]
        offset += part["bytes"]
        if not hmac.compare_digest(hashlib.sha256(content).hexdigest(), part["sha256"]):
            raise ArtifactTampered(
                f"{path.name}: the part {part['name']} is damaged or was changed (its sha256 differs from the signed one)."
            )
        contents[part["name"]] = content
    return _from_parts(contents), manifest


def read_manifest(path: Path, *, key: bytes, old_keys: Sequence[bytes] = ()) -> Manifest:
    """Only the verified manifest; the parts are not checked."""
    return _open(Path(path), key, old_keys)[1]


def sign_anew(path: Path, *, key: bytes, old_keys: Sequence[bytes]) -> bool:
    """Sign with `key` what is signed with one of `old_keys`; False where it is signed so already. The content stays, to the last byte.

    Raises as `load` does, and ArtifactNotWritten; then the file is as it was.
    """
    path = Path(path)
    raw, _, _ = _open(path, key, old_keys)
    header = _HEADER.match(raw)
    if header[2] == key_id(key).encode():
        return False
    text = raw[header.end() : header.end() + int(header[4])]
    head = b"%s%d %s %s %d\n" % (MAGIC, FORMAT, key_id(key).encode(), _sign(key, FORMAT, text).encode(), len(text))
    _write(path, [head, raw[header.end() :]])
    return True


def key_id(key: bytes) -> str:
    """Sixteen hex digits that tell two keys apart without revealing either."""
    return hmac.new(key, b"loandesk model key id", hashlib.sha256).hexdigest()[:16]


@functools.cache
def code_digest() -> str:
    """Sixteen hex digits over mlcore's own source: the same for the same code, whether or not it came by git."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _check_key(key: bytes) -> None:
    if not isinstance(key, bytes) or len(key) < 16:
        raise ArtifactError("The key that signs models must be at least 16 bytes.")


def _sign(key: bytes, format_number: int, text: bytes) -> str:
    return hmac.new(key, b"%d %s\n" % (format_number, key_id(key).encode()) + text, hashlib.sha256).hexdigest()


def _open(path: Path, key: bytes, old_keys: Sequence[bytes]) -> tuple[bytes, Manifest, int]:
    for each in (key, *old_keys):
        _check_key(each)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ArtifactMissing(f"{path}: {error.strerror or error}") from error
    header = _HEADER.match(raw)
    if header is None:
        if len(raw) < 100 and MAGIC.startswith(raw[: len(MAGIC)]):
            raise ArtifactTruncated(f"{path.name} ends after {len(raw)} bytes, inside its first line.")
        raise ArtifactUnknownFormat(f"{path.name} is not a stored model (its first line is unknown).")
    if int(header[1]) != FORMAT:
        raise ArtifactUnknownFormat(f"{path.name} has the format {int(header[1])}; this version reads format {FORMAT}.")
    signer = next((each for each in (key, *old_keys) if key_id(each).encode() == header[2]), None)
    if signer is None:
        raise ArtifactWrongKey(f"{path.name} was signed with the key {header[2].decode()}, which is not among the keys given.")
    length = int(header[4])
    text = raw[header.end() : header.end() + length]
    if length > MANIFEST_LIMIT or len(text) < length:
        raise ArtifactTruncated(f"{path.name} ends inside its manifest.")
    if not hmac.compare_digest(_sign(signer, FORMAT, text).encode(), header[3]):
        raise ArtifactTampered(f"{path.name}: the manifest is damaged or was changed (its signature does not match).")
    offset = header.end() + length + 1
    if raw[offset - 1 : offset] not in (b"\n", b""):
        raise ArtifactTampered(f"{path.name}: a byte after the manifest was changed.")
    manifest = Manifest(path=path, **json.loads(text))
    wanted = offset + sum(part["bytes"] for part in manifest.parts)
    if len(raw) != wanted:
        raise ArtifactTruncated(f"{path.name} has {len(raw):,} bytes where its manifest says {wanted:,}.")
    return raw, manifest, offset


def _write_once(path: Path, chunks: list[bytes]) -> None:
    """`_write` of what is not there yet."""
    if path.exists():
        raise ArtifactNotWritten(f"{path} exists already; a stored version is never overwritten.")
    _write(path, chunks)


def _write(path: Path, chunks: list[bytes]) -> None:
    """Write to a temporary name beside `path`, fsync, rename, fsync the folder. After a crash there is the whole file or the one before."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ArtifactNotWritten(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        try:
            temporary.unlink(missing_ok=True)
        except OSError:  # the folder is gone or read-only: then the temporary file never came into being
            pass


def library_versions() -> dict[str, str]:
    """Of Python and what computes a score here and now."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _to_parts(state: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    arrays: dict[str, np.ndarray] = {}
    blobs: list[bytes] = []

    def array(value: np.ndarray) -> str:
        arrays[f"a{len(arrays)}"] = np.ascontiguousarray(value) if value.ndim else value
        return f"a{len(arrays) - 1}"

    def blob(value: bytes) -> str:
        blobs.append(value)
        return f"bytes/{len(blobs) - 1}"

    if not isinstance(state, Mapping):
        raise ArtifactUnstorable("A state is a dict.")
    tree = _pack(state, "state", array, blob)
    parts = [("state.json", json.dumps(tree, separators=(",", ":"), allow_nan=False).encode())]
    if arrays:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        parts.append(("arrays.npz", buffer.getvalue()))
    return parts + [(f"bytes/{number}", content) for number, content in enumerate(blobs)]


def _pack(value: Any, where: str, array: Callable[[np.ndarray], str], blob: Callable[[bytes], str]) -> Any:
    """`value` as JSON, arrays and bytes replaced by {"$…": …}; `where` names the place in an error."""
    if isinstance(value, np.generic) and not isinstance(value, (np.datetime64, np.timedelta64)):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            if not all(item is None or isinstance(item, (str, bool, int)) for item in value.flat):
                raise ArtifactUnstorable(f"{where} is an array of objects that are not all text, whole numbers or None.")
            return {"$objects": value.ravel().tolist(), "shape": list(value.shape)}
        if value.dtype.hasobject or value.dtype.kind == "V":
            raise ArtifactUnstorable(f"{where} is an array of {value.dtype}, which is not plain data.")
        return {"$array": array(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": blob(bytes(value))}
    if isinstance(value, (list, tuple)):
        items = [_pack(item, f"{where}[{number}]", array, blob) for number, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str) or name.startswith("$"):
                raise ArtifactUnstorable(f"{where} has the key {name!r}; keys are text that does not begin with $.")
        return {name: _pack(item, f"{where}.{name}", array, blob) for name, item in value.items()}
    raise ArtifactUnstorable(f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which is not plain data.")


def _from_parts(contents: dict[str, bytes]) -> dict[str, Any]:
    arrays: dict[str, np.ndarray] = {}
    if "arrays.npz" in contents:
        with np.load(io.BytesIO(contents["arrays.npz"]), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}

    def unpack(value: Any) -> Any:
        if isinstance(value, list):
            return [unpack(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$array" in value:
            return arrays[value["$array"]]
        if "$objects" in value:
            made = np.empty(len(value["$objects"]), dtype=object)
            made[:] = value["$objects"]
            return made.reshape(value["shape"])
        if "$bytes" in value:
            return contents[value["$bytes"]]
        if "$tuple" in value:
            return tuple(unpack(item) for item in value["$tuple"])
        if "$float" in value:
            return float(value["$float"])
        return {name: unpack(item) for name, item in value.items()}

    return unpack(json.loads(contents["state.json"]))
