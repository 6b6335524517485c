"""Records as JSON files that any program reads: no NaN, no types of ours."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

from anatomark.io.files import write_text


def plain(value: Any) -> Any:
    """Mappings, sequences, arrays and numbers as JSON has them; what is not finite is ``None``."""
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # an array, or one of its numbers
        return plain(value.tolist())
    if isinstance(value, Iterable):
        return [plain(one) for one in value]
    return value if isinstance(value, int) else str(value)


def json_text(record: Any, *, indent: int | None = 1) -> str:
    """A record as JSON, letters of all languages as they are."""
    return json.dumps(plain(record), indent=indent, ensure_ascii=False, allow_nan=False)


def write_json(path: str | os.PathLike[str], record: Any) -> None:
    """Write a record, whole or not at all."""
    write_text(path, json_text(record) + "\n")
