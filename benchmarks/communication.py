"""What each trick sends between processes, computed on paper for a config's real model.

    python benchmarks/communication.py [CONFIG] [--tricks NAME[,NAME...]]
        [--processes 8 64] [--json FILE]

Builds the model of the effective config (no data, no training), counts its parameters and the
BatchNorm layers that train, and works out the bytes that each process sends in one iteration. A
ring all-reduce of b bytes among n processes sends 2 b (n - 1) / n, an all-gather of b bytes per
process b (n - 1).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', nargs='?',
                        default='mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py')
    parser.add_argument('--tricks', default='bag_of_freebies')
    parser.add_argument('--processes', type=int, nargs='+', default=[8, 64])
    parser.add_argument('--json', type=Path)
    return parser.parse_args()


def ring(size: int, processes: int) -> float:
    """Bytes that each process sends in a ring all-reduce of ``size`` bytes."""
    return 2 * size * (processes - 1) / processes


def gathered(size: int, processes: int) -> float:
    """Bytes that each process sends in an all-gather of ``size`` bytes of its own."""
    return size * (processes - 1)


def measured(config: str, tricks: str) -> dict[str, int]:
    """Counts of the model: parameters that train, BatchNorm layers that train, their channels."""
    from mmdet.utils import register_all_modules
    from mmengine.registry import MODELS

    import tricks_plugin
    from tricks_plugin.cli import load_config
    from tricks_plugin.common.sync_bn import survey
    cfg, _ = tricks_plugin.apply_tricks(load_config(config, tricks, None))
    register_all_modules(init_default_scope=True)
    model = MODELS.build(cfg.model)
    model.train()
    modules = dict(model.named_modules())
    layers = [modules[name] for name in survey(model).trains]
    return {
        'parameters': sum(p.numel() for p in model.parameters() if p.requires_grad),
        'layers': len(layers), 'channels': sum(layer.num_features for layer in layers)}


def table(counts: dict[str, int], processes: int) -> list[tuple[str, int, float]]:
    """Per part: its name, the messages of an iteration, and the bytes each process sends."""
    channels, layers = counts['channels'], counts['layers']
    return [
        ('gradients (any distributed training)', 1, ring(4 * counts['parameters'], processes)),
        ('sync_bn forward: mean, variance, count', layers,
         gathered(4 * (2 * channels + layers), processes)),
        ('sync_bn backward: two sums per channel', layers, ring(4 * 2 * channels, processes)),
        ('random_shapes, linear_lr, cosine_warmup, mixup, label_smoothing, no_bias_decay, ema, amp',
         0, 0.0),
    ]


def main() -> None:
    args = parse_args()
    counts = measured(args.config, args.tricks)
    print(f'{args.config}: {counts["parameters"]:,} parameters that train, {counts["layers"]} '
          f'BatchNorm layers that train, with {counts["channels"]:,} channels')
    results = []
    for processes in args.processes:
        print(f'\n| {processes} processes | messages an iteration | sent by each, MB |')
        print('|---|---|---|')
        rows = table(counts, processes)
        for name, messages, size in rows:
            print(f'| {name} | {messages} | {size / 1e6:.3g} |')
        results.append({'processes': processes, 'rows': rows})
    if args.json:
        args.json.write_text(json.dumps({'config': args.config, **counts, 'results': results},
                                        indent=2) + '\n')


if __name__ == '__main__':
    main()
