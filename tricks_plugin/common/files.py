"""Writing files whole or not at all."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

__all__ = ['json_safe', 'write_bytes', 'write_json', 'write_text']


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file by way of a draft beside it: a killed process leaves the old one.

    Args:
        path: The file; an existing one is replaced, a missing folder is made.
        data: What it will hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all, as UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode('utf-8'))


def write_json(path: Path, value: Any) -> None:
    """Writes a value as indented JSON, whole or not at all; unknown objects as their text."""
    write_text(path, json.dumps(value, indent=2, default=str) + '\n')


def json_safe(value: Any) -> Any:
    """A value as JSON can hold it: numbers that are not finite become None.

    Args:
        value: Dicts, lists and tuples of plain values; not changed.

    Example:
        >>> json_safe({'loss': float('nan'), 'top1': [50.0, float('inf')]})
        {'loss': None, 'top1': [50.0, None]}
    """
    if isinstance(value, dict):
        return {key: json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
