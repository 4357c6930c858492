"""The plots: no text on another or outside, colours from the page, labels in their places."""

import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axis import Axis
from matplotlib.text import Text
from support import ablate

from tricks_plugin.ablate.analysis import analyse
from tricks_plugin.ablate.report.canvas import NARROW, Canvas, svg
from tricks_plugin.ablate.report.html import figures
from tricks_plugin.ablate.report.labels import beside, spread

LONG = tuple(f'a_rather_long_name_of_a_trick_{number}_of_eleven' for number in range(1, 12))


def long():
    """Twelve rungs with long names, and losses."""
    return ablate.make_study([(-0.3 * i, 0.2 * i - 1, 0.5 - 0.1 * i) for i in range(11)], LONG)


def loss():
    """A metric of which less is better, in small numbers, with two seeds: wide intervals."""
    study = ablate.make_study([(-1.0, -1.2), (2.0, 1.0)], ('mixup', 'ema'), base=(61.0, 62.0))
    return dataclasses.replace(study, greater=False, factor=0.01, unit='nats', metric='loss')


def crowd():
    """Models in one place, where labels must go into a column, on logarithmic axes."""
    return ablate.zoo([(f'model_with_a_long_name_{i}', 70 + 0.01 * i, (-1) ** i * 1.1,
                        100 * 2.0 ** (i % 2), 300 + 9000 * (i > 7)) for i in range(9)], (0, 1))


def unmeasured():
    """Models without throughput, one of which has no result."""
    study = ablate.zoo(seeds=(0,))
    subjects = tuple(dataclasses.replace(one, images_per_s=None) for one in study.subjects)
    return dataclasses.replace(study, subjects=subjects, runs=study.runs[2:])


STACK = ablate.STACK
STUDIES = {'stack': ablate.make_study, 'troubled': ablate.troubled, 'zoo': ablate.zoo,
           'long': long, 'loss': loss,
           'one seed': lambda: ablate.make_study([(-1.0,)] * 2, STACK[:2], 'single', (61.0,)),
           'equal': lambda: ablate.make_study([(0.0, 0.0)], ('ema',), base=(50.0, 50.0)),
           'crowd': crowd, 'unmeasured': unmeasured}


@pytest.fixture(scope='module')
def drawn():
    """The plots of a study by its name, made once."""
    made = {}

    def plots(name):
        if name not in made:
            made[name] = figures(analyse(STUDIES[name]()))
        return made[name]
    return plots


