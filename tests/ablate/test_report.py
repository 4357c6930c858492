"""The files of a report: whole, true to the numbers, and an HTML page that loads nothing."""

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from support import ablate
from support.page import Page

import tricks_plugin.ablate.report as report
from tricks_plugin.ablate.analysis import analyse
from tricks_plugin.ablate.report import __main__ as script
from tricks_plugin.ablate.report import terminal_table, write_reports
from tricks_plugin.ablate.report.html import minus
from tricks_plugin.ablate.report.tables import result_table, sections
from tricks_plugin.ablate.report.words import Numbers, chance, headline
from tricks_plugin.plan.errors import TrickError

SECTIONS = {'results', 'curves', 'cost', 'plans', 'evidence', 'numbers', 'method', 'origin'}
NASTY = '<script src="https://x.example/a.js">alert(1)</script> & "so"'


def nasty():
    """A study whose every text tries to break out of its place."""
    study = ablate.troubled()
    subject = dataclasses.replace(study.subjects[0], label=NASTY, parameters=None,
                                  images_per_s=None)
    rungs = list(subject.rungs)
    rungs[2] = dataclasses.replace(rungs[2], label=f'+ {NASTY}', diff=f'+{NASTY}\n-old\n',
                                   plan=({'name': NASTY, 'status': 'applied', 'reason': NASTY},))
    study = ablate.replace_run(study, 'ema', 2, error=NASTY)
    return dataclasses.replace(study, subjects=(dataclasses.replace(subject, rungs=tuple(rungs)),),
                               command=NASTY, notes=(NASTY,), environment={NASTY: NASTY})


def two_models():
    """Models that have a section each in every mode but `whole`."""
    return ablate.zoo([('ResNet-18', 71.2, 2.1, 410.0, 900.0),
                       ('RepVGG-A0', 70.9, 3.0, 640.0, 760.0)])


STUDIES = {'stack': ablate.make_study, 'troubled': ablate.troubled, 'zoo': ablate.zoo,
           'nasty': nasty,
           'two': lambda: dataclasses.replace(two_models(), mode='arms'),
           'nothing yet': lambda: dataclasses.replace(ablate.make_study(), runs=()),
           'no seeds': lambda: dataclasses.replace(ablate.make_study(), runs=(), seeds=())}


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """The folder of a study's reports by its name, made once."""
    folders = {}

    def folder(name) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp('out') / 'deep'
            write_reports(STUDIES[name](), folders[name])
        return folders[name]
    return folder


def page(folder):
    return Page((folder / 'report.html').read_text(encoding='utf-8'))


@pytest.mark.slow
def test_four_files_are_written_whole(written):
    folder = written('stack')
    assert sorted(path.name for path in folder.iterdir()) == [
        'ablation.csv', 'ablation.json', 'ablation.md', 'report.html']


