"""Contact sheets: every picture lies pixel for pixel where the arithmetic says."""

from __future__ import annotations

import io

import numpy as np
import pytest

pil_image = pytest.importorskip('PIL.Image')

from tricks_plugin.pictures.samples import Pictures  # noqa: E402
from tricks_plugin.pictures.sheet import Panel, png, sheet  # noqa: E402


def panel(level, h=40, w=100, **words):
    return Panel(np.full((h, w, 3), level, np.uint8), **words)


def test_panels_stand_in_columns_of_the_widest():
    rows = [[panel(10), panel(20, w=80)], [panel(30, h=20)]]
    picture = sheet('a title', rows)
    assert picture.width == 16 + 100 + 12 + 100 + 16
    pixels = np.asarray(picture)
    # 16 of margin, the title's 16 + 6, 4; a head of 15 + 3 above each picture
    top = 16 + 22 + 4 + 18
    assert (pixels[top:top + 40, 16:116] == 10).all()
    assert (pixels[top:top + 40, 128:208] == 20).all() and (pixels[top, 208:228] == 255).all()
    # the row's 40, 15 + 6 beside it, 12 between rows
    below = top + 40 + 21 + 12
    assert (pixels[below:below + 20, 16:116] == 30).all()
    reread = np.asarray(pil_image.open(io.BytesIO(png(picture))))
    assert (reread == pixels).all()


def test_captions_make_a_row_higher_and_never_leave_their_column():
    words = 'a caption of many words that does not fit one line of a hundred pixels'
    short, long = (sheet('t', [[panel(0, caption=text, head='x' * 90)]]) for text in ('', words))
    assert long.height - short.height >= 3 * 15 and long.width == short.width == 132
    assert (np.asarray(long)[:, 117:] == 255).all()


def test_samples_stand_beside_each_other_in_a_sheet():
    rows = [[panel(number), panel(number + 1)] for number in range(0, 10, 2)]
    found = Pictures('t', [], rows, {}, across=2).sheet_rows()
    assert [[int(one.image[0, 0, 0]) for one in row] for row in found] == [
        [0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
