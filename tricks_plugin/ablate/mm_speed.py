"""Throughput of a detector: ``python -m tricks_plugin.ablate.mm_speed SPEC.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..common.door import run_door
from ..common.files import write_json
from .identity import machine
from .mm_run import prepare
from .process import die_with, passes_per_second

__all__ = ['main']


def main(argv: list[str] | None = None) -> int:
    """Measures, on the first batch of the validation, with the weights of a run where it kept them.

    Data loading is left out; what makes detections of outputs is in.
    """
    import torch
    from mmengine.runner.checkpoint import load_checkpoint

    from ..mm.runner import build_runner
    spec: dict[str, Any] = json.loads(Path((argv or sys.argv[1:])[0]).read_text())
    die_with(spec.get('parent'))
    runner = build_runner(prepare(spec))
    if spec['checkpoint']:
        load_checkpoint(runner.model, spec['checkpoint'], map_location='cpu')
    runner.model.eval()
    batch = next(iter(runner.build_dataloader(runner.cfg.val_dataloader)))
    images = len(batch['inputs'])
    with torch.inference_mode():
        passes = passes_per_second(lambda: runner.model.val_step(batch))
    write_json(Path(spec['folder']) / 'speed.json', {
        'images_per_s': images * passes, 'batch': images, 'settings': spec['settings'],
        'machine': machine(), 'parameters': sum(one.numel() for one in runner.model.parameters()),
        'words': 'with the detections made of the outputs'})
    return 0


if __name__ == '__main__':
    sys.exit(run_door(main))
