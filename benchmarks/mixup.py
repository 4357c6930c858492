"""What detection mixup costs: its blend, a sample, and a whole data pipeline, side by side.

    python benchmarks/mixup.py [--sections blend sample pipeline] [--json FILE] [--quick]
    python benchmarks/mixup.py --sections pipeline --config CONFIG --own-data

Everything runs in this one process, on one thread and in turns: each round times every arm once,
in another order (samples and pipelines sample by sample), and a ratio is the median (and the
quartiles) of the rounds' ratios. Processor time is counted, so that a busy machine matters little;
``--clock wall`` counts the wall's.

blend     Two images into a given canvas, all three warm. The floor moves the same bytes, two
          images read and one written, as ``np.copyto`` of an array one and a half times as large.
          ``two reads, one write`` is OpenCV's saturated sum, which does move just these.
sample    Decoding, resizing, flipping, mixing and packing one synthetic JPEG of 640x480.
          ``mixing`` is what an arm takes beyond the same pipeline without mixup. mmdet's MixUp
          stands in MultiImageMixDataset, as it must.
pipeline  A config's whole training pipeline, decoding included, with mixup to without. Both see
          the same draws up to the mixing. Images of one shape keep their size when they are
          mixed; landscape and portrait together give a canvas larger than either, which the
          packing copies.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import mmdet
import numpy as np
import torch
from mixup_kit import Timed, ratio, rounds_of, sample_rounds, spread, synthetic_coco, table
from mmdet.registry import DATASETS
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from tricks_plugin import apply_tricks
from tricks_plugin.functional import blend
from tricks_plugin.mm.config_edit import find
from tricks_plugin.tricks.mixup.hook import mixup_transforms

ZOO = Path(mmdet.__file__).parent / '.mim' / 'configs'
CONFIGS = (ZOO / 'yolo' / 'yolov3_d53_8xb8-ms-608-273e_coco.py',
           ZOO / 'faster_rcnn' / 'faster-rcnn_r50_fpn_1x_coco.py')
SIZES = ((416, 416), (608, 608), (1333, 800))
CLOCKS = dict(cpu=time.process_time, wall=time.perf_counter)
LAM = 0.37
CLASS = dict(classes=('thing',))


def numpy_formula(image1: np.ndarray, image2: np.ndarray, lam: float) -> np.ndarray:
    """The blend as a float32 canvas that both scaled images are added to, then cast."""
    height, width = (max(a, b) for a, b in zip(image1.shape[:2], image2.shape[:2], strict=True))
    canvas = np.zeros((height, width, image1.shape[2]), np.float32)
    canvas[:image1.shape[0], :image1.shape[1]] = image1.astype(np.float32) * lam
    canvas[:image2.shape[0], :image2.shape[1]] += image2.astype(np.float32) * (1.0 - lam)
    return canvas.astype(image1.dtype)


def repeat(clock: Callable[[], float], calls: int, function: Callable[[], Any], _: int) -> float:
    """Seconds of one call, after one that is not timed."""
    function()
    start = clock()
    for _ in range(calls):
        function()
    return (clock() - start) / calls


def blend_section(args: argparse.Namespace) -> list[dict]:
    rows = []
    for width, height in args.sizes:
        for dtype in ('uint8', 'float32'):
            rng = np.random.RandomState(1)
            first, second = rng.randint(0, 256, (2, height, width, 3)).astype(dtype)
            out, sum_out, weighted_out = (np.empty_like(first) for _ in range(3))
            source = np.resize(first, first.size * 3 // 2)
            target = np.empty_like(source)
            arms = {
                'blend': functools.partial(blend, first, second, LAM, out=out),
                'NumPy float formula': functools.partial(numpy_formula, first, second, LAM),
                'cv2.addWeighted': functools.partial(
                    cv2.addWeighted, first, LAM, second, 1 - LAM, 0, dst=weighted_out),
                'two reads, one write': functools.partial(cv2.add, first, second, dst=sum_out),
                'floor': functools.partial(np.copyto, target, source)}
            times = rounds_of({name: functools.partial(repeat, args.clock, 5, arm)
                               for name, arm in arms.items()}, args.blend_rounds)
            rows.append(dict(
                size=f'{width}x{height}', dtype=dtype,
                ms={name: statistics.median(values) * 1e3 for name, values in times.items()},
                to_floor={name: ratio(values, times['floor']) for name, values in times.items()}))
    return rows


def sample_datasets(folder: str, size: tuple[int, int], dtype: str) -> dict[str, Any]:
    """The datasets of the arms: equal but for the mixing and its packing."""
    base: list[dict] = [dict(type='LoadImageFromFile', to_float32=dtype == 'float32'),
                        dict(type='LoadAnnotations', with_bbox=True),
                        dict(type='Resize', scale=size, keep_ratio=False),
                        dict(type='RandomFlip', prob=0.5)]
    pack, weighted = dict(type='PackDetInputs'), dict(type='tricks_plugin.PackWeightedDetInputs')
    ours = dict(type='tricks_plugin.GeometryPreservingMixUp')

    def coco(*steps: dict) -> dict:
        return dict(type='CocoDataset', data_root=folder, ann_file='train.json',
                    data_prefix=dict(img=''), metainfo=CLASS, pipeline=[*base, *steps])

    return {name: DATASETS.build(cfg) for name, cfg in {
        'without': coco(pack), 'without, weighted packing': coco(weighted),
        'GeometryPreservingMixUp': coco(ours, weighted),
        'mmdet MixUp': dict(type='MultiImageMixDataset', dataset=coco(),
                            pipeline=[dict(type='MixUp', img_scale=size), pack]),
        'mmdet CachedMixUp': coco(dict(type='CachedMixUp', img_scale=size), pack)}.items()}


def sample_section(args: argparse.Namespace) -> list[dict]:
    rows = []
    init_default_scope('mmdet')
    with tempfile.TemporaryDirectory() as folder:
        synthetic_coco(Path(folder), 24, portrait=0.0)
        for size in args.sizes:
            for dtype in ('uint8', 'float32'):
                datasets = sample_datasets(folder, size, dtype)
                times = sample_rounds(args.clock, datasets, range(args.samples),
                                      args.sample_rounds)
                rows.append(sample_row(size, dtype, times))
    return rows


def sample_row(size: tuple[int, int], dtype: str, times: dict[str, list[float]]) -> dict:
    ours = times['GeometryPreservingMixUp']
    others = ('mmdet MixUp', 'mmdet CachedMixUp')
    mixing = {name: [a - b for a, b in zip(times[name], times['without'], strict=True)]
              for name in others}
    mixing['GeometryPreservingMixUp'] = [
        a - b for a, b in zip(ours, times['without, weighted packing'], strict=True)]
    cost = {name: statistics.median(values) for name, values in mixing.items()}
    own = cost['GeometryPreservingMixUp']  # not above 0 where the noise is larger
    return dict(
        size=f'{size[0]}x{size[1]}', dtype=dtype,
        ms={name: statistics.median(values) * 1e3 for name, values in times.items()},
        mixing_ms={name: value * 1e3 for name, value in cost.items()},
        whole_to_ours={name: ratio(times[name], ours) for name in others},
        mixing_to_ours={name: cost[name] / own if own > 0 else None for name in others})


def build(cfg: Config, clock: Callable[[], float], partner: str) -> tuple[Any, list[Timed]]:
    """The training dataset of a config, and its last two transforms, timed."""
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    dataset = inner = DATASETS.build(cfg.train_dataloader.dataset)
    if partner == 'dataset':
        for transform in mixup_transforms(dataset):
            transform.attach(dataset)
    while not hasattr(inner, 'pipeline'):
        inner = inner.dataset if hasattr(inner, 'dataset') else inner.datasets[0]
    steps = getattr(inner.pipeline, 'transforms', inner.pipeline)
    steps[-2:] = last = [Timed(step, clock) for step in steps[-2:]]
    return dataset, last


def pipeline_row(args: argparse.Namespace, path: Path, folder: str, portrait: float) -> dict:
    """Seconds per sample of one config's pipeline without and with mixup, and their ratio."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(args.cfg_options)
    if not args.own_data:
        for _, leaf in find(cfg.train_dataloader.dataset, 'CocoDataset'):
            leaf.update(data_root=f'{folder}/', ann_file='train.json',
                        data_prefix=dict(img=''), metainfo=CLASS)
    mixed, plan = apply_tricks(cfg, tricks=dict(mixup=dict(
        partner=args.partner, partner_shape=args.partner_shape)))
    verdict = next(row for row in plan.tricks if row.name == 'mixup')
    if verdict.status != 'applied':
        raise SystemExit(f'mixup is {verdict.status} in {path.name}: {verdict.reason}')
    without, before = build(cfg, args.clock, args.partner)
    with_mixup, after = build(mixed, args.clock, args.partner)
    indices = range(args.images)
    times = sample_rounds(args.clock, {'without': without, 'with': with_mixup}, indices,
                          args.rounds)
    step_ms = dict(zip(('mixing', 'packing'), (1e3 * t.seconds / t.calls for t in after),
                       strict=True))
    step_ms['packing without'] = 1e3 * before[-1].seconds / before[-1].calls
    return dict(config=path.name, images='its own' if args.own_data else f'{portrait:.0%} portrait',
                ms={name: 1e3 * statistics.median(values) for name, values in times.items()},
                step_ms=step_ms, rate_to_without=ratio(times['without'], times['with']))