def test_a_report_that_fails_leaves_the_former_one(tmp_path, monkeypatch):
    study = dataclasses.replace(ablate.make_study(), runs=())
    paths = write_reports(study, tmp_path)
    before = {path: path.read_bytes() for path in paths}
    monkeypatch.setattr('tricks_plugin.ablate.report.html.headline', lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_reports(study, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_markdown_has_the_numbers_worked_by_hand(written):
    text = (written('stack') / 'ablation.md').read_text(encoding='utf-8')
    row, = [line for line in text.splitlines()
            if line.startswith('| + linear_lr | 63.10 ± 1.10 |')]
    assert row == ('| + linear_lr | 63.10 ± 1.10 | +2.00 | -0.48 to +4.48 | not shown with these '
                   'seeds; 5 seeds in all (2 more) would show a difference of this size | 96.3 | '
                   '1.03 | 1.02 | 0.69 of the time | 3 of 3 |')
    for line in text.splitlines():  # every row of a table has as many cells as its header
        if line.startswith('| ---'):
            width = line.count('|')
        elif line.startswith('| + '):
            assert line.replace('\\|', '').count('|') == width


def test_a_label_says_where_a_rung_is_compared_otherwise_than_the_column_says():
    def labels(study):
        analysis = analyse(study)
        table = result_table(analysis, sections(analysis)[0])
        return [row.cells[0] for row in table.rows]
    left_out = ablate.make_study([(1.0, 2.0, 3.0)] * 3, ('mixup', 'ema'), 'leave-one-out')
    assert labels(left_out) == ['the config as it is', 'all tricks, against the first', '− mixup',
                                '− ema']
    stack = ablate.make_study([(1.0, 2.0, 3.0)] * 2, ('mixup', 'ema'))
    assert labels(stack) == ['the config as it is', '+ mixup', '+ ema']


@pytest.mark.slow
@pytest.mark.parametrize('name', STUDIES)
def test_json_is_json_and_holds_the_study(written, name):
    def refuse(constant):
        raise AssertionError(f'{constant} is no JSON')
    content = json.loads((written(name) / 'ablation.json').read_text(), parse_constant=refuse)
    study = STUDIES[name]()
    assert type(study).from_dict(content['study']) == study
    assert len(content['rungs']) == sum(len(one.rungs) for one in study.subjects)


def test_json_and_csv_hold_every_number_unrounded(written):
    folder = written('stack')
    content = json.loads((folder / 'ablation.json').read_text())
    rungs = {row['rung']: row for row in content['rungs']}
    own = rungs['ema']['to_reference']
    # Differences 0.7, 0.8, 0.5: mean 2/3, sd sqrt(0.07/3), half width 4.30265 * sd / sqrt(3).
    assert own['mean'] == pytest.approx(2 / 3)
    assert own['t_interval'][1] - own['mean'] == pytest.approx(
        4.302653 * (0.07 / 3) ** 0.5 / 3 ** 0.5, rel=1e-6)
    assert rungs['baseline']['to_first'] is None
    rows = list(csv.DictReader((folder / 'ablation.csv').open(encoding='utf-8')))
    row, = [row for row in rows if (row['rung'], row['against']) == ('ema', 'no_bias_decay')]
    assert float(row['difference']) == own['mean']
    assert (float(row['t_low']), float(row['t_high'])) == tuple(own['t_interval'])
    assert float(row['p_holm']) == own['p_holm']
    assert row['unit'] == 'mAP points'
    assert len(rows) == 1 + 11  # the first rung, and every comparison


@pytest.mark.parametrize('name', STUDIES)
def test_the_page_loads_nothing_and_is_whole(written, name):
    found = page(written(name))
    assert not found.open
    assert not [tag for tag, _ in found.tags if tag in ('script', 'link', 'img', 'iframe', 'base')]
    for tag, values in found.tags:
        for key, value in values.items():
            assert not key.startswith('on'), (tag, key)
            if key in ('src', 'href', 'style', 'clip-path', 'srcset', 'xlink:href'):
                assert '//' not in (value or ''), (tag, key, value)
    text = (written(name) / 'report.html').read_text(encoding='utf-8')
    assert '@import' not in text
    assert set(re.findall(r'url\((.)', text)) <= {'#'}
    assert len(found.ids) == len(set(found.ids))
    links = [values['href'][1:] for _, values in found.tags if values.get('href', '#')[1:]]
    links += re.findall(r'url\(#([^)]+)\)', text)
    assert set(links) <= set(found.ids)
    assert set(found.ids) >= SECTIONS
    for tag, values in found.tags:
        if tag == 'svg':
            assert values['role'] == 'img' and values['aria-labelledby'] in found.ids
            assert not {'width', 'height'} & values.keys()


@pytest.mark.parametrize('name', STUDIES)
def test_every_number_of_a_table_has_a_unit(written, name):
    for table in page(written(name)).tables:
        header = table[0]
        for row in table[1:]:
            assert len(row) == len(header)
            for head, cell in zip(header, row, strict=True):
                if re.search(r'\d', cell['text']) and 'number' in cell['classes']:
                    assert head['unit'] or head['text'].strip() == 'Seed', (head, cell)
                elif head['text'].startswith('As good as') and cell['text'] != '–':
                    assert re.fullmatch(r'(\d\.\d\d.of.the.time|not reached)( \(\d of \d seeds\))?',
                                        cell['text'])


@pytest.mark.parametrize('name', STUDIES)
def test_nothing_that_is_missing_is_printed_as_a_number(written, name):
    folder = written(name)
    texts = [*page(folder).texts, (folder / 'ablation.md').read_text(encoding='utf-8')]
    for text in texts:
        assert not re.search(r'\b(nan(?! at)|NaN|inf|None)\b', text), text


def test_texts_are_escaped(written):
    found = page(written('nasty'))
    joined = ''.join(found.texts)
    assert joined.count('alert(1)') >= 8  # title, heading, label, plan, diff, error, note, command


def test_the_page_says_what_failed_and_what_was_not_live(written):
    text = ' '.join(' '.join(page(written('troubled')).texts).split())
    assert 'yolov3/ema, seed 2 failed: RuntimeError: loss is nan at iteration 812' in text
    assert 'no_bias_decay was not live in seed 1; the rung is no result.' in text
    assert '2 live, 1 dead' in text and '2 live, 1 unknown' in text
    assert '19 of 21 runs finished, 1 failed, 1 running' in text


def test_a_diff_is_marked_by_sign_and_colour(written):
    text = (written('stack') / 'report.html').read_text(encoding='utf-8')
    assert "<span class=\"del\">-optim_wrapper = dict(optimizer=dict(lr=0.001" in text
    assert '<span class="add">+optim_wrapper' in text
    assert '<span class="hunk">@@' in text


def palette(text, start):
    block = text[text.index(':root', text.index(start)):]
    return dict(re.findall(r'--([\w-]+): (#[0-9a-f]{6})', block[:block.index('}')]))


def luminance(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize('start', [':root', 'prefers-color-scheme: dark'])
def test_texts_stand_out_in_light_and_dark(start):
    """WCAG 2: 4.5 for texts, 3 for what is drawn."""
    folder = Path(report.__file__).parent / 'templates'
    colours = palette((folder / 'style.css').read_text(), start)
    pairs = [(ink, ground, 4.5) for ink in ('ink', 'muted', 'gain', 'loss', 'unsure', 'accent')
             for ground in ('page', 'surface')]
    pairs += [('gain', 'gain-soft', 4.5), ('loss', 'loss-soft', 4.5), ('ink', 'warn-soft', 4.5),
              ('warn', 'warn-soft', 4.5), ('muted', 'unsure-soft', 4.5), ('base', 'surface', 3)]
    for one, other, least in pairs:
        dark, light = sorted((luminance(colours[one]), luminance(colours[other])))
        assert (light + 0.05) / (dark + 0.05) >= least, (one, other)


def test_the_terminal_has_a_table_and_the_sentences():
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal_table(ablate.troubled()))
    text = console.export_text()
    assert re.search(
        r'\+ cosine_warmup +64.10 +\+1.00 +\+0.75 to \+1.25 +1.06 +gains +3 of 3', text)
    assert '19 of 21 runs finished, 1 failed, 1 running.' in text
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal_table(ablate.zoo()))
    assert 'RepVGG-A0, with' in console.export_text()


def test_chance_is_told_for_all_comparisons():
    # 10 at 5 %: half a one expected; 1 - 0.95^10 = 0.401.
    text = chance(analyse(ablate.make_study()))
    assert text.startswith('10 comparisons are made at 5 % each')
    assert '0.50 of them' in text and 'probability of 40 %' in text
    assert '5 of 10 are shown, 2 also after Holm’s correction' in text
    one = ablate.make_study([(1.0, 2.0, 3.0)], ('mixup',))
    assert chance(analyse(one)).startswith('One comparison at 5 %')
    assert 'nothing is shown' in chance(analyse(dataclasses.replace(one, runs=())))


def test_headlines_of_each_mode():
    stack = headline(analyse(ablate.make_study()))
    # From 61.1 to 64.0 over seeds: differences 1.9, 2.7, 4.1; mean 2.9, sd 1.1136.
    assert stack[0] == (
        'All tricks together (“+ ema”) against the first rung: +2.90 mAP points (95 % interval '
        '+0.13 to +5.67; 3 seeds): gains, but not after Holm’s correction. It trains 1.18 times '
        'as long and reaches the first rung’s final value in 0.69 of the time.')
    assert stack[1].startswith('Step by step, each against the rung before: 2 gain '
                               '(+ cosine_warmup, + ema); 1 loses (+ mixup); 2 not shown')
    single = headline(analyse(ablate.make_study(mode='single')))
    assert single[0].startswith('Each against the config as it is: 2 gain (cosine_warmup, ema)')
    study = ablate.make_study(mode='single')
    for change in (dict(label='lr 0.2'), dict(tricks='ema', label='the bag')):  # its own settings
        first, *rest = study.subjects[0].rungs
        subject = dataclasses.replace(study.subjects[0], rungs=(
            dataclasses.replace(first, **change), *rest))
        found = headline(analyse(dataclasses.replace(study, subjects=(subject,))))
        assert found[0].startswith(f'Each against the first rung (“{change["label"]}”): 2 gain')
    assert headline(analyse(ablate.zoo())) == [
        'With the bag, against the same training without the bag: 3 gain (ResNet-18, '
        'EfficientNet-Lite0, RepVGG-A0); 1 not shown (MobileNetV3-Small).']


def test_numbers_keep_their_sign_and_never_claim_certainty():
    numbers = Numbers(analyse(ablate.make_study()))
    assert [numbers.signed(x) for x in (-0.001, 0.0, 0.006, -1.5, None)] == [
        '0.00', '0.00', '+0.01', '-1.50', '–']
    assert [numbers.percent(x) for x in (1.0, 0.9995, 0.5, 0.0)] == [
        '> 99.9', '> 99.9', '50.0', '< 0.1']
    assert minus('-0.48 to +4.48, seed-3 and 1e-3') == '−0.48 to +4.48, seed-3 and 1e-3'
    loss = dataclasses.replace(ablate.make_study(base=(0.6, 0.61, 0.62)), factor=1.0, runs=())
    assert Numbers(analyse(loss)).decimals == 2


def test_the_script_takes_a_study_or_its_report(written, tmp_path, capsys):
    assert script.main([str(written('nothing yet') / 'ablation.json'), str(tmp_path)]) == 0
    assert (tmp_path / 'report.html').is_file()
    assert script.main([]) == 2
    wrong = tmp_path / 'wrong.json'
    wrong.write_text('{"study": 3}')
    assert script.main([str(wrong), str(tmp_path)]) == 2
    assert 'wrong.json holds no study' in capsys.readouterr().err


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    import importlib.util
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec',
                        lambda name: None if name == 'jinja2' else real(name))
    with pytest.raises(TrickError, match=r"needs jinja2, .* pip install 'tricks_plugin\[ablate\]'"):
        write_reports(ablate.make_study(), tmp_path)
