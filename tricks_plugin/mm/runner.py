"""The runner that turns a config's `tricks` into an ordinary run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.registry import RUNNERS
from mmengine.runner import FlexibleRunner, Runner

from ..common.files import write_json
from .apply import apply_tricks

__all__ = ['TricksRunner', 'build_runner']


def build_runner(cfg: Any) -> Any:
    """Applies ``cfg.tricks`` and builds the runner that the effective config names.

    Args:
        cfg: A Config, with ``tricks`` or without.

    Returns:
        mmengine's Runner, its FlexibleRunner where the config has a ``strategy``, or the runner
        of the config's own ``runner_type``. The plan is logged, and saved as
        ``tricks_plan.json`` in the work dir.

    Raises:
        TrickError: If ``tricks`` is wrong.
    """
    effective, plan = apply_tricks(cfg)
    if 'runner_type' in effective:
        runner = RUNNERS.build(effective)
    else:
        flexible = effective.get('strategy') is not None
        runner = (FlexibleRunner if flexible else Runner).from_cfg(effective)
    if plan.tricks:
        runner.logger.info(f'The plan:\n{plan.table()}')
        if runner.rank == 0:
            write_json(Path(runner.work_dir) / 'tricks_plan.json', plan.to_dict())
    return runner


@RUNNERS.register_module()
class TricksRunner:
    """Applies ``cfg.tricks`` and hands the effective config to the runner that it names.

    It only has `from_cfg`, as that is all that the stock trainers call: what comes back is an
    ordinary runner; see `build_runner`.
    """

    @classmethod
    def from_cfg(cls, cfg: Any) -> Any:
        """Builds the runner; see `build_runner`."""
        return build_runner(cfg)
