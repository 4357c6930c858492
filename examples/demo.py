"""A first training with tricks, on a data set made on the spot: what `make demo` runs.

    python examples/demo.py [--work-dir DIR] [--data DIR] [--tricks NAME[,NAME...] | none]

It builds the digits, prints the plan, trains `configs/demo/yolov3_digits.py`, and leaves
`detections.png`, `lr.png` and `metrics.json` in the work dir. Every call is a fresh run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONFIG = Path('configs', 'demo', 'yolov3_digits.py')
RESULTS = ('detections.png', 'lr.png', 'metrics.json', 'val.bbox.json')
GRID = (3, 4)  # rows and columns of detections.png
BAG = 'bag_of_freebies'
MIN_SCORE = 0.2  # detections below it are not drawn
GROUND_TRUTH, DETECTION = '#00e676', '#ff3d00'


class DemoError(Exception):
    """A step of the demo failed; the message says which and how."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs', 'demo'),
                        help='where the run and its pictures go (%(default)s)')
    parser.add_argument('--data', type=Path, default=Path('data', 'digits'),
                        help='the digits; built here unless they are there already (%(default)s)')
    parser.add_argument('--tricks', default=BAG,
                        help="tricks or a recipe, 'none' for the plain config (%(default)s)")
    return parser.parse_args(argv)


def run_script(script: str, *arguments: str | Path, data: Path) -> None:
    """Runs a script of the repository with its output passed through.

    Args:
        script: Its path there.
        arguments: Its command line.
        data: The digits' folder, which the demo's config reads from `DIGITS_ROOT`.

    Raises:
        DemoError: If the script's exit status is not 0.
    """
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    # One thread: where others compute on the same cores, OpenMP's busy waiting made a training
    # with two threads ten times slower, and tensors this small gain little from the second.
    environment = {'OMP_NUM_THREADS': '1', **os.environ, 'PYTHONPATH': path,
                   'DIGITS_ROOT': str(data)}
    print(f'\n$ DIGITS_ROOT={data} {script} {" ".join(map(str, arguments))}', flush=True)
    status = subprocess.run(command, env=environment, check=False).returncode
    if status != 0:
        raise DemoError(f'{script} ended with status {status}')


def read_scalars(run_dir: Path) -> list[dict[str, Any]]:
    """Reads the log that mmengine's LocalVisBackend keeps of a run.

    Args:
        run_dir: The run's own, timestamped folder in the work dir.

    Returns:
        One dict per logged moment, in order.

    Raises:
        DemoError: If there is no such log.
    """
    path = run_dir / 'vis_data' / 'scalars.json'
    if not path.is_file():
        raise DemoError(f'the run left no log at {path}')
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def find_metrics(scalars: list[dict[str, Any]]) -> dict[str, float]:
    """Finds the last validation's metrics, such as `bbox_mAP_50`, and its `epoch`.

    Raises:
        DemoError: If the run was never validated.
    """
    validations = [line for line in scalars if 'coco/bbox_mAP' in line]
    if not validations:
        raise DemoError('the log holds no validation')
    last = validations[-1]
    metrics = {key[5:]: value for key, value in last.items() if key.startswith('coco/bbox')}
    return dict(metrics, epoch=last['step'])


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a hidden sibling, then gives it the name `path`."""
    partial = path.with_name(f'.partial-{path.name}')
    write(partial)
    os.replace(partial, path)


def plot_lr(scalars: list[dict[str, Any]], path: Path) -> None:
    """Plots the learning rate that the run logged against the iteration."""
    from matplotlib.figure import Figure
    points = [(line['step'], line['lr']) for line in scalars if 'lr' in line]
    figure = Figure(figsize=(7, 4), layout='constrained')
    axes = figure.add_subplot(
        xlabel='iteration', ylabel='learning rate', title='learning rate, from the run\'s log')
    axes.plot(*zip(*points, strict=True), marker='.', markersize=4)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    write_whole(path, lambda partial: figure.savefig(partial, dpi=120))


def draw_boxes(axes: Any, items: list[dict[str, Any]], names: dict[int, str], colour: str,
               below: bool) -> None:
    """Draws COCO boxes with their class, and score if any, above or below each box."""
    from matplotlib.patches import Rectangle
    for item in items:
        x, y, width, height = item['bbox']
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=colour,
                                 linewidth=1.2, linestyle='--' if below else '-'))
        text = names[item['category_id']]
        if 'score' in item:
            text += f' {item["score"]:.2f}'
        axes.text(x + width if below else x, y + height if below else y, text, fontsize=7,
                  color='black', ha='right' if below else 'left', va='top' if below else 'bottom',
                  bbox=dict(facecolor=colour, edgecolor='none', pad=0.6, alpha=0.85))


def read_image(path: Path) -> Any:
    """Reads an image as RGB, uint8 of shape (h, w, 3).

    Raises:
        DemoError: If it cannot be read.
    """
    import cv2
    image = cv2.imread(str(path))
    if image is None:
        raise DemoError(f'cannot read {path}')
    return image[..., ::-1]


def best_of_each_place(detections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keeps the best detection of each place, as YOLOv3 may report several classes for one box.

    Args:
        detections: COCO results of one image, boxes as `[x, y, w, h]` in px.

    Returns:
        Those that overlap no better one by more than half, best first.
    """
    import torch
    from torchvision.ops import box_convert, nms
    if not detections:
        return []
    boxes = box_convert(torch.tensor([d['bbox'] for d in detections]), 'xywh', 'xyxy')
    scores = torch.tensor([d['score'] for d in detections])
    return [detections[index] for index in nms(boxes, scores, 0.5).tolist()]


