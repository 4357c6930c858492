"""Draws what detection mixup does: two images, their canvas, and each box with its weight.

    python examples/mixup_picture.py [--out docs/mixup.png] [--lam 0.6]
    python examples/mixup_picture.py --out OUT.png --images A.jpg B.jpg \
        --boxes1 'cat 20 30 200 180' --boxes2 'dog 10 10 90 120' 'dog 99 10 180 120'

Without ``--images`` two simple scenes are drawn. Canvas, boxes and weights come from the functions
that train. The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np

from tricks_plugin.functional import blend, concat_annotations

COLOURS = ('#ffb000', '#4fc3ff')  # of the first and the second image's boxes
MARGIN, GAP, HEAD, FOOT = 30, 56, 84, 44  # px around and between the panels
SCALE = 4  # the scenes are drawn so much larger


@dataclass(frozen=True)
class Scene:
    """An image with its boxes.

    Attributes:
        image: uint8 RGB, (h, w, 3).
        boxes: Corners x1, y1, x2, y2 in px, float32 (n, 4).
        labels: Class names, (n,).
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Panel:
    """A picture's part: an image at a place, and its boxes.

    Attributes:
        x: Left edge in the picture, px.
        y: Upper edge in the picture, px.
        image: uint8 RGB, (h, w, 3).
        title: Line above it.
        boxes: Corners in the image, (n, 4).
        tags: What stands at each box.
        colours: Colour of each box.
    """

    x: int
    y: int
    image: np.ndarray
    title: str
    boxes: np.ndarray
    tags: list[str]
    colours: list[str]


class Pen:
    """Draws smooth filled shapes, in px of the final image, on a larger one."""

    def __init__(self, width: int, height: int, top: tuple[int, ...], bottom: tuple[int, ...]):
        ramp = np.linspace(0, 1, height * SCALE, dtype=np.float32)[:, None, None]
        rows = np.array(top) * (1 - ramp) + np.array(bottom) * ramp
        self.large = np.repeat(rows, width * SCALE, 1).round().astype(np.uint8)
        self.size = (width, height)

    def polygon(self, colour: tuple[int, ...], *points: tuple[float, float]) -> None:
        """Fills a polygon."""
        corners = np.rint(np.array(points) * SCALE).astype(np.int32)
        cv2.fillPoly(self.large, [corners], colour)

    def box(self, colour: tuple[int, ...], x1: float, y1: float, x2: float, y2: float) -> None:
        """Fills a rectangle."""
        self.polygon(colour, (x1, y1), (x2, y1), (x2, y2), (x1, y2))

    def oval(self, colour: tuple[int, ...], x: float, y: float, rx: float, ry: float) -> None:
        """Fills an ellipse around a centre."""
        centre, axes = (round(x * SCALE), round(y * SCALE)), (round(rx * SCALE), round(ry * SCALE))
        cv2.ellipse(self.large, centre, axes, 0, 0, 360, colour, -1)

    def done(self) -> np.ndarray:
        """The image, uint8 RGB."""
        return cv2.resize(self.large, self.size, interpolation=cv2.INTER_AREA)


def scene(pen: Pen, *boxes: tuple[Any, ...]) -> Scene:
    """A scene of a drawing and its boxes, each a class name and four corners."""
    corners = np.array([box[1:] for box in boxes], np.float32).reshape(-1, 4)
    return Scene(pen.done(), corners, np.array([box[0] for box in boxes], str))


def street() -> Scene:
    """A wide image: a car and a tree by day."""
    pen = Pen(380, 264, (120, 180, 235), (215, 235, 250))
    pen.oval((255, 240, 170), 335, 40, 20, 20)
    pen.oval((150, 190, 130), 70, 200, 170, 60)
    pen.oval((130, 175, 115), 310, 205, 170, 55)
    pen.box((96, 100, 108), 0, 196, 380, 264)
    for x in range(-10, 380, 70):
        pen.box((225, 225, 215), x, 234, x + 36, 239)
    pen.box((112, 80, 56), 305, 130, 319, 200)
    for x, y, radius in ((312, 92, 36), (287, 112, 26), (338, 112, 26), (312, 122, 30)):
        pen.oval((58, 128, 72), x, y, radius, radius)
    pen.polygon((196, 52, 48), (62, 172), (84, 140), (150, 140), (176, 172))
    pen.polygon((205, 228, 240), (73, 170), (90, 146), (114, 146), (114, 170))
    pen.polygon((205, 228, 240), (120, 170), (120, 146), (146, 146), (164, 170))
    pen.box((196, 52, 48), 34, 170, 200, 206)
    pen.box((250, 232, 150), 190, 176, 200, 186)
    for x in (72, 162):
        pen.oval((36, 36, 40), x, 206, 19, 19)
        pen.oval((170, 172, 178), x, 206, 9, 9)
    return scene(pen, ('car', 34, 140, 200, 225), ('tree', 261, 56, 364, 200))


