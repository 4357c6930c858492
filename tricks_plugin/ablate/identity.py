"""What identifies a run: its settings, the code and the seed, and no path of the machine."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

__all__ = ['code_digest', 'digest', 'files_in', 'folder_digest', 'machine', 'portable', 'versions']

_LEFT_OUT = ('work_dir', 'resume', 'data_root', 'launcher', 'tricks_applied', 'log_level',
             'visualizer', 'vis_backends')
_DATA = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.ppm', '.pgm', '.tif', '.tiff', '.webp',
         '.xml', '.txt')
# What only reads results or speaks to people does not decide them.
_NO_RESULT = ('cli', 'ablate')
_RUNS = ('ablate/mm_run.py', 'ablate/mm_record.py', 'ablate/timm_run.py',
         'ablate/timm_settings.py', 'ablate/record.py', 'ablate/process.py')


def digest(value: Any) -> str:
    """A short digest of a plain value."""
    text = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def portable(node: Any, root: str = '') -> Any:
    """Settings with files as digests of their content, and without folders.

    Folders of images count by the names and sizes of their files.

    Args:
        node: A plain config, or a part of one.
        root: The folder that relative files may lie in, from ``data_root``.
    """
    if isinstance(node, dict):
        own = node.get('data_root')
        root = own if isinstance(own, str) else root
        found = {str(key): portable(value, root) for key, value in node.items()
                 if key not in _LEFT_OUT}
        images = _images(node, root)
        return {**found, 'images': images} if images else found
    if isinstance(node, (list, tuple)):
        return [portable(one, root) for one in node]
    if isinstance(node, str) and 0 < len(node) < 1000 and '\n' not in node:
        return _path(node, root)
    return node


def _images(node: dict[str, Any], root: str) -> dict[str, str]:
    """Digests of the folders that a data set reads, by the key of its prefix."""
    if 'data_prefix' not in node and not ('type' in node and 'data_root' in node):
        return {}
    prefix = node.get('data_prefix') or ''
    found = {str(key): folder_digest(os.path.join(root, text)) for key, text in (
        prefix if isinstance(prefix, dict) else {'': prefix}).items() if isinstance(text, str)}
    return {key: value for key, value in found.items() if value}


@functools.cache
def folder_digest(folder: str) -> str:
    """A digest of the names and sizes of a folder's images and their labels; '' without a folder.

    A process looks once.
    """
    found = [(name, size) for name, size in files_in(folder)
             if os.path.splitext(name)[1].lower() in _DATA] if folder else []
    return digest(found) if found else ''


def files_in(folder: str) -> list[tuple[str, int]]:
    """The files at and below a folder by their sorted paths in it, with their sizes in bytes."""
    return sorted((os.path.relpath(os.path.join(place, name), folder), _size(place, name))
                  for place, _, names in os.walk(folder, followlinks=True) for name in names)


def _size(folder: str, name: str) -> int:
    """The size of a file; -1 of one that is not there, such as behind a link that is broken."""
    try:
        return os.path.getsize(os.path.join(folder, name))
    except OSError:
        return -1


def _path(text: str, root: str) -> str:
    for path in ([Path(root, text)] if root else []) + [Path(text)]:
        if ('/' in text or path.suffix) and path.is_file():
            stat = path.stat()
            return f'file {_file(str(path.resolve()), stat.st_size, stat.st_mtime_ns)}'
    if os.path.isabs(text):
        return 'folder' if Path(text).is_dir() else f'path {Path(text).name}'
    return 'folder' if '/' in text and Path(text).is_dir() else text


@functools.cache
def _file(path: str, size: int, changed: int) -> str:
    total = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()[:16]


@functools.lru_cache(maxsize=1)
def code_digest() -> str:
    """A digest of the package's code that decides results."""
    package = Path(__file__).resolve().parents[1]
    total = hashlib.sha256()
    for path in sorted(package.rglob('*.py')):
        name = path.relative_to(package).as_posix()
        if name.split('/')[0] in ('.mim', *_NO_RESULT) and name not in _RUNS:
            continue
        total.update(f'{name}\0'.encode() + path.read_bytes() + b'\0')
    return total.hexdigest()[:16]


def versions(*modules: str) -> dict[str, str]:
    """Versions of libraries: of those that can be imported here.

    Args:
        modules: Names to import.
    """
    found = {}
    for name in modules:
        try:
            found[name] = str(importlib.import_module(name).__version__)
        except ImportError:
            continue
    return found


def machine() -> str:
    """The hardware that trains, in words: the GPU where there is one, else the processor."""
    import torch
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines() \
        if Path('/proc/cpuinfo').is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    import platform
    threads = torch.get_num_threads()
    return (f'{names[0] if names else platform.machine()}, '
            f'{threads} thread{"s" if threads > 1 else ""}')
