"""A stored model comes back exactly, or not at all."""

import errno
import json
import math
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcore import artifacts

KEY = b"k" * 32
STATE = {
    "name": "tables",
    "bounds": [0.1, float("inf"), float("nan"), -float("inf")],
    "pair": ("a", 1, None, True),
    "nested": {"deep": [{"values": np.arange(6.0).reshape(2, 3)}, {"levels": np.array(["x", None, "ü"], dtype=object)}]},
    "when": np.array(["2010-01-01", "NaT"], dtype="datetime64[ns]"),
    "number": np.float64(0.25),
    "blob": b"\x00skops",
    "empty": np.empty((0, 3)),
    "scalar": np.array(3.5),
}


def same(left, right):
    if isinstance(left, np.ndarray):
        assert left.shape == right.shape and left.dtype == right.dtype
        return left.tolist() == right.tolist() or np.array_equal(left, right, equal_nan=True)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, (list, tuple)):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return left == right or (isinstance(left, float) and math.isnan(left) and math.isnan(right))


@pytest.fixture
def stored(tmp_path):
    return artifacts.save(STATE, tmp_path, kind="default_risk", name="v1", key=KEY, meta={"schema": [{"name": "amount"}]})


def test_round_trip(stored):
    state, manifest = artifacts.load(stored.path, key=KEY)
    assert same(state, STATE)
    assert manifest == stored
    assert manifest.kind == "default_risk" and manifest.meta == {"schema": [{"name": "amount"}]}
    assert manifest.libraries["numpy"] == np.__version__
    assert artifacts.read_manifest(stored.path, key=KEY) == stored


def test_same_content_has_the_same_digest(stored, tmp_path):
    again = artifacts.save(STATE, tmp_path, kind="default_risk", name="v2", key=KEY)
    other = artifacts.save(STATE | {"number": 0.5}, tmp_path, kind="default_risk", name="v3", key=KEY)
    assert again.digest == stored.digest != other.digest


def test_any_flipped_byte_is_refused(stored):
    raw = stored.path.read_bytes()
    rng = np.random.default_rng(0)
    header = raw.index(b"\n")
    for position in [*range(header + 1), *rng.integers(0, len(raw), 400)]:
        damaged = bytearray(raw)
        damaged[position] ^= 1 << int(rng.integers(8))
        stored.path.write_bytes(damaged)
        with pytest.raises(artifacts.ArtifactError):
            artifacts.load(stored.path, key=KEY)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(stored, share):
    raw = stored.path.read_bytes()
    short = stored.path.with_name("short.model")
    short.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises((artifacts.ArtifactTruncated, artifacts.ArtifactUnknownFormat)):
        artifacts.load(short, key=KEY)


def test_appended_bytes_are_refused(stored):
    stored.path.write_bytes(stored.path.read_bytes() + b"x")
    with pytest.raises(artifacts.ArtifactTruncated, match="manifest says"):
        artifacts.load(stored.path, key=KEY)


def test_wrong_key_and_rotated_key(stored):
    with pytest.raises(artifacts.ArtifactWrongKey, match="signed with the key"):
        artifacts.load(stored.path, key=b"n" * 32)
    assert artifacts.load(stored.path, key=b"n" * 32, old_keys=[KEY])[1] == stored


def test_forged_manifest_is_refused_before_it_is_parsed(stored, monkeypatch):
    raw = stored.path.read_bytes()
    stored.path.write_bytes(raw.replace(b'"kind":"default_risk"', b'"kind":"default_rusk"'))
    monkeypatch.setattr(json, "loads", lambda *_: pytest.fail("parsed before it was verified"))
    with pytest.raises(artifacts.ArtifactTampered, match="signature"):
        artifacts.load(stored.path, key=KEY)


def test_changed_part_is_refused_before_it_is_parsed(stored, monkeypatch):
    raw = stored.path.read_bytes()
    stored.path.write_bytes(raw.replace(b"\x00skops", b"\x01skops"))
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("parsed before it was verified"))
    with pytest.raises(artifacts.ArtifactTampered, match="bytes/0"):
        artifacts.load(stored.path, key=KEY)


def test_other_files_and_formats(tmp_path, stored):
    (tmp_path / "notes.txt").write_text("x" * 500)
    with pytest.raises(artifacts.ArtifactUnknownFormat, match="not a stored model"):
        artifacts.load(tmp_path / "notes.txt", key=KEY)
    stored.path.write_bytes(stored.path.read_bytes().replace(b"LOANDESK-MODEL 1 ", b"LOANDESK-MODEL 7 ", 1))
    with pytest.raises(artifacts.ArtifactUnknownFormat, match="format 7"):
        artifacts.load(stored.path, key=KEY)
    with pytest.raises(artifacts.ArtifactMissing):
        artifacts.load(tmp_path / "absent.model", key=KEY)


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "write":
        opened = os.fdopen

        def fdopen(*arguments):
            file = opened(*arguments)

            class Full:
                def __enter__(self):
                    return self

                def __exit__(self, *_):
                    file.close()

                write = full

            return Full()

        monkeypatch.setattr(os, "fdopen", fdopen)
    else:
        monkeypatch.setattr(os, step, full)
    with pytest.raises(artifacts.ArtifactNotWritten, match="No space left"):
        artifacts.save(STATE, tmp_path, kind="default_risk", name="v1", key=KEY)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_stored_version_is_never_overwritten(stored, tmp_path):
    with pytest.raises(artifacts.ArtifactNotWritten, match="never overwritten"):
        artifacts.save(STATE, tmp_path, kind="default_risk", name="v1", key=KEY)
    assert [path.name for path in tmp_path.iterdir()] == ["v1.model"]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "state.x"),
        ([1, {2: 3}], r"state.x\[1\]"),
        (np.array([object()], dtype=object), "state.x"),
        ({"$array": "a0"}, r"\$array"),
        (np.zeros(2, dtype=[("a", "O")]), "state.x"),
    ],
)
def test_only_plain_data_is_stored(tmp_path, value, named):
    with pytest.raises(artifacts.ArtifactUnstorable, match=named):
        artifacts.save({"x": value}, tmp_path, kind="default_risk", name="v1", key=KEY)
    assert list(tmp_path.iterdir()) == []


def test_short_keys_and_odd_names_are_refused(tmp_path):
    with pytest.raises(artifacts.ArtifactError, match="16 bytes"):
        artifacts.save(STATE, tmp_path, kind="default_risk", name="v1", key=b"")
    with pytest.raises(artifacts.ArtifactUnstorable):
        artifacts.save(STATE, tmp_path, kind="default_risk", name="../v1", key=KEY)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    state=st.dictionaries(
        st.text(max_size=8).filter(lambda name: not name.startswith("$")),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**60), 2**60)
            | st.floats()
            | st.text(max_size=10).filter(lambda t: t.isprintable())
            | st.binary(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
            max_leaves=8,
        ),
        max_size=4,
    )
)
def test_any_plain_state_comes_back(tmp_path, state):
    path = tmp_path / "p.model"
    path.unlink(missing_ok=True)
    artifacts.save(state, tmp_path, kind="test", name="p", key=KEY)
    assert same(artifacts.load(path, key=KEY)[0], state)