def plot_detections(data: Path, detections: list[dict[str, Any]], path: Path) -> None:
    """Draws the first validation images with their ground truth and their detections.

    Args:
        data: Folder of the digits.
        detections: COCO results, boxes as `[x, y, w, h]` in px of the original image.
        path: The picture to write.
    """
    from matplotlib.figure import Figure
    truth = json.loads((data / 'annotations' / 'val.json').read_text())
    names = {category['id']: category['name'] for category in truth['categories']}
    figure = Figure(figsize=(3 * GRID[1], 3 * GRID[0] + 0.4), layout='constrained')
    figure.suptitle(f'validation images: ground truth (green, dashed), detections of score '
                    f'{MIN_SCORE} and more (red)')
    for index, image in enumerate(truth['images'][:GRID[0] * GRID[1]]):
        axes = figure.add_subplot(*GRID, index + 1)
        axes.imshow(read_image(data / 'val' / image['file_name']))
        axes.axis('off')
        boxes = [a for a in truth['annotations'] if a['image_id'] == image['id']]
        found = [d for d in detections if d['image_id'] == image['id'] and d['score'] >= MIN_SCORE]
        draw_boxes(axes, boxes, names, GROUND_TRUTH, below=True)
        draw_boxes(axes, best_of_each_place(found), names, DETECTION, below=False)
    write_whole(path, lambda partial: figure.savefig(partial, dpi=120))


def train(work_dir: Path, data: Path, tricks: list[str]) -> Path:
    """Trains afresh; returns the run's own folder in the work dir."""
    work_dir.mkdir(parents=True, exist_ok=True)
    for name in RESULTS:
        (work_dir / name).unlink(missing_ok=True)
    earlier = set(work_dir.iterdir())
    run_script('tools/train.py', ROOT / CONFIG, *tricks, '--work-dir', work_dir, '--cfg-options',
             f'val_evaluator.outfile_prefix={work_dir / "val"}', 'resume=False',
             data=data)
    logs = [path for path in set(work_dir.glob('*/vis_data')) if path.parent not in earlier]
    if not logs:
        raise DemoError(f'the training left no run in {work_dir}')
    return max(logs).parent


def run_demo(work_dir: Path, data: Path, tricks: str) -> None:
    """Runs every step and says where each result lies.

    Raises:
        DemoError: If a step failed.
    """
    start = time.monotonic()
    flags = [] if tricks == 'none' else ['--tricks', tricks]
    run_script('examples/make_digits.py', '--out', data, data=data)
    run_script('tools/plan.py', ROOT / CONFIG, *flags, data=data)
    run_dir = train(work_dir, data, flags)
    scalars = read_scalars(run_dir)
    metrics: dict[str, Any] = dict(find_metrics(scalars), config=CONFIG.as_posix(), tricks=tricks,
                                   run=run_dir.name)
    plot_lr(scalars, work_dir / 'lr.png')
    detections = json.loads((work_dir / 'val.bbox.json').read_text())
    plot_detections(data, detections, work_dir / 'detections.png')
    metrics['seconds'] = round(time.monotonic() - start, 1)
    text = json.dumps(metrics, indent=2) + '\n'
    write_whole(work_dir / 'metrics.json', lambda partial: partial.write_text(text))
    print(f'\n{"detections":12}{work_dir / "detections.png"}\n'
          f'{"LR curve":12}{work_dir / "lr.png"}\n'
          f'{"metrics":12}{work_dir / "metrics.json"}\n'
          f'{"run":12}{run_dir}\n'
          f'bbox mAP {metrics["bbox_mAP"]:.3f}, mAP_50 {metrics["bbox_mAP_50"]:.3f} after epoch '
          f'{metrics["epoch"]}; {metrics["seconds"]:.0f} s in all')


def main(argv: list[str] | None = None) -> int:
    """Runs the demo; exit status 1, with one line on stderr, if a step failed."""
    args = parse_args(argv)
    try:
        run_demo(args.work_dir, args.data, args.tricks)
    except (DemoError, OSError) as error:
        print(f'demo.py: error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
