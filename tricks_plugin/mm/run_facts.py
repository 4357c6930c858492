"""What a config tells of its run."""

from __future__ import annotations

from typing import Any

from ..common.processes import world_size
from ..plan.run_facts import RunFacts
from .config_edit import get, optim_wrappers, run_length

__all__ = ['run_facts']


def run_facts(cfg: dict[str, Any]) -> RunFacts:
    """Reads the facts off a plain config.

    Args:
        cfg: The config before any trick.
    """
    length = run_length(cfg)
    counts = {wrapper.get('accumulative_counts', 1) for _, wrapper in optim_wrappers(cfg)}
    return RunFacts(
        processes=world_size(cfg.get('launcher')),
        batch_size=_count(get(cfg, 'train_dataloader.batch_size')),
        accumulation=_count(counts.pop()) if len(counts) == 1 else None,
        epochs=length.value if length is not None and length.by_epoch else None,
        iterations=length.value if length is not None and not length.by_epoch else None)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
