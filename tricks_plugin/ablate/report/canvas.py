"""Drawing for the report: figures in CSS pixels, and SVG that takes its colours from the page."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .labels import Place, beside, spread

__all__ = ['COLOURS', 'NARROW', 'WIDE', 'Canvas', 'Plot', 'style', 'svg']

WIDE, NARROW = 920, 350
# Drawn in these, and replaced by the page's variables of the same names: all differ.
COLOURS = {'ink': '#1d2433', 'muted': '#5a6373', 'line': '#d8dde6', 'base': '#7d8798',
           'gain': '#0f7668', 'loss': '#b0411a', 'unsure': '#5c687f', 'accent': '#2b59c3'}
_RC = {'svg.fonttype': 'none', 'svg.hashsalt': 'tricks', 'text.parse_math': False,
       'font.family': 'DejaVu Sans', 'axes.unicode_minus': True, 'path.simplify': False}


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure with what is said of it.

    Attributes:
        name: Unique in the page, for ids.
        title: What it shows, in a few words.
        caption: How it is read.
        wide: For windows from 700 px on.
        narrow: For phones.
    """

    name: str
    title: str
    caption: str
    wide: Canvas
    narrow: Canvas

    def svg(self) -> list[tuple[str, str]]:
        """Both pictures, by the class that shows them."""
        return [(kind, svg(canvas.figure, f'{self.name}-{kind}', self.title))
                for kind, canvas in (('wide', self.wide), ('narrow', self.narrow))]


