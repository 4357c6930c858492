"""The runner that turns a config's `tricks` into an ordinary run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mmengine.registry import RUNNERS
from mmengine.runner import FlexibleRunner, Runner

from .apply import apply_tricks
from .plan import Plan

__all__ = ['TricksRunner', 'save_plan']


@RUNNERS.register_module()
class TricksRunner:
    """Applies ``cfg.tricks`` and hands the effective config to the ordinary runner.

    It only has `from_cfg`, as that is all that the stock trainers call: what comes back is
    mmengine's own Runner, or its FlexibleRunner where the config has a ``strategy``.
    """

    @classmethod
    def from_cfg(cls, cfg: Any) -> Runner | FlexibleRunner:
        """Builds the runner.

        Args:
            cfg: A Config with ``tricks``; without it the run is the same as without this class.

        Returns:
            The runner. The plan is logged, and saved as ``tricks_plan.json`` in the work dir.

        Raises:
            TrickError: If ``tricks`` is wrong.
        """
        effective, plan = apply_tricks(cfg)
        flexible = effective.get('strategy') is not None
        runner = (FlexibleRunner if flexible else Runner).from_cfg(effective)
        runner.logger.info(f'The plan:\n{plan.table()}')
        if runner.rank == 0:
            save_plan(plan, Path(runner.work_dir) / 'tricks_plan.json')
        return runner


def save_plan(plan: Plan, path: Path) -> None:
    """Writes a plan as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix('.json.part')
    draft.write_text(json.dumps(plan.to_dict(), indent=2) + '\n', encoding='utf-8')
    os.replace(draft, path)
