"""Contact sheets: pictures in pairs or alone, with a title and captions, pixel for pixel."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..plan.errors import TrickError

__all__ = ['Panel', 'png', 'sheet']

_MARGIN, _GAP, _LINE = 16, 12, 15  # px
_INK, _FAINT, _PAPER = '#1c2024', '#5b636b', '#ffffff'


@dataclasses.dataclass(frozen=True)
class Panel:
    """A picture with what stands above and below it.

    Attributes:
        image: uint8 RGB, ``(h, w, 3)``.
        head: One line above it.
        caption: Below it; broken into lines that fit.
    """

    image: np.ndarray
    head: str = ''
    caption: str = ''


def sheet(title: str, rows: Sequence[Sequence[Panel]], title_lines: Sequence[str] = ()) -> Any:
    """Sets panels in rows, with columns of equal width.

    Args:
        title: The first line.
        rows: The panels; rows may be of different lengths.
        title_lines: Smaller lines below the title.

    Returns:
        A PIL image.

    Raises:
        TrickError: If Pillow is not installed.
    """
    pil = _pil()
    fonts = {size: _font(pil, size) for size in (11, 12, 16)}
    columns = max(len(row) for row in rows)
    width = max(panel.image.shape[1] for row in rows for panel in row)
    total = 2 * _MARGIN + columns * width + (columns - 1) * _GAP
    above = [(16, _INK, line) for line in _wrapped(title, fonts[16], total - 2 * _MARGIN)]
    above += [(11, _FAINT, part) for line in title_lines
              for part in _wrapped(line, fonts[11], total - 2 * _MARGIN)]
    captions = [[_wrapped(panel.caption, fonts[11], width) for panel in row] for row in rows]
    heights = [max(panel.image.shape[0] for panel in row) + _LINE + 6
               + _LINE * max(len(lines) for lines in captions[number])
               for number, row in enumerate(rows)]
    top = _MARGIN + sum(size + 6 for size, _, _ in above) + 4
    picture = pil.Image.new('RGB', (total, top + sum(heights) + _GAP * len(rows) + 4), _PAPER)
    pen = pil.ImageDraw.Draw(picture)
    y = _MARGIN - 6
    for size, color, line in above:
        pen.text((_MARGIN, y), line, fill=color, font=fonts[size])
        y += size + 6
    y = top
    for row, lines, height in zip(rows, captions, heights, strict=True):
        inner = max(panel.image.shape[0] for panel in row)
        for column, panel in enumerate(row):
            x = _MARGIN + column * (width + _GAP)
            pen.text((x, y), _cut(panel.head, fonts[12], width), fill=_INK, font=fonts[12])
            picture.paste(pil.Image.fromarray(panel.image), (x, y + _LINE + 3))
            for number, line in enumerate(lines[column]):
                pen.text((x, y + _LINE + 6 + inner + number * _LINE), line, fill=_FAINT,
                         font=fonts[11])
        y += height + _GAP
    return picture


def png(picture: Any) -> bytes:
    """A PIL image as a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, format='PNG', optimize=True)
    return stream.getvalue()


def _pil() -> Any:
    try:
        import PIL
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    except ImportError:
        raise TrickError('a sheet needs Pillow: pip install pillow') from None
    return PIL


def _font(pil: Any, size: int) -> Any:
    """The font that comes with matplotlib; without it Pillow's own, before 10.1 of one size."""
    found = importlib.util.find_spec('matplotlib')
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder, 'mpl-data', 'fonts', 'ttf', 'DejaVuSans.ttf')
        if path.is_file():
            return pil.ImageFont.truetype(str(path), size)
    try:
        return pil.ImageFont.load_default(size=size)
    except TypeError:
        return pil.ImageFont.load_default()


def _wrapped(text: str, font: Any, width: float) -> list[str]:
    """Lines of words that fit a width in px."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f'{lines[-1]} {word}') <= width:
            lines[-1] = f'{lines[-1]} {word}'
        else:
            lines.append(_cut(word, font, width))
    return lines


def _cut(text: str, font: Any, width: float) -> str:
    """The end of a text that fits a width in px: of a path its name."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f'...{text}') > width:
        text = text[1:]
    return f'...{text}'
