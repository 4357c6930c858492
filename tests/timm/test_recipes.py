"""The recipes for timm's stock script, as they are and as they are printed."""

import re

import pytest
import torch
import yaml
from timm.data.mixup import Mixup
from timm.models import create_model
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm import flags
from tricks_plugin.timm.__main__ import main
from tricks_plugin.timm.recipe import Options, recipe_names, recipe_path, write_recipe
from tricks_plugin.timm.script import Script, find_script
from tricks_plugin.tricks.random_shapes.functional import training_sizes

NAMES = ('bag_of_tricks', 'bag_of_tricks_fast', 'baseline_step')
NO_SIZES = 'random_shapes: held back, as no run of a classifier at random sizes is measured here'
SCHEDULE = ('sched', 'min_lr', 'warmup_lr', 'warmup_epochs', 'warmup_prefix', 'decay_milestones',
            'decay_rate', 'cooldown_epochs')


def settings(name):
    return yaml.safe_load(recipe_path(name).read_text())


def printed(name, version='1.0.31', **options):
    return write_recipe(name, find_script(version=version), Options(**options))


def paragraph(text, key):
    """The comment that stands above a key, as one line."""
    block, = (block for block in text.split('\n\n') if re.search(rf'^{key}:', block, re.M))
    return ' '.join(line.lstrip('# ') for line in block.splitlines()[:-1])