class Canvas:
    """A figure measured in pixels from its upper left corner.

    Args:
        width: In pixels.
        height: In pixels.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        self.figure.patch.set_visible(False)
        FigureCanvasAgg(self.figure)

    @property
    def renderer(self) -> Any:
        """What measures texts."""
        return self.figure.canvas.get_renderer()  # type: ignore[attr-defined]

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes without a frame, with light grid lines."""
        ax = self.figure.add_axes((left / self.width, 1 - (top + height) / self.height,
                                   width / self.width, height / self.height))
        ax.patch.set_visible(False)
        for side in ax.spines.values():
            side.set_visible(False)
        ax.tick_params(length=0, labelsize=11, labelcolor=COLOURS['muted'], pad=6)
        ax.tick_params('x', pad=10)  # clear of a label at the lower end of the other axis
        ax.set_axisbelow(True)
        return ax

    def text(self, x: float, y: float, content: str, room: float, colour: str = 'ink',
             size: float = 12, align: str = 'left', weight: str = 'normal') -> None:
        """A text around the height ``y``, shortened to ``room`` pixels."""
        self.figure.text(
            x / self.width, 1 - y / self.height, self.fit(content, room, size, weight), size=size,
            color=COLOURS[colour], ha=align, va='center', weight=weight, parse_math=False)

    def fit(self, content: str, room: float, size: float, weight: str = 'normal') -> str:
        """The text in so many pixels, with an ellipsis in its middle where it is longer."""
        if _wide(content, size, weight) <= room:
            return content

        def short(kept: int) -> str:
            tail = kept // 2
            return f'{content[:kept - tail].rstrip()}…{content[len(content) - tail:].lstrip()}'
        low, high = 0, len(content) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if _wide(short(middle), size, weight) <= room:
                low = middle
            else:
                high = middle - 1
        return short(low)

    def ticks(self, axis: Any, length: float, spacing: float, whole: bool = False) -> None:
        """Few round ticks at least ``spacing`` pixels apart; the axis must have its limits."""
        locator = MaxNLocator(nbins=max(1, int(length // spacing)), steps=[1, 2, 5, 10],
                              min_n_ticks=1, integer=whole)
        marks = locator.tick_values(*axis.get_view_interval())
        step = abs(marks[1] - marks[0]) if len(marks) > 1 else 1.0
        digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step else 0
        axis.set_major_locator(locator)
        axis.set_major_formatter(FuncFormatter(
            lambda value, _: f'{value + 0.0:,.{digits}f}'.replace(',', ' ').replace('-', '−')))

    def widen(self, ax: Axes, texts: Sequence[str], width: float, left: bool = False) -> None:
        """Moves the limits of x out, so that labels find room to the right, or on both sides.

        Args:
            ax: Its limits must be set; its scale may be logarithmic.
            texts: The labels.
            width: Of the axes, in pixels.
            left: Whether to move the left limit too.
        """
        wide = max((_wide(text, 11, 'normal') for text in texts), default=0.0)
        part = min(0.3, (wide + 14) / width)
        low, high = ax.get_xlim()
        log = ax.get_xscale() == 'log'
        if log:
            low, high = math.log(low), math.log(high)
        span = (high - low) / (1 - part * (2 if left else 1))
        ends = (low - part * span if left else low, high + part * span)
        ax.set_xlim(*map(math.exp, ends) if log else ends)

    def labels(self, ax: Axes, points: Sequence[tuple[float, float, str, str]],
               lines: Sequence[tuple[Place, Place]] = (), others: Sequence[Place] = (),
               most: float = math.inf) -> bool:
        """Writes labels next to their points, if they all find room there.

        Args:
            ax: Where the points are; its limits must be set.
            points: x, y, text and colour.
            lines: Ends of lines on the axes that labels should not cover.
            others: Marks without a label, which labels must not cover.
            most: How many of a line's 25 points a label may cover.

        Returns:
            Whether they found room; if not, nothing is written.
        """
        box = ax.get_position()
        bounds = (box.x0 * self.width, (1 - box.y1) * self.height, box.x1 * self.width,
                  (1 - box.y0) * self.height)
        room = 0.6 * (bounds[2] - bounds[0])
        texts = [self.fit(content, room, 11) for _, _, content, _ in points]
        places = beside([self._pixel(ax, point[:2]) for point in points],
                        [_wide(text, 11, 'normal') for text in texts], 16, bounds,
                        [(self._pixel(ax, a), self._pixel(ax, b)) for a, b in lines],
                        [self._pixel(ax, point) for point in others], most)
        if places is None:
            return False
        for text, place, (_, _, _, colour) in zip(texts, places, points, strict=True):
            self.text(*place, text, math.inf, colour, 11)
        return True

    def _pixel(self, ax: Axes, point: Place) -> Place:
        x, y = ax.transData.transform(point)
        return float(x), self.height - float(y)

    def side_labels(self, ax: Axes, points: Sequence[tuple[float, float, str, str]], left: float,
                    room: float) -> None:
        """Labels in a column beside the axes, with lines to their points.

        Args:
            ax: Where the points are; its limits must be set.
            points: x, y, text and colour.
            left: Where the column begins, in pixels.
            room: Its width.
        """
        box = ax.get_position()
        top, bottom = (1 - box.y1) * self.height, (1 - box.y0) * self.height
        places = [self._pixel(ax, point[:2]) for point in points]
        heights = spread([y for _, y in places], 17.0, top + 6, bottom - 6)
        for (_, _, content, colour), (x, y), height in zip(points, places, heights, strict=True):
            self.text(left + 16, height, content, room - 16, colour, 11)
            self.line([x + 7, left, left + 12], [y, height, height])

    def line(self, xs: Iterable[float], ys: Iterable[float]) -> None:
        """A thin line through points in pixels."""
        from matplotlib.lines import Line2D
        self.figure.add_artist(Line2D(
            [x / self.width for x in xs], [1 - y / self.height for y in ys],
            color=COLOURS['base'], lw=0.7, alpha=0.7, zorder=0))


@functools.lru_cache(maxsize=4096)
def _wide(content: str, size: float, weight: str = 'normal') -> float:
    """The width of a text in pixels."""
    font = FontProperties(family='DejaVu Sans', size=size, weight=weight)
    return float(RendererAgg(1, 1, 72).get_text_width_height_descent(content, font, False)[0])


def style() -> Any:
    """The settings under which figures are made and written."""
    return matplotlib.rc_context(_RC)


def svg(figure: Figure, name: str, title: str) -> str:
    """A figure as an SVG element for an HTML page.

    Texts stay texts, ids begin with ``name``, colours are the page's variables, and nothing
    refers to another file or address.

    Args:
        figure: The figure.
        name: Unique in the page.
        title: What a screen reader says.
    """
    stream = io.StringIO()
    with style():
        figure.savefig(stream, format='svg', transparent=True)
    text = re.sub(r'<metadata>.*?</metadata>|<!--.*?-->', '', stream.getvalue(), flags=re.S)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', '', text[text.index('<svg'):])
    text = text.replace('xlink:href=', 'href=')
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"'
                  if found[1] in used else '', text)
    text = re.sub(r'(url\(|href=")#', rf'\g<1>#{name}-', text)
    for word, colour in COLOURS.items():
        text = text.replace(colour, f'var(--{word})')
    text = re.sub(r"font: ((?:\w+ )*)([\d.]+px) [^;\"]*", _font, text)
    text = re.sub(r" font-family: [^;\"]*;?", '', text)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    head = (f'<svg class="plot" {box.group()} role="img" aria-labelledby="{name}-title">'
            f'<title id="{name}-title">{escape(title)}</title>')
    return re.sub(r'<svg[^>]*>', lambda _: head, text, count=1)


def _font(found: re.Match[str]) -> str:
    weight = 'font-weight: 600; ' if 'bold' in found[1] or '700' in found[1] else ''
    return f'{weight}font-size: {found[2]}'
