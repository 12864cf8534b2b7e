"""JSON bodies, read strictly: what two parsers could read differently is refused, with the path of the field."""

from __future__ import annotations

import json
import math
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser

from loans.api.problems import Malformed, TooLarge

MAX_DEPTH = 10
MAX_DIGITS = 40
_PLAIN = frozenset((str, int, float, bool, type(None), dict, list))
_NESTING = frozenset((dict, list))


class _Repeated(dict):
    """An object that names a key twice: which of the two counts differs between parsers."""

    key = ""


class _Unusable:
    """Stands where a number was that can't be used, until the walk has found its path."""

    def __init__(self, message: str) -> None:
        self.message = message


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    repeated = _Repeated(found)
    repeated.key = next(key for key, _ in pairs if key in seen or seen.add(key))
    return repeated


def _constant(text: str) -> _Unusable:
    return _Unusable(f"{text} is not a number in JSON; leave the field out where a value is missing")


def _integer(text: str) -> int | _Unusable:
    return int(text) if len(text) <= MAX_DIGITS else _Unusable(f"has {len(text)} digits; at most {MAX_DIGITS} are read")


def _decimal(text: str) -> float | _Unusable:
    number = float(text)
    return number if math.isfinite(number) else _Unusable(f"{text[:40]} is too large a number")


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: dict | None = None) -> Any:
        request = (parser_context or {}).get("request")
        limit = getattr((parser_context or {}).get("view"), "max_bytes", None) or settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        too_large = TooLarge(f"The body has more than {limit:,} bytes, which is the limit.")
        if request is not None:
            charset = request.content_params.get("charset", "utf-8") if hasattr(request, "content_params") else "utf-8"
            if charset.lower().replace("-", "") not in ("utf8", "usascii"):
                raise UnsupportedMediaType(f"{media_type}; JSON is UTF-8, not {charset[:40]}")
            if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
                raise too_large
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise too_large
        return loads(body)


def loads(body: bytes) -> Any:
    """The JSON value of these bytes. Raises Malformed with what is wrong and, where it can be told, at which field."""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_decimal)
    except UnicodeDecodeError as error:
        raise Malformed(f"Byte {error.start + 1} is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"Not JSON at line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except RecursionError:
        raise Malformed(f"The body nests too deeply; at most {MAX_DEPTH} levels are read.") from None
    errors: dict[str, str] = {}
    # Nearly every body is in order, which is seen sooner than each value's path is written down.
    if b"\\u" in body or not _in_order(value):
        _walk(value, "", 1, errors)
    if errors:
        raise Malformed("; ".join(f"{field or 'the body'}: {message}" for field, message in list(errors.items())[:3]), errors)
    return value


def _in_order(value: Any) -> bool:
    """Whether there is nothing to say of it for certain, escaped characters aside."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        kinds = set(map(type, level))
        if not kinds <= _PLAIN:
            return False
        if not kinds & _NESTING:
            return True
        level = [inner for each in level if each.__class__ in _NESTING for inner in (each.values() if each.__class__ is dict else each)]
    return False


def _walk(value: Any, path: str, depth: int, errors: dict[str, str]) -> None:
    """Collect what is wrong with the value and everything in it, by path."""
    if isinstance(value, str):
        if not value.isascii() and not _encodable(value):
            errors[path] = "contains half of a surrogate pair, which is not a character"
    elif isinstance(value, _Unusable):
        errors[path] = value.message
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            errors[path] = f"nests too deeply; at most {MAX_DEPTH} levels are read"
            return
        if isinstance(value, _Repeated):
            errors[f"{path}.{value.key}" if path else value.key] = "is given twice"
        if isinstance(value, list):
            for position, inner in enumerate(value):
                _walk(inner, f"{path}[{position}]", depth + 1, errors)
            return
        for key, inner in value.items():
            inner_path = f"{path}.{key}" if path else key
            _walk(key, inner_path, depth, errors)
            _walk(inner, inner_path, depth + 1, errors)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
