"""The transform that loads images through the cache, decoded ones included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmcv.transforms.builder import TRANSFORMS

from ...common.waiting.cache import Cache
from . import backend  # noqa: F401  registers the backend that `encoded` reads by
from .keeper import keeper
from .source import Source, as_backend_args, say

__all__ = ['LoadCachedImage', 'decoder_of']


@TRANSFORMS.register_module()
class LoadCachedImage(LoadImageFromFile):
    """Takes the place of LoadImageFromFile: the same output, decoded once a node.

    The array is as it was decoded, before ``to_float32``; it belongs to the caller, who may write
    to it. What the decoder is, is part of what an entry is known by.

    Args:
        *args: Those of LoadImageFromFile.
        level: ``decoded`` keeps raw arrays; ``encoded`` keeps the bytes of the files.
        folder: See `CachedBackend`.
        budget_mb: See `CachedBackend`.
        **kwargs: Those of LoadImageFromFile; its ``backend_args`` say how to read the source.

    Raises:
        ValueError: If ``level`` is none of the two.
    """

    keeps_image_size = True  # `runtime` asks

    def __init__(self, *args: Any, level: str = 'decoded', folder: str | None = None,
                 budget_mb: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if level not in ('encoded', 'decoded'):
            raise ValueError(f"level must be 'encoded' or 'decoded', got {level!r}")
        old: dict[str, Any] | None = vars(self)['file_client_args']
        own: dict[str, Any] | None = vars(self)['backend_args'] if old is None \
            else as_backend_args(old)
        self.file_client_args = None
        if own is not None and own.get('backend') == 'cached':
            folder, budget_mb = own.get('folder'), own.get('budget_mb')
            own = own.get('inner')
        self.level = level
        self.backend_args = own
        self._source = self._read_from = Source(own)
        self._keeper = keeper(folder, budget_mb, say)
        if level == 'encoded':
            self.backend_args = {'backend': 'cached', 'inner': own, 'folder': folder,
                                 'budget_mb': budget_mb}

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Adds ``img``, ``img_shape`` and ``ori_shape``; see LoadImageFromFile."""
        if self.level == 'encoded':
            return super().transform(results)
        path = results['img_path']
        try:
            image = self._keeper.fetch(*self._known_by(path), lambda: self._decode(path))
        except Exception:
            if self.ignore_empty:
                return None
            raise
        if image is None:
            raise AssertionError(f'failed to load image: {path}')
        if self.to_float32:
            image = image.astype(np.float32)
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def name_of(self, path: str) -> str:
        """What the cache calls an image, at the level ``decoded``."""
        return self._known_by(path)[0]

    def load(self, path: str) -> None:
        """Loads an image, so that it is kept."""
        self.transform({'img_path': path})

    def cache_now(self) -> Cache:
        """The cache as this run has it."""
        return self._keeper.now(self.level)

    def read_through(self, change: Callable[[dict[str, Any] | None], dict[str, Any]]) -> None:
        """Has other ``backend_args`` read the source; what the cache calls its files stays.

        Args:
            change: Gives those in place of the present ones, such as a backend that times another.
        """
        if self.level == 'encoded':
            self.backend_args = change(self.backend_args)
        else:
            self._read_from = Source(change(self._source.inner))

    def _known_by(self, path: str) -> tuple[str, Any]:
        return self._source.known_by('decoded', path, self.color_type,
                                     *decoder_of(self.imdecode_backend))

    def _decode(self, path: str) -> Any:
        data = self._read_from.backend(path).get(path)
        return mmcv.imfrombytes(data, flag=self.color_type, backend=self.imdecode_backend)

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, level={self.level!r}, folder={self._keeper.folder!r})'


def decoder_of(name: str | None) -> tuple[str, str]:
    """A decoder's name and version: another version may give other pixels."""
    name = name or mmcv.image.io.imread_backend
    module = {'cv2': 'cv2', 'pillow': 'PIL', 'tifffile': 'tifffile',
              'turbojpeg': 'turbojpeg'}.get(name, '')
    try:
        return name, str(getattr(__import__(module), '__version__', ''))
    except (ImportError, ValueError):
        return name, ''
