"""Every row of the table with wrong values of its kind: taken, or refused by one line naming it."""

from __future__ import annotations

import math

import pytest
import yaml

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm import checks, flags

pytestmark = pytest.mark.slow

HUGE = '9' * 5000
WORDS = ('text', '-1', '0', '0.5', '1.5', 'nan', 'inf', '-inf', '1e308', '9' * 40, '', ' ', 'a=b',
         '=', 'a=1j', 'a={', '((((', '\u00b2', 'a\nb')
YAML_VALUES = ('text', '', -1, 0, 0.5, 1.5, math.nan, math.inf, -math.inf, 1e308, 10 ** 40, True,
               False, None, [], [1], [0.5, 0.1], [1, 2, 3, 4, 5], ['x'], [None], [[1]], {},
               {'a': 1}, {1: 2}, 'a\0b')
# Whose parsing prints or ends: the switches take no word.
ROWS = [row for row in flags.FLAGS.values() if row.long.startswith('--')]


def outcome(argv, names):
    """Parses and checks; only a TrickError that names the flag may come out."""
    try:
        settings = flags.parse(argv)
        flags.trick_wish(settings)
        checks.check_settings(settings.args, settings.given)
        flags.to_yaml(settings.args)
    except TrickError as error:
        assert any(name in str(error) for name in names), (argv, str(error))
        return str(error)
    return ''


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row.dest)
def test_a_wrong_word_on_the_command_line_is_taken_or_refused_by_name(row):
    if row.kind == 'switch':
        assert row.long in outcome([f'{row.long}=yes'], [row.long])
        return
    refused = [word for word in (*WORDS, HUGE) if outcome([f'{row.long}={word}'], [row.long])]
    assert {'int': {'text', '0.5', 'nan', ''}, 'float': {'text', 'nan', '-inf', ''},
            'kwargs': {'text', '='}}.get(row.kind, set()) <= set(refused)
    assert outcome([row.long], [row.long]) or row.nargs in ('?', '*')
    if row.whole is not None and row.nargs == '+':
        assert outcome([row.long, *'123456'], [row.long]) or row.whole.holds([1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize('row', flags.FLAGS.values(), ids=lambda row: row.dest)
def test_a_wrong_value_in_a_yaml_is_taken_or_refused_by_name(row, tmp_path):
    path = tmp_path / 'settings.yaml'
    refused = []
    for value in YAML_VALUES:
        path.write_text(yaml.safe_dump({row.dest: value}))
        if outcome(['-c', str(path)], [row.long]):
            refused.append(value)
    taken = [value for value in YAML_VALUES if not any(value is one for one in refused)]
    kind = {'int': int, 'float': (int, float), 'str': str, 'switch': bool, 'kwargs': dict}[row.kind]
    for value in taken:
        values = value if isinstance(value, list) else [value]
        assert value is None or all(isinstance(one, kind) for one in values), value
        assert row.kind == 'switch' or not any(isinstance(one, bool) for one in values), value
    assert {'a': 1} in refused or row.kind == 'kwargs'
    assert [[1]] in refused


@pytest.mark.parametrize('text', [
    'epochs: 2020-13-45', f'epochs: {HUGE}', 'epochs: !!timestamp x', 'epochs: !!int x',
    'amp: !!bool x', '? [a]\n: 1', '!!python/object:os.system {}', 'a: &a [*a', 'epochs: \x01',
    '[' * 3000, '- 1', '1: 2', 'null: 1', 'epochs: !own 3',
], ids=lambda text: repr(text[:20]))
def test_a_yaml_that_cannot_be_read_is_one_line(tmp_path, text):
    path = tmp_path / 'settings.yaml'
    path.write_text(text)
    assert str(path) in outcome(['-c', str(path)], [str(path)])


def test_a_yaml_that_holds_itself_and_one_that_is_no_text_are_refused(tmp_path):
    path = tmp_path / 'settings.yaml'
    path.write_text('scale: &a [*a]')
    assert outcome(['-c', str(path)], ['--scale'])
    path.write_bytes(b'\xff\xfe\x00epochs')
    assert outcome(['-c', str(path)], ['--config'])
    assert outcome(['-c', str(tmp_path)], ['--config'])


@pytest.mark.parametrize('line', [
    '--aa policy', '--aa rand-x9', '--aa rand-mfoo9', '--aa original-q3', '--aa augmix-z1',
    '--aa 3b', '--opt-kwargs nesterov=maybe foo=1', '--opt-kwargs lr=0.1', '--opt=', '--opt _',
    '--opt-betas 0.9 --opt adamw', '--opt-betas 2 3 --opt adamw',
    '--lr-cycle-mul 1e300 --lr-cycle-limit 9', '--model=', '--model-kwargs no_such_thing=1',
    '--model-kwargs num_classes=3', '--model-kwargs layers=text', '--gp mean',
    '--gp token --model resnet18', '--gp mean --model vit_tiny_patch16_224',
    '--img-size 96 --model vit_tiny_patch16_224', '--img-size 100000',
    '--train-img-sizes 96 224 --model vit_tiny_patch16_224',
    '--input-size 3 96 96 --model vit_tiny_patch16_224', '--input-size 1 64 64 --in-chans 3',
    '--in-chans 1', '--bn-momentum 0.2 --bn-eps 0.1 --model resnet18',
    '--grad-checkpointing --model dla34', '--device gpu', '--device cuda:99', '--device meta',
    '--device=', '--device cpu:x', '--device mps:7', '--torchcompile fast',
    '--torchcompile-mode fast', '--dataset folders/x', '--eval-metric top2',
    '--interpolation random', '--crop-pct 0', '--clip-mode l2', '--dist-bn sum',
    '--input-img-mode rgb', '--mean 0.5 0.5', '--std 0', '--seed 4294967296'])
def test_a_name_that_timm_or_torch_does_not_know_is_refused_by_the_flag(line, tmp_path):
    argv = ['--data-dir', str(tmp_path), '--model', 'test_resnet', '--device', 'cpu']
    with pytest.raises(TrickError) as error:
        settings = flags.parse([*argv, *line.split()])
        checks.check(settings.args, settings.given)
    assert str(error.value).startswith(line.split()[0].rstrip('='))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('line', [
    '--aa rand-m9-mstd0.5-inc1', '--aa augmix-m5-w4-d2', '--aa originalr-mstd0.5', '--aa v0',
    '--opt adamw --opt-betas 0.9 0.95 --opt-eps 1e-8', '--opt lookahead_rmsproptf',
    '--gp avgmax', '--in-chans 1 --img-size 64', '--gp token --model vit_tiny_patch16_224',
    '--grad-checkpointing', '--img-size 96 --model vit_tiny_patch16_224 --model-kwargs img_size=96',
    '--sched poly --lr-noise 0.4 0.9', '--head-init-scale 0.1 --head-init-bias -10',
    '--drop 0.1 --drop-path 0.1 --bn-eps 1e-3 --bn-momentum 0.2 --model efficientnet_b0'])
def test_a_name_that_they_know_is_taken(line, tmp_path):
    argv = ['--data-dir', str(tmp_path), '--model', 'test_resnet', '--device', 'cpu']
    settings = flags.parse([*argv, *line.split()])
    assert checks.check(settings.args, settings.given) == []