def pipeline_section(args: argparse.Namespace) -> list[dict]:
    rows = []
    for portrait in ((0.0,) if args.own_data else args.portrait):
        with tempfile.TemporaryDirectory() as folder:
            if not args.own_data:
                synthetic_coco(Path(folder), min(args.images, 64), portrait)
            rows += [pipeline_row(args, path, folder, portrait) for path in args.config]
    return rows


def render(result: dict) -> str:
    """The Markdown tables."""
    parts = []
    if 'blend' in result:
        names = list(result['blend'][0]['to_floor'])[:-1]
        parts.append('Blend, to the floor (quartiles)\n\n' + table(
            'size | dtype | floor, ms | blend, ms | ' + ' | '.join(names),
            [[row['size'], row['dtype'], f'{row["ms"]["floor"]:.3f}', f'{row["ms"]["blend"]:.3f}',
              *(spread(row['to_floor'][name]) for name in names)] for row in result['blend']]))
    if 'sample' in result:
        names = list(result['sample'][0]['mixing_ms'])
        parts.append('A sample: milliseconds whole / mixing alone; ratios to ours\n\n' + table(
            'size | dtype | without | ' + ' | '.join(names)
            + ' | MixUp, whole | MixUp, mixing | CachedMixUp, whole | CachedMixUp, mixing',
            [[row['size'], row['dtype'], f'{row["ms"]["without"]:.1f}',
              *(f'{row["ms"][name]:.1f} / {row["mixing_ms"][name]:.2f}' for name in names),
              *(text for name in names[:2] for text in (
                  spread(row['whole_to_ours'][name]),
                  f'{row["mixing_to_ours"][name] or float("nan"):.1f}'))]
             for row in result['sample']]))
    if 'pipeline' in result:
        parts.append('A pipeline: rate with mixup to without (quartiles)\n\n' + table(
            'config | images | rate | ms without | ms with | mixing | packing | packing without',
            [[row['config'], row['images'], spread(row['rate_to_without']),
              *(f'{value:.2f}' for value in (*row['ms'].values(), *row['step_ms'].values()))]
             for row in result['pipeline']]))
    return '\n\n'.join(parts)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sections = ('blend', 'sample', 'pipeline')
    parser.add_argument('--sections', nargs='+', choices=sections, default=list(sections))
    parser.add_argument('--config', type=Path, nargs='+', default=list(CONFIGS))
    parser.add_argument('--own-data', action='store_true', help='the data that the configs name')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument('--partner', choices=('cache', 'dataset'), default='cache')
    parser.add_argument('--partner-shape', choices=('any', 'like'), default='any')
    parser.add_argument('--portrait', type=float, nargs='+', default=[0.0, 0.5],
                        help='share of portrait images, one run of the pipelines each')
    parser.add_argument('--images', type=int, default=48, help='images per round of a pipeline')
    parser.add_argument('--rounds', type=int, default=9, help='rounds of a pipeline')
    parser.add_argument('--clock', choices=CLOCKS, default='cpu')
    parser.add_argument('--quick', action='store_true', help='small and few, for a test')
    parser.add_argument('--json', type=Path, help='write the figures to this file')
    args = parser.parse_args()
    args.clock = CLOCKS[args.clock]
    args.sizes, args.blend_rounds, args.sample_rounds, args.samples = SIZES, 41, 7, 6
    if args.quick:
        args.sizes, args.blend_rounds, args.sample_rounds, args.samples = ((96, 64),), 3, 2, 2
        args.images, args.rounds, args.portrait = 2, 1, [0.5]
    return args


def main() -> None:
    args = arguments()
    cv2.setNumThreads(0)  # as in a worker process
    torch.set_num_threads(1)
    run = dict(blend=blend_section, sample=sample_section, pipeline=pipeline_section)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its loading
        result = {name: run[name](args) for name in run if name in args.sections}
    print(render(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
