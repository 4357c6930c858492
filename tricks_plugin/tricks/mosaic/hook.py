"""The hook that ends the mosaics for the end of the training."""

from __future__ import annotations

from typing import Any

from mmengine.registry import HOOKS

from ...mm.phases import PhaseHook, switched_from
from .transform import MosaicToScale

__all__ = ['MosaicOffHook']


@HOOKS.register_module()
class MosaicOffHook(PhaseHook):
    """Switches every `MosaicToScale` of the training off for the last part of it.

    When and how is `PhaseHook`'s. It also logs what the caches may take.

    Args:
        off_fraction: See `PhaseHook`.
        off_epochs: See `PhaseHook`.
    """

    kind = MosaicToScale
    what = 'mosaic'

    def replaced_from(self, runner: Any) -> int | None:
        """See `switched_from`."""
        return switched_from(runner, MosaicToScale)

    def prepare(self, runner: Any) -> None:
        """Logs the bound of the caches."""
        found = self.found(runner)
        if not found:
            return
        workers = max(runner.train_dataloader.num_workers, 1)
        samples = sum(one.max_cached_images for one in found)
        pixels = sum(one.max_cached_images * one.img_scale[0] * one.img_scale[1] for one in found)
        runner.logger.info(
            f'The caches of mosaic keep at most {workers * samples} samples over all worker '
            f'processes of this rank, of at most {workers * pixels * 3 / 2**20:.0f} MB as uint8')
