"""The hook that synchronizes the BatchNorm layers before the training."""

from __future__ import annotations

import os
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import distributed

from ...common.processes import world_size
from ...common.sync_bn import Conversion, survey, synchronize_batch_norms

__all__ = ['SyncBatchNormHook']


@HOOKS.register_module()
class SyncBatchNormHook(Hook):
    """Turns the BatchNorm layers that train into synchronized ones, before the training.

    Which layers train is asked of the model: it is put into train mode as the training loop will
    put it, so that ``norm_eval``, frozen stages and any ``train`` of the model's own have their
    say, and back. Frozen layers are left alone. In one process there is nothing to share, and
    nothing is changed. See `synchronize_batch_norms` for what happens to a layer.

    Attributes:
        conversion: What was converted and what was left; None before the training.

    Raises:
        RuntimeError: Before training, if the launcher announces several processes and the
            process group is not initialised.
    """

    # After hooks that freeze parts of the model, before TrickEvidenceHook.
    priority = 'LOW'

    def __init__(self) -> None:
        self.conversion: Conversion | None = None

    def before_train(self, runner: Any) -> None:
        """Converts the layers and logs the counts."""
        _require_group()
        processes = world_size()
        modes = [(module, module.training) for module in runner.model.modules()]
        runner.model.train()
        try:
            self.conversion = survey(runner.model) if processes == 1 \
                else synchronize_batch_norms(runner.model)
        finally:
            for module, mode in modes:
                module.training = mode
        self._announce(runner.logger, processes)

    def _announce(self, logger: Any, processes: int) -> None:
        found = self.conversion
        if not (found.trains or found.already):  # type: ignore[union-attr]
            logger.warning(f'SyncBatchNormHook: no BN layer trains: {found}')
        elif processes == 1:
            logger.info(
                'SyncBatchNormHook: one process holds the whole batch, nothing to synchronize '
                f'({len(found.trains)} BN layers train, '  # type: ignore[union-attr]
                f'{found.left_alone()})')  # type: ignore[union-attr]
        else:
            logger.info(f'SyncBatchNormHook: {found} (BN layers, {processes} processes)')


def _require_group() -> None:
    """Raises where several processes were started and do not know of each other."""
    announced = os.environ.get('WORLD_SIZE', '')
    initialised = distributed.is_available() and distributed.is_initialized()
    if not initialised and announced.isdigit() and int(announced) > 1:
        raise RuntimeError(
            f'SyncBatchNormHook: WORLD_SIZE={announced} processes were started, but the process '
            'group is not initialised, so each would train alone: start the training with '
            "--launcher pytorch (cfg.launcher='pytorch'), or unset WORLD_SIZE")