def learning_rates(values, updates_per_epoch, peak):
    """The LR of every update by timm's scheduler, and the run's length in epochs."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    arguments = {key: values[key] for key in SCHEDULE if key in values}
    scheduler, epochs = create_scheduler_v2(
        optimizer, num_epochs=values['epochs'], updates_per_epoch=updates_per_epoch,
        step_on_epochs=not values['sched_on_updates'], **arguments)
    rates = []
    for update in range(epochs * updates_per_epoch):
        rates.append(optimizer.param_groups[0]['lr'])
        scheduler.step_update(update + 1)
        if (update + 1) % updates_per_epoch == 0:
            scheduler.step((update + 1) // updates_per_epoch)
    return rates, epochs


def test_the_recipes_are_these_three():
    assert recipe_names() == sorted(NAMES)


@pytest.mark.parametrize('name', NAMES)
def test_each_setting_stands_once_under_a_comment_and_floats_are_floats(name):
    text = recipe_path(name).read_text()
    keys = re.findall(r'^(\w+):', text, re.M)
    assert len(keys) == len(set(keys)) == len(yaml.safe_load(text))
    assert all(len(line) <= 100 for line in text.splitlines())
    for key in keys:
        assert paragraph(text, key), f'{key} has no comment'
    for value in yaml.safe_load(text).values():
        assert not (isinstance(value, str) and re.match(r'[\d.]', value)), value


@pytest.mark.parametrize('name', NAMES)
def test_each_key_is_a_flag_of_timm_and_its_value_is_taken_as_it_is(name):
    values = settings(name)
    args = vars(flags.parse(['-c', str(recipe_path(name)), '--data-dir', 'somewhere']).args)
    assert {key: args[key] for key in values} == values


def test_the_fast_recipe_is_the_other_with_two_options_more():
    fast, plain = settings('bag_of_tricks_fast'), settings('bag_of_tricks')
    assert fast == {**plain, 'channels_last': True, 'pin_mem': True}


def test_the_bag_has_the_papers_numbers():
    values = settings('bag_of_tricks')
    expected = {
        'lr_base': 0.1, 'lr_base_size': 256, 'lr_base_scale': 'linear', 'opt': 'sgd',
        'momentum': 0.9, 'weight_decay': 0.0001,
        'sched': 'cosine', 'sched_on_updates': True, 'warmup_epochs': 5, 'warmup_lr': 0.0,
        'mixup': 0.2, 'mixup_prob': 1.0, 'hflip': 0.5, 'scale': [0.08, 1.0], 'color_jitter': 0.4,
        'amp': True, 'amp_dtype': 'bfloat16',
    }
    assert {key: values[key] for key in expected} == expected
    assert values['ratio'] == [3 / 4, 4 / 3]


def test_the_bag_warms_up_from_zero_over_5_of_200_epochs_and_ends_near_zero():
    rates, epochs = learning_rates(settings('bag_of_tricks'), updates_per_epoch=10, peak=0.4)
    assert epochs == 200
    assert rates[0] == 0
    assert rates[1] == pytest.approx(0.008, abs=1e-12)  # 0.4 / 50 updates
    assert rates[25] == pytest.approx(0.2, abs=1e-12)
    assert rates[50] == max(rates) == pytest.approx(0.4, abs=1e-12)
    assert rates[50 + 650] == pytest.approx(0.3, abs=1e-9)  # a third of 1950: cos 60 deg = 0.5
    assert rates[50 + 975] == pytest.approx(0.2, abs=1e-9)  # half of the cosine
    assert 0 < rates[-1] < 1e-6


def test_the_baseline_falls_to_a_tenth_at_30_60_and_90_of_120_epochs():
    rates, epochs = learning_rates(settings('baseline_step'), updates_per_epoch=2, peak=0.1)
    assert epochs == 120
    falls = [index / 2 for index in range(1, 240) if rates[index] != rates[index - 1]]
    assert falls == [30, 60, 90]
    assert rates[0] == 0.1 and rates[-1] == pytest.approx(1e-4, rel=1e-9)


@pytest.mark.parametrize('classes, pos, neg', [
    (1000, 0.9, 0.1 / 999), (10, 0.9, 0.1 / 9), (2, 0.9, 0.1), (37, 0.9, 0.1 / 36)])
def test_timm_makes_the_papers_targets_of_the_smoothing(classes, pos, neg):
    values = yaml.safe_load(printed('bag_of_tricks', num_classes=classes).text)
    mixup = Mixup(mixup_alpha=1.0, label_smoothing=values['smoothing'], num_classes=classes)
    mixup.mixup_enabled = False
    _, target = mixup(torch.zeros(2, 3, 4, 4), torch.tensor([1, 0]))
    assert target[0, 1].item() == pytest.approx(pos, abs=1e-6)
    assert target[0, 0].item() == pytest.approx(neg, abs=1e-7)


def test_the_smoothing_as_it_is_is_that_of_1000_classes_and_the_comment_says_how():
    assert settings('bag_of_tricks')['smoothing'] == pytest.approx(100 / 999, rel=1e-15)
    assert '0.1*1000/999' in paragraph(recipe_path('bag_of_tricks').read_text(), 'smoothing')
    ten = printed('bag_of_tricks', num_classes=10)
    assert yaml.safe_load(ten.text)['smoothing'] == pytest.approx(1 / 9, rel=1e-15)
    assert yaml.safe_load(ten.text)['num_classes'] == 10
    assert '0.1*10/9 (K=10): s/K = 0.1/9, and 1-s*9/10 = 0.9' in paragraph(ten.text, 'smoothing')
    assert ten.notes == (NO_SIZES,)


def test_the_baseline_stays_without_smoothing_whatever_the_classes():
    values = yaml.safe_load(printed('baseline_step', num_classes=10).text)
    assert values['smoothing'] == 0 and values['num_classes'] == 10


@pytest.mark.parametrize('name, decayed, last_scale', [
    ('bag_of_tricks', 'weights only', 0.0), ('baseline_step', 'everything', 1.0)])
def test_decay_and_zero_gamma_are_as_the_recipe_says(name, decayed, last_scale):
    values = settings(name)
    model = create_model('test_resnet', **values.get('model_kwargs', {}))
    optimizer = create_optimizer_v2(model, opt=values['opt'], weight_decay=values['weight_decay'],
                                    lr=0.1, **values.get('opt_kwargs', {}))
    assert isinstance(optimizer, torch.optim.SGD) and optimizer.defaults['nesterov']
    exempt = {id(p) for group in optimizer.param_groups if not group['weight_decay']
              for p in group['params']}
    flat = {id(p) for p in model.parameters() if p.ndim <= 1}
    assert exempt == (flat if decayed == 'weights only' else set())
    assert len(flat) > 10
    last = [norm for block in model.layer2 for norm in [getattr(block, 'bn3', block.bn2)]]
    assert last and all((norm.weight == last_scale).all() for norm in last)


@pytest.mark.parametrize('size', [224, 128, 96])
def test_what_a_recipe_holds_back_has_no_line_and_a_note(size):
    recipe = printed('bag_of_tricks', img_size=size)
    values = yaml.safe_load(recipe.text)
    assert 'train_img_sizes' not in values and values['img_size'] == size
    assert recipe.notes == (NO_SIZES,)


def sizes_of(size):
    from tricks_plugin.timm.plan import plan_tricks
    found = flags.parse([f'--img-size={size}'])
    return plan_tricks(found.args, found.given, 'random_shapes')[0].train_img_sizes


def test_training_sizes_are_multiples_of_32_from_five_sevenths_of_the_size():
    assert [sizes_of(size) for size in (224, 128, 320, 96)] == [
        [160, 192, 224], [96, 128], [224, 256, 288, 320], [64, 96]]
    for size in range(32, 640, 19):  # 19 and 32 have no common factor
        expected = training_sizes(size, (5 / 7, 1.0))
        assert sizes_of(size) == (expected if len(expected) > 1 else None)


@pytest.mark.parametrize('size', [32, 64, 75])
def test_a_size_without_room_for_two_trains_at_one_and_says_so(size):
    recipe = printed('bag_of_tricks', img_size=size)
    assert 'train_img_sizes' not in yaml.safe_load(recipe.text)
    assert recipe.notes == (
        f'random_shapes: the model takes {size} px, which leaves fewer than two sizes of 64 px or '
        'more that are multiples of 32',)
    assert f'# - random_shapes: the model takes {size} px' in recipe.text


def test_the_batch_size_shows_the_learning_rate_it_gives():
    recipe = printed('bag_of_tricks', batch_size=64)
    assert yaml.safe_load(recipe.text)['batch_size'] == 64
    assert '0.1 x 64 / 256 = 0.025 for each' in paragraph(recipe.text, 'batch_size')


def test_epochs_are_those_of_the_whole_run_and_a_twentieth_of_them_warms_up():
    for epochs, warmup in ((1, 0), (2, 1), (4, 1), (7, 1), (30, 1), (60, 3), (120, 5), (300, 5)):
        values = yaml.safe_load(printed('bag_of_tricks', epochs=epochs).text)
        assert (values['epochs'], values['warmup_epochs']) == (epochs - warmup, warmup)
        assert learning_rates(values, 4, 0.1)[1] == epochs
    values = yaml.safe_load(printed('baseline_step', epochs=30).text)
    assert (values['epochs'], values['decay_milestones']) == (30, [8, 16, 23])
    rates, _ = learning_rates(values, 1, 0.1)
    assert [index for index in range(1, 30) if rates[index] != rates[index - 1]] == [7, 15, 22]


def test_what_helps_on_a_gpu_only_is_not_written_for_a_cpu():
    cpu = printed('bag_of_tricks_fast', device='cpu')
    values = yaml.safe_load(cpu.text)
    assert values['device'] == 'cpu' and not {'pin_mem', 'channels_last'} & set(values)
    assert ('runtime: its flags in timm (--pin-mem, --channels-last) help on a GPU only' in
            cpu.notes)
    assert yaml.safe_load(printed('bag_of_tricks_fast').text)['pin_mem']


def test_releases_before_1_0_12_get_the_epochs_that_they_do_not_count():
    recipe = printed('bag_of_tricks', version='1.0.11')
    values = yaml.safe_load(recipe.text)
    assert (values['epochs'], values['cooldown_epochs']) == (195, 5)
    assert any('would stop 5 epochs before the schedule ends' in note for note in recipe.notes)
    assert 'cooldown_epochs' not in yaml.safe_load(printed('bag_of_tricks', version='1.0.12').text)
    assert 'cooldown_epochs' not in yaml.safe_load(printed('baseline_step', version='1.0.3').text)
    alone = printed('bag_of_tricks', version='1.0.11', epochs=1)
    assert 'cooldown_epochs' not in yaml.safe_load(alone.text)


def test_settings_unknown_to_the_script_are_left_out_with_what_to_do():
    recipe = printed('bag_of_tricks', version='1.0.28')
    assert recipe.notes == (NO_SIZES,)
    script = Script('old', flags=frozenset(settings('bag_of_tricks')) - {'amp_dtype'})
    recipe = write_recipe('bag_of_tricks', script)
    assert 'amp_dtype' not in yaml.safe_load(recipe.text)
    assert ("amp_dtype: left out, as old does not know it; AMP runs in float16, the paper's "
            'format') in recipe.notes


@pytest.mark.parametrize('name, options, message', [
    ('bag_of_tricks', {'num_classes': 0}, '--num-classes must be 1 or more, got 0'),
    ('bag_of_tricks', {'img_size': 'big'}, "argument --img-size: invalid int value: 'big'"),
    ('bag_of_tricks', {'batch_size': 33}, '--batch-size must be even for --mixup and --cutmix'),
    ('bag_of_tricks', {'epochs': -1}, '--epochs must be 1 or more, got -1'),
    ('baseline_step', {'epochs': 3},
     '--tricks baseline_step is nothing without step_decay: a run of 3 is too short for steps at '
     '[0.25, 0.5, 0.75] epochs, got --epochs 3'),
])
def test_what_no_recipe_can_be_written_for_is_refused(name, options, message):
    with pytest.raises(TrickError, match=re.escape(message)):
        printed(name, **options)


def test_a_line_break_in_a_path_cannot_add_a_setting():
    script = Script('evil\nmodel: other', flags=frozenset(settings('baseline_step')))
    text = write_recipe('baseline_step', script, command='one\ntwo: 2').text
    assert yaml.safe_load(text) == settings('baseline_step')


def write_fake_script(folder, known):
    path = folder / 'train.py'
    lines = ["parser.add_argument('-c', '--config')"]
    lines += [f"parser.add_argument('--{key.replace('_', '-')}')" for key in known]
    path.write_text('\n'.join(lines))
    return path


def test_the_command_writes_for_a_script_and_says_each_loss_once(tmp_path, capsys):
    known = set(settings('bag_of_tricks')) - {'amp_dtype'} | {'wandb_tags'}
    script = write_fake_script(tmp_path, known)
    target = tmp_path / 'recipe.yaml'
    words = ['recipe', 'bag_of_tricks', '--script', str(script), '-o', str(target)]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out == ''
    assert [line.split(':')[:2] for line in err.splitlines()] == [
        ['note', ' random_shapes'], ['note', ' amp_dtype']]
    text = target.read_text()
    assert set(yaml.safe_load(text)) == known - {'wandb_tags'}
    assert f'python -m tricks_plugin.timm {" ".join(words[:-2])}\n' in text.split('\n\n')[0]


def test_the_command_prints_to_stdout(capsys):
    assert main(['recipe', 'baseline_step', '--timm-version', '1.0.31', '--epochs', '8']) == 0
    assert yaml.safe_load(capsys.readouterr().out)['decay_milestones'] == [3, 5, 7]


@pytest.mark.parametrize('words, message', [
    (['bag_of_trick'], "unknown timm recipe 'bag_of_trick'; did you mean 'bag_of_tricks'?"),
    (['bag_of_tricks', '--script', 'nowhere/train.py'], '--script must be a readable train.py'),
    (['bag_of_tricks', '-o', 'nowhere/recipe.yaml'], '--output must be a file that can be written'),
])
def test_a_wrong_command_is_one_line_and_exit_status_2(words, message, capsys):
    assert main(['recipe', '--timm-version', '1.0.31', *words]
                if '--script' not in words else ['recipe', *words]) == 2
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and message in err