def evening() -> Scene:
    """A tall image: a person with a dog at dusk."""
    pen = Pen(250, 340, (74, 58, 110), (240, 160, 110))
    pen.oval((255, 214, 150), 60, 150, 26, 26)
    pen.polygon((92, 68, 96), (0, 250), (80, 170), (160, 236), (250, 180), (250, 290), (0, 290))
    pen.box((112, 140, 96), 0, 268, 250, 340)
    for side in (-13, 13):
        pen.box((64, 74, 140), 185 + side - 9, 224, 185 + side + 9, 314)
        pen.box((32, 28, 34), 185 + side - 11, 310, 185 + side + 13, 320)
    pen.polygon((232, 196, 70), (161, 142), (209, 142), (213, 236), (157, 236))
    pen.polygon((220, 182, 60), (161, 142), (150, 150), (133, 214), (143, 219), (166, 176))
    pen.polygon((220, 182, 60), (209, 142), (220, 150), (226, 216), (215, 218), (204, 176))
    pen.oval((226, 178, 146), 185, 117, 19, 23)
    pen.oval((58, 38, 32), 185, 103, 20, 13)
    pen.polygon((30, 26, 30), (136, 214), (138, 218), (92, 262), (90, 259))
    pen.oval((140, 92, 60), 66, 284, 34, 16)
    for x in (40, 52, 80, 92):
        pen.box((126, 80, 52), x - 4, 288, x + 4, 320)
    pen.oval((150, 100, 66), 98, 264, 17, 14)
    pen.oval((50, 34, 30), 113, 268, 4, 4)
    pen.polygon((104, 64, 44), (86, 252), (96, 250), (90, 276), (82, 272))
    pen.polygon((140, 92, 60), (36, 278), (18, 254), (24, 250), (44, 272))
    return scene(pen, ('person', 132, 90, 227, 321), ('dog', 18, 249, 118, 321))


def layout(first: Scene, second: Scene, lam: float) -> list[Panel]:
    """The two images and their canvas, from left to right."""
    canvas = blend(first.image, second.image, lam)
    joined = concat_annotations(dict(boxes=first.boxes, labels=first.labels),
                                dict(boxes=second.boxes, labels=second.labels), lam)
    tags = [f'{label}  {weight:.2f}'
            for label, weight in zip(joined['labels'], joined['weights'], strict=True)]
    counts = len(first.boxes), len(second.boxes)
    x2 = MARGIN + first.image.shape[1] + GAP
    x3 = x2 + second.image.shape[1] + GAP
    return [
        Panel(MARGIN, HEAD, first.image, 'image 1', first.boxes, list(first.labels),
              [COLOURS[0]] * counts[0]),
        Panel(x2, HEAD, second.image, 'image 2', second.boxes, list(second.labels),
              [COLOURS[1]] * counts[1]),
        Panel(x3, HEAD, canvas, f'canvas: {lam:.2f} of image 1, {1 - lam:.2f} of image 2',
              joined['boxes'], tags,
              [COLOURS[0]] * counts[0] + [COLOURS[1]] * counts[1])]


