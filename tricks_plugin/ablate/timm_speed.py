"""Throughput of a timm model: ``python -m tricks_plugin.ablate.timm_speed SPEC.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..common.door import run_door
from ..common.files import write_json
from .identity import machine
from .process import die_with, passes_per_second
from .timm_run import read

__all__ = ['main']


def main(argv: list[str] | None = None) -> int:
    """Measures, on noise of the model's input size, at the batch size of the validation."""
    import torch
    from timm.data import resolve_data_config

    from ..timm.model import build_model, place
    from ..timm.settings import prepare, with_classes
    spec: dict[str, Any] = json.loads(Path((argv or sys.argv[1:])[0]).read_text())
    die_with(spec.get('parent'))
    args, device = prepare(read(spec).args)
    model = build_model(args)
    args = with_classes(args, model.num_classes)
    dtype = getattr(torch, args.model_dtype or 'float32')
    size = resolve_data_config(vars(args), model=model)['input_size']
    model = place(model, args, device, dtype).eval()
    batch = args.validation_batch_size or args.batch_size
    images = torch.rand((batch, *size), device=device, dtype=dtype)
    if args.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    kind = getattr(torch, args.amp_dtype)
    with torch.inference_mode(), torch.autocast(device.type, kind, enabled=bool(args.amp)):
        passes = passes_per_second(lambda: model(images))
    write_json(Path(spec['folder']) / 'speed.json', {
        'images_per_s': batch * passes, 'batch': batch, 'settings': spec['settings'],
        'machine': machine(), 'parameters': sum(one.numel() for one in model.parameters()),
        'words': f'at {size[1]} x {size[2]} px'})
    return 0


if __name__ == '__main__':
    sys.exit(run_door(main))
