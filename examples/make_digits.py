"""Builds a small COCO-format detection data set from real handwritten digits.

    python examples/make_digits.py --out DIR [--train N] [--val N] [--size S] [--seed 0]

The digits are scikit-learn's `load_digits`: 1797 greyscale scans of 8x8 px, shipped inside
scikit-learn. They are enlarged to many sizes and set on coloured, textured canvases of varied
shape. Train and val use disjoint digits. The same arguments give the same bytes, and the data
set appears under its name only when it is complete.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

MANIFEST = 'manifest.json'
CLASSES = tuple('0123456789')
VAL_SHARE = 0.2  # of each class's digits
INK_THRESHOLD = 0.25  # opacity from which a pixel counts as ink for the box


@dataclass(frozen=True)
class Settings:
    """What decides a data set's bytes.

    Attributes:
        train: Number of training images.
        val: Number of validation images.
        size: Shortest canvas side in px; each side is drawn between it and 1.2 times it.
        seed: Seed of every draw.
    """

    train: int = 896
    val: int = 160
    size: int = 160
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the bounds."""
        most = 100_000
        bounds = dict(train=(1, most), val=(1, most), size=(64, 1024), seed=(0, 2**32 - 1))
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f'--{name} must lie in [{low}, {high}], received {value}')


def split_sources(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits source digits into train and val, class by class, without overlap.

    Args:
        labels: Class of each digit, shape (n,).
        seed: Seed of the split.

    Returns:
        Sorted indices of train and of val.
    """
    rng = np.random.default_rng([seed, 0])
    train, val = [], []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = max(1, round(VAL_SHARE * len(members)))
        val.append(members[:count])
        train.append(members[count:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(val))


def enlarge(digit: np.ndarray, height: int, width: int) -> np.ndarray:
    """Enlarges an 8x8 digit of values 0 to 16 and crops it to its ink.

    Args:
        digit: Scan of shape (8, 8).
        height: Height of the whole scan after enlarging, in px.
        width: Its width.

    Returns:
        Opacity in [0, 1], float32, whose every border row and column holds ink.
    """
    import cv2
    alpha = (digit / 16).astype(np.float32)
    alpha = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_CUBIC)
    alpha = np.clip(alpha * 1.3 - 0.15, 0, 1)  # steeper edges: plain bicubic is a blur at 9x
    ys, xs = np.nonzero(alpha >= INK_THRESHOLD)
    return alpha[ys.min():ys.max() + 1, xs.min():xs.max() + 1]


def draw_background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draws a colour gradient with blotches and grain, float32 BGR of shape (h, w, 3)."""
    import cv2
    start, end = rng.uniform(20, 235, (2, 3)).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    ramp = np.cos(angle) * xs / width + np.sin(angle) * ys / height
    ramp = ((ramp - ramp.min()) / np.ptp(ramp))[..., None].astype(np.float32)
    cells = rng.integers(3, 12, 2)
    blotches = rng.normal(0, rng.uniform(4, 18), (*cells, 3)).astype(np.float32)
    blotches = cv2.resize(blotches, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, rng.uniform(0, 8), (height, width, 1)).astype(np.float32)
    return start * (1 - ramp) + end * ramp + blotches + grain


def draw_ink(rng: np.random.Generator, ground: np.ndarray) -> np.ndarray:
    """Draws an ink colour whose mean level is 60 to 150 grey levels from the ground's."""
    level = float(ground.mean())
    gap = rng.uniform(60, 150)
    darker = level - gap >= 0 and (level + gap > 255 or rng.random() < 0.5)
    tint = rng.normal(0, 25, 3)
    target = (level - gap if darker else level + gap) + tint - tint.mean()
    return np.clip(target, 0, 255).astype(np.float32)


def find_place(rng: np.random.Generator, boxes: list[list[int]], canvas: tuple[int, int],
               shape: tuple[int, ...]) -> list[int] | None:
    """Finds a place that hides at most a fifth of either of two digits.

    Args:
        rng: Source of draws.
        boxes: Boxes already placed, `[x, y, w, h]` in px.
        canvas: Canvas (h, w).
        shape: Digit (h, w).

    Returns:
        The box `[x, y, w, h]`, or None after 30 attempts.
    """
    height, width = shape
    if height > canvas[0] or width > canvas[1]:
        return None
    for _ in range(30):
        x = int(rng.integers(0, canvas[1] - width + 1))
        y = int(rng.integers(0, canvas[0] - height + 1))
        for bx, by, bw, bh in boxes:
            shared_w = min(x + width, bx + bw) - max(x, bx)
            shared_h = min(y + height, by + bh) - max(y, by)
            shared = max(shared_w, 0) * max(shared_h, 0)
            if shared > 0.2 * min(width * height, bw * bh):
                break
        else:
            return [x, y, width, height]
    return None


def draw_image(rng: np.random.Generator, scans: np.ndarray, labels: np.ndarray,
               sources: np.ndarray, size: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Draws one image.

    Args:
        rng: Source of draws.
        scans: All source digits, shape (n, 8, 8).
        labels: Their classes, shape (n,).
        sources: Indices that this subset may use.
        size: Shortest canvas side in px.

    Returns:
        The uint8 BGR image, and per digit a dict of `bbox` ([x, y, w, h] around its ink),
        `category_id` and `source`.
    """
    height, width = (int(v) for v in rng.integers(size, int(1.2 * size) + 1, 2))
    image = draw_background(rng, height, width)
    placed: list[dict[str, Any]] = []
    for source in rng.choice(sources, rng.integers(3, 7), replace=False):
        digit_h = size * np.exp(rng.uniform(np.log(0.15), np.log(0.34)))
        digit_w = digit_h * rng.uniform(0.8, 1.2)
        alpha = enlarge(scans[source], round(digit_h), round(digit_w))
        box = find_place(rng, [p['bbox'] for p in placed], (height, width), alpha.shape)
        if box is None:
            continue
        x, y, w, h = box
        ground = image[y:y + h, x:x + w]
        ground += (draw_ink(rng, ground) - ground) * alpha[..., None]
        placed.append(dict(bbox=box, category_id=int(labels[source]), source=int(source)))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), placed


def write_subset(root: Path, name: str, sources: np.ndarray, settings: Settings) -> None:
    """Writes `root/NAME/*.jpg` and `root/annotations/NAME.json`."""
    import cv2
    from sklearn.datasets import load_digits
    digits = load_digits()
    stream = ('train', 'val').index(name) + 1
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (root / name).mkdir()
    for index in range(getattr(settings, name)):
        rng = np.random.default_rng([settings.seed, stream, index])
        image, placed = draw_image(rng, digits.images, digits.target, sources, settings.size)
        file_name = f'{index:06d}.jpg'
        encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        (root / name / file_name).write_bytes(encoded.tobytes())
        height, width = image.shape[:2]
        images.append(dict(id=index + 1, file_name=file_name, height=height, width=width))
        for item in placed:
            annotations.append(dict(item, id=len(annotations) + 1, image_id=index + 1, iscrowd=0,
                                    area=item['bbox'][2] * item['bbox'][3]))
    categories = [dict(id=label, name=text) for label, text in enumerate(CLASSES)]
    content = dict(info=dict(description=f'handwritten digits, {name}'), images=images,
                   annotations=annotations, categories=categories)
    (root / 'annotations' / f'{name}.json').write_text(json.dumps(content))


def describe(root: Path, settings: Settings) -> dict[str, Any]:
    """Describes what lies in `root`: each image's size in bytes, both annotations' SHA-256.

    The program's own SHA-256 is part of it: another version of this file builds anew.
    """
    files: dict[str, int | str] = {}
    for path in sorted([*root.glob('*/*.jpg'), *root.glob('*/*.json')]):
        image = path.suffix == '.jpg'
        digest = path.stat().st_size if image else hashlib.sha256(path.read_bytes()).hexdigest()
        files[path.relative_to(root).as_posix()] = digest
    program = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return dict(generator='make_digits', program=program, settings=asdict(settings), files=files)


def read_manifest(out: Path) -> dict[str, Any] | None:
    """Reads a data set's manifest, or None where there is no manifest of this tool."""
    try:
        manifest = json.loads((out / MANIFEST).read_text())
        return manifest if manifest['generator'] == 'make_digits' else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def make_digits(out: Path, settings: Settings) -> bool:
    """Builds the data set at `out`, unless it is there already.

    Args:
        out: Folder of the data set. A data set of other settings is replaced.
        settings: What to build.

    Returns:
        True if it was built, False if it was there.

    Raises:
        FileExistsError: If `out` holds something that this tool did not write.
    """
    manifest = read_manifest(out)
    if manifest == describe(out, settings):
        return False
    if manifest is None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f'{out} exists and was not written by make_digits: '
                              'remove it or choose another --out')
    from sklearn.datasets import load_digits
    out.parent.mkdir(parents=True, exist_ok=True)
    build = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        new = build / 'new'
        (new / 'annotations').mkdir(parents=True)
        train, val = split_sources(load_digits().target, settings.seed)
        write_subset(new, 'train', train, settings)
        write_subset(new, 'val', val, settings)
        (new / MANIFEST).write_text(json.dumps(describe(new, settings), indent=1))
        if out.exists():
            os.rename(out, build / 'old')
        os.rename(new, out)
    finally:
        shutil.rmtree(build, ignore_errors=True)
    return True


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Prints one line without the usage and exits with status 2."""
        self.exit(2, f'{self.prog}: error: {message}\n')


def main(argv: list[str] | None = None) -> int:
    """Builds the data set that the command line asks for."""
    parser = OneLineParser(prog='make_digits.py', description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, required=True, help='folder of the data set')
    for name, text in (('train', 'training images'), ('val', 'validation images'),
                       ('size', 'shortest canvas side, px'), ('seed', 'seed of every draw')):
        parser.add_argument(f'--{name}', type=int, default=getattr(Settings, name),
                            help=f'{text} (%(default)s)')
    args = parser.parse_args(argv)
    try:
        settings = Settings(args.train, args.val, args.size, args.seed)
        built = make_digits(args.out, settings)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f'{args.out}: {"built" if built else "already there"}, {settings.train} train and '
          f'{settings.val} val images, seed {settings.seed}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