def draw(panels: list[Panel], lam: float, out: Path) -> tuple[int, int]:
    """Draws the panels into a PNG file; returns its width and height in px."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    width = panels[-1].x + panels[-1].image.shape[1] + MARGIN
    height = HEAD + panels[-1].image.shape[0] + FOOT
    style = {'font.family': 'DejaVu Sans', 'font.size': 9}
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **style}):
        figure = Figure((width / 100, height / 100), dpi=100, facecolor='white')
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), frameon=False, zorder=1, xlim=(0, width),
                               ylim=(height, 0))
        axes.set_axis_off()
        for panel in panels:  # pixel for pixel
            figure.figimage(panel.image, panel.x, height - panel.y - panel.image.shape[0])
            _draw_boxes(axes, panel)
            axes.text(panel.x, panel.y - 9, panel.title, color='#333333', fontsize=10)
        middle = HEAD + max(panel.image.shape[0] for panel in panels[:2]) / 2
        for sign, panel in zip('+=', panels, strict=False):
            axes.text(panel.x + panel.image.shape[1] + GAP / 2, middle, sign, fontsize=22,
                      ha='center', va='center', color='#555555')
        axes.text(MARGIN, 38, f'Geometry-preserving mixup, lam = {lam:.2f}', fontsize=14,
                  weight='bold', color='#111111')
        axes.text(width - MARGIN, height - 16, 'No box moves; a box weighs what its image does.',
                  ha='right', color='#333333')
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=100, metadata={'Software': None})
    return width, height


def _draw_boxes(axes: Any, panel: Panel) -> None:
    from matplotlib.patches import Rectangle
    for (x1, y1, x2, y2), tag, colour in zip(panel.boxes.tolist(), panel.tags, panel.colours,
                                             strict=True):
        corner, size = (panel.x + x1, panel.y + y1), (x2 - x1, y2 - y1)
        for line, tint in ((4.0, '#00000099'), (2.0, colour)):
            axes.add_patch(Rectangle(corner, *size, fill=False, linewidth=line * 0.72,
                                     edgecolor=tint))
        inside = y1 < 18
        axes.text(corner[0] + 4, corner[1] + (3 if inside else -4), tag, color='#111111',
                  va='top' if inside else 'bottom', weight='bold',
                  bbox=dict(facecolor=colour, edgecolor='none', pad=2.2))


def read_scene(path: Path, texts: list[str], largest: int = 380) -> Scene:
    """Reads an image, with boxes given as ``NAME X1 Y1 X2 Y2``, shrunk to fit the picture.

    Raises:
        ValueError: If the image cannot be read or a box is wrong.
    """
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f'{path} is not an image that OpenCV can read')
    shrink = min(1.0, largest / max(image.shape[:2]))
    names, corners = [], []
    for text in texts:
        name, *numbers = text.split()
        try:
            x1, y1, x2, y2 = (float(number) for number in numbers)
        except ValueError:
            raise ValueError(f"a box must be 'NAME X1 Y1 X2 Y2', got {text!r}") from None
        names.append(name)
        corners.append([shrink * value for value in (x1, y1, x2, y2)])
    size = tuple(max(1, round(shrink * side)) for side in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return Scene(np.ascontiguousarray(small[..., ::-1]),
                 np.array(corners, np.float32).reshape(-1, 4), np.array(names, str))


def scenes(args: argparse.Namespace) -> Iterator[Scene]:
    """The two scenes that the command line asks for."""
    if args.images is None:
        yield from (street(), evening())
        return
    for path, texts in zip(args.images, (args.boxes1, args.boxes2), strict=True):
        yield read_scene(path, texts)


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Prints one line without the usage and exits with status 2."""
        self.exit(2, f'{self.prog}: error: {message}\n')


def main(argv: list[str] | None = None) -> int:
    """Draws the picture that the command line asks for."""
    parser = OneLineParser(prog='mixup_picture.py', description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path('docs/mixup.png'), help='PNG to write')
    parser.add_argument('--lam', type=float, default=0.6, help='share of image 1 (%(default)s)')
    parser.add_argument('--images', type=Path, nargs=2, metavar=('A', 'B'), help='your own')
    for number in '12':
        parser.add_argument(f'--boxes{number}', nargs='+', default=[], metavar='BOX',
                            help=f"boxes of your image {number}: 'NAME X1 Y1 X2 Y2'")
    args = parser.parse_args(argv)
    if args.images is None and (args.boxes1 or args.boxes2):
        parser.error('--boxes1 and --boxes2 belong to --images A B')
    try:
        first, second = scenes(args)
        width, height = draw(layout(first, second, args.lam), args.lam, args.out)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f'{args.out}: {width} x {height} px, lam {args.lam:g}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