def visible_texts(canvas):
    """Every text that is drawn, with its box in pixels; ticks outside of the axes are not."""
    canvas.figure.canvas.draw()
    hidden = set()
    for axis in canvas.figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        for tick, place in zip(axis.get_major_ticks(), axis.get_majorticklocs(), strict=False):
            if not low - 1e-9 <= place <= high + 1e-9:
                hidden |= {tick.label1, tick.label2}
    texts = [text for text in canvas.figure.findobj(Text)
             if text.get_visible() and text.get_text().strip() and text not in hidden]
    return [(text.get_text(), text.get_window_extent(canvas.renderer)) for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize('name', STUDIES)
def test_no_text_lies_on_another_or_outside(drawn, name):
    plots = drawn(name)
    assert 'steps0' in plots and 'curves0' in plots
    for plot in plots.values():
        for canvas in (plot.wide, plot.narrow):
            texts = visible_texts(canvas)
            assert len(texts) > 3
            for index, (text, box) in enumerate(texts):
                assert box.x0 >= -1 and box.y0 >= -1, (plot.name, text)
                assert box.x1 <= canvas.width + 1 and box.y1 <= canvas.height + 1, (plot.name, text)
                for other, beside_it in texts[index + 1:]:
                    assert not box.padded(-0.5).overlaps(beside_it), (plot.name, text, other)


@pytest.mark.parametrize('name', ['stack', 'zoo'])
def test_colours_are_the_pages_and_ids_are_of_one_plot(drawn, name):
    ids = []
    for plot in drawn(name).values():
        for kind, text in plot.svg():
            assert not re.search(r'#[0-9a-fA-F]{6}\b', text), re.search(r'#[0-9a-f]{6}', text)
            assert 'http' not in text and 'metadata' not in text
            assert 'font-family' not in text and 'DejaVu' not in text
            found = re.findall(r'\bid="([^"]+)"', text)
            assert all(one.startswith(f'{plot.name}-{kind}-') for one in found)
            ids += found
            assert '<text' in text
    assert len(ids) == len(set(ids))


def test_two_arms_of_several_models_are_a_chart_too():
    study = dataclasses.replace(ablate.zoo(), mode='arms')
    plots = figures(analyse(study))
    assert 'each model “without” (hollow) to the same “with the bag” (full)' in (
        plots['models'].caption)
    for mode in ('stack', 'single'):  # where rungs of two subjects may be of other tricks
        assert 'models' not in figures(analyse(dataclasses.replace(study, mode=mode)))
    first, *rest = study.subjects
    other = dataclasses.replace(first, rungs=(first.rungs[0], dataclasses.replace(
        first.rungs[1], name='other')))
    assert not dataclasses.replace(study, subjects=(other, *rest)).pairs
    three = dataclasses.replace(study, subjects=tuple(dataclasses.replace(
        one, rungs=(*one.rungs, ablate.Rung('more', 'more', 'ema', 'without')))
        for one in study.subjects))
    assert 'models' not in figures(analyse(three))


def test_a_model_without_a_result_has_no_arrow_and_is_named():
    study = ablate.zoo()
    dead = tuple(dataclasses.replace(run, checks=(ablate.TrickCheck('mixup', False, 'none'),))
                 if (run.subject, run.rung, run.seed) == ('repvgg-a0', 'with', 1) else run
                 for run in study.runs)
    failed = tuple(dataclasses.replace(run, status='failed', value=None)
                   if run.subject == 'resnet-18' else run for run in dead)
    plot = figures(analyse(dataclasses.replace(study, runs=failed)))['models']
    assert 'No result, and no arrow, for ResNet-18, RepVGG-A0.' in plot.caption
    texts = {text.get_text() for ax in plot.wide.figure.axes for text in ax.texts}
    texts |= {text.get_text() for text in plot.wide.figure.texts}
    assert 'MobileNetV3-Small' in texts and not {'ResNet-18', 'RepVGG-A0'} & texts


def test_a_study_of_models_has_its_chart_and_others_have_none(drawn):
    assert {'models', 'steps0', 'curves0', 'cost0'} == set(drawn('zoo'))
    assert 'models' not in drawn('stack')
    assert 'Throughput was not measured for' in drawn('unmeasured')['models'].caption
    assert 'Left is better' in drawn('loss')['steps0'].caption


def test_the_waterfall_ends_where_the_last_rung_does(drawn):
    ax = drawn('stack')['steps0'].wide.figure.axes[0]
    marks = [float(line.get_xdata()[0]) for line in ax.lines
             if line.get_marker() in ('o', 's', 'D')]
    assert marks == pytest.approx([61.1, 63.1, 64.1, 63.1, 63.1, 63.3333, 64.0, 64.0], abs=1e-3)


def test_the_curves_are_those_of_the_runs(drawn):
    first = drawn('stack')['curves0'].wide.figure.axes[0]
    ends = [float(line.get_ydata()[-1]) for line in first.lines]
    # Three seeds and the mean of the first rung, then of the second.
    assert ends == pytest.approx([61.0, 62.2, 60.1, 61.1, 62.0, 64.2, 63.1, 63.1])


def test_a_long_text_loses_its_middle():
    canvas = Canvas(NARROW, 100)
    short = canvas.fit('a_rather_long_name_of_a_trick_7_of_eleven', 120, 12)
    assert short.startswith('a_rat') and short.endswith('eleven') and '…' in short
    assert canvas.fit('mixup', 120, 12) == 'mixup'
    canvas.text(0, 50, '$x_1$ <&> {y}', 300)  # no mathematics, and escaped
    text = svg(canvas.figure, 'one', 'a < b')
    assert '$x_1$ &lt;&amp;&gt; {y}' in text and 'a &lt; b' in text


def test_labels_go_right_then_left_then_around():
    bounds = (0, 0, 200, 100)
    assert beside([(50, 50)], [60], 16, bounds) == [(60, 50)]
    assert beside([(180, 50)], [60], 16, bounds) == [(110, 50)]
    # A line along y = 50 is in the way on both sides; above lies free.
    (x, y), = beside([(100, 50)], [60], 16, bounds, [((0, 50), (200, 50))])
    assert abs(y - 50) > 16
    assert beside([(100, 50)], [250], 16, bounds) is None
    assert beside([(100, 50)] * 12, [60] * 12, 16, bounds) is None
    assert beside([(50, 50)], [60], 16, bounds, [((0, y), (200, y)) for y in range(0, 100, 4)],
                  most=3) is None


PLACES = st.tuples(st.floats(0, 400), st.floats(0, 300))


@settings(max_examples=50, deadline=None)
@given(st.lists(PLACES, min_size=1, max_size=8), st.integers(20, 120))
def test_labels_beside_points_are_clear_of_each_other_and_of_marks(points, width):
    places = beside(points, [width] * len(points), 16, (0, 0, 400, 300))
    boxes = [(x, y - 8, x + width, y + 8) for x, y in places or ()]
    for index, box in enumerate(boxes):
        assert box[0] >= 0 and box[2] <= 400 and box[1] >= 0 and box[3] <= 300
        for other in boxes[index + 1:]:
            assert box[2] <= other[0] or other[2] <= box[0] or box[3] <= other[1] \
                or other[3] <= box[1]
        for x, y in points:
            assert not (box[0] < x < box[2] and box[1] < y < box[3])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-50, 350), min_size=1, max_size=15))
def test_a_column_of_labels_keeps_its_distances_and_order(wanted):
    found = spread(wanted, 17, 10, 290)
    assert sorted(range(len(wanted)), key=lambda i: (wanted[i], i)) == sorted(
        range(len(found)), key=found.__getitem__)
    ordered = sorted(found)
    assert all(b - a >= 17 - 1e-9 for a, b in zip(ordered, ordered[1:], strict=False))
    assert ordered[0] >= 10 - 1e-9 and ordered[-1] <= 290 + 1e-9
