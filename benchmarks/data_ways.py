"""The ways to load an image that `benchmarks/data.py` compares, each with a memory of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.fileio import LocalBackend, get_file_backend, register_backend

import tricks_plugin.registry  # noqa: F401
from tricks_plugin.tricks.data_cache.loader import LoadCachedImage

__all__ = ['Load', 'RIVAL', 'SOURCES', 'WORDS', 'SlowBackend', 'pipeline', 'slept', 'ways',
           'write_images']

Load = Callable[[str], Any]
SOURCES = {'disk': (0.008, 150e6), 'store': (0.025, 50e6)}
WORDS = {'plain': 'plain', 'dict_bytes': 'bytes in a dictionary',
         'dict_arrays': 'arrays in a dictionary', 'ram': "Ultralytics' cache=ram",
         'npy': "npy files, Ultralytics' cache=disk", 'litdata': "LitData's chunks",
         'encoded': 'encoded', 'decoded': 'decoded'}
RIVAL = {'decoded': 'dict_arrays', 'npy': 'dict_arrays', 'ram': 'dict_arrays',
         'dict_arrays': 'dict_arrays'}
"""The dictionary to which a way is compared, where it is not that of bytes."""
_slept = [0.0]


def slept() -> float:
    """Seconds that this process has slept for slow sources."""
    return _slept[0]


@register_backend('slow')
class SlowBackend(LocalBackend):
    """The local file system, behind a wait.

    Args:
        latency: Seconds for each file.
        rate: Bytes in a second.
    """

    def __init__(self, latency: float, rate: float) -> None:
        self.latency, self.rate = latency, rate

    def get(self, filepath: str | Path) -> bytes:
        data = super().get(filepath)
        wait = self.latency + len(data) / self.rate
        time.sleep(wait)
        _slept[0] += wait
        return data


@register_backend('held')
class HeldBackend(LocalBackend):
    """A backend that keeps what it has read in a dictionary of the process.

    Args:
        inner: ``backend_args`` of the source.
    """

    def __init__(self, inner: dict[str, Any]) -> None:
        self.inner = get_file_backend(backend_args=inner, enable_singleton=True)
        self.held: dict[str | Path, bytes] = {}

    def get(self, filepath: str | Path) -> bytes:
        if filepath not in self.held:
            self.held[filepath] = self.inner.get(filepath)
        return self.held[filepath]


class LoadHeld(LoadImageFromFile):
    """mmcv's loader with a dictionary of arrays before it; each reader gets a copy."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.held: dict[str, np.ndarray] = {}

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        path = results['img_path']
        if path not in self.held:
            found = super().transform(dict(results))
            assert found is not None
            self.held[path] = found['img']
        results['img'] = image = self.held[path].copy()
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


def write_images(folder: Path, count: int, side: int) -> list[str]:
    """JPEGs of about 100 kB at 640 px, like photographs smooth with some noise."""
    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        coarse = rng.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        image += rng.integers(-12, 13, image.shape, dtype=np.int16)
        path = str(folder / f'{number:05d}.jpg')
        cv2.imwrite(path, np.clip(image, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
        paths.append(path)
    return paths


def of(transform: Any) -> Load:
    """A transform as a function of a path."""
    return lambda path: transform({'img_path': path})['img']


def pipeline(load: Load) -> Load:
    """What the least of pipelines does after loading: resize, flip, lay out channel by channel."""
    def run(path: str) -> np.ndarray:
        image = load(path)
        h, w = image.shape[:2]
        image = cv2.flip(cv2.resize(image, (w * 19 // 20, h * 19 // 20)), 1)
        planes = np.empty((3, *image.shape[:2]), np.uint8)
        cv2.split(image, list(planes))
        return planes
    return run


def ways(folder: str, backend: dict[str, Any], paths: list[str],
         litdata: str | None = None) -> dict[str, Load]:
    """Every way to load an image from a source.

    Args:
        folder: Where caches and files go.
        backend: ``backend_args`` of the source.
        paths: The images.
        litdata: A folder with LitData to import; None leaves its way out.
    """
    plain = of(LoadImageFromFile(backend_args=backend))

    def npy(path: str) -> np.ndarray:
        beside = Path(folder) / f'{Path(path).stem}.npy'
        if not beside.exists():
            draft = beside.with_suffix(f'.{os.getpid()}.npy')
            np.save(draft, plain(path))
            draft.replace(beside)
        return np.load(beside)

    cached = dict(inner=backend, budget_mb=4000)
    found = {
        'plain': plain,
        'dict_bytes': of(LoadImageFromFile(backend_args=dict(backend='held', inner=backend))),
        'dict_arrays': of(LoadHeld(backend_args=backend)),
        'ram': _ram(plain, len(paths)), 'npy': npy,
        'encoded': of(LoadImageFromFile(backend_args=dict(
            backend='cached', folder=f'{folder}/encoded', **cached))),
        'decoded': of(LoadCachedImage(backend_args=backend, folder=f'{folder}/decoded',
                                      budget_mb=4000)),
    }
    if litdata is not None and backend['backend'] == 'local':
        found['litdata'] = _litdata(litdata, folder, paths)
    return found


def _ram(plain: Load, count: int) -> Load:
    """Ultralytics' ``cache='ram'``: a list of arrays, which its readers share without a copy.

    Its resizing to the size of training is left out, as the images have that size. Source:
    ultralytics 8.3, ``BaseDataset.load_image`` and ``cache_images``.
    """
    images: list[Any] = [None] * count

    def load(path: str) -> np.ndarray:
        number = int(Path(path).stem)
        if images[number] is None:
            images[number] = plain(path)
        return images[number]
    return load


def _as_bytes(path: str) -> dict[str, Any]:
    # By the last part: LitData may hand over a copy of the file that it made elsewhere.
    return {'name': Path(path).name, 'data': Path(path).read_bytes()}


def _litdata(library: str, folder: str, paths: list[str]) -> Load:
    """LitData's way: the files are copied into chunks first, and read by number."""
    if library not in sys.path:
        sys.path.append(library)
    os.environ.setdefault('DATA_OPTIMIZER_CACHE_FOLDER', f'{folder}/litdata_cache')
    import litdata
    chunks = Path(folder) / 'litdata'
    if not chunks.exists():
        litdata.optimize(_as_bytes, paths, str(chunks), chunk_bytes='32MB', num_workers=1)
    data = litdata.StreamingDataset(str(chunks), shuffle=False)
    order = {data[number]['name']: number for number in range(len(data))}

    def load(path: str) -> Any:
        content = data[order[Path(path).name]]['data']
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return load
