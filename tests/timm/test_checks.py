"""What the checks refuse before any data is touched, and what they warn of."""

from __future__ import annotations

import pytest
import torch
from timm.scheduler import create_scheduler_v2, scheduler_kwargs

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm import checks, flags

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'data').mkdir()
    return str(tmp_path / 'data')


@pytest.fixture
def run(folder):
    def check(line='', **yaml_values):
        settings = flags.parse(['--data-dir', folder, '--device', 'cpu', '--model', 'test_resnet',
                                *line.split()])
        vars(settings.args).update(yaml_values)
        return checks.check(settings.args, settings.given | set(yaml_values))
    return check


@pytest.mark.parametrize('line', [
    '',
    '-b 512 --sched cosine --epochs 100 --lr 8e-3 --opt lamb --weight-decay .02 --mixup 0.1 '
    '--cutmix 1.0 --bce-loss --bce-target-thresh 0.2 --smoothing 0.0 --aa rand-m6-mstd0.5-inc1',
    '--model efficientnet_b2 -b 64 --sched step --epochs 450 --decay-epochs 2.4 --dr .97 --opt '
    'rmsproptf --opt-eps .001 --warmup-lr 1e-6 --model-ema --model-ema-decay 0.9999 --reprob 0.6 '
    '--aug-splits 3 --resplit --split-bn --jsd --color-jitter 0.4 --aa rand-m9-mstd0.5-inc1',
    '--model vit_small_patch16_224.augreg_in1k -b 288 --opt adamw --warmup-prefix --warmup-epochs '
    '20 --epochs 20 --mixup .8 --cutmix 1.0 --mixup-switch-prob 0.3 --mixup-off-epoch 39 --amp '
    '--amp-dtype bfloat16 --clip-grad inf --opt lookahead_adam --lr-noise 0.4 0.9',
    '--train-img-sizes 160 192 --train-batch-sizes 96 64 --train-size-probs 2 1 --mixup 0.2 -b 63',
    '--model hf-hub:someone/some_model --sched none --warmup-prefix --clip-grad 1',
])
def test_sound_settings_pass_without_a_warning(run, line):
    assert run(line) == []


@pytest.mark.parametrize(('line', 'message'), [
    ('--mixup 0.2 -b 1', r'--batch-size must be even for --mixup and --cutmix, .*, got 1$'),
    ('--cutmix 1 -b 63', r'--batch-size must be even .*, got 63$'),
    ('--cutmix-minmax 0.2 0.8 -b 7', r'--batch-size must be even .*, got 7$'),
    ('--mixup 0.2 --train-img-sizes 64 96 --train-batch-sizes 8 5',
     r'--train-batch-sizes must be even .*, got \[8, 5\]$'),
    ('--mixup 0.2 --aug-splits 3', '--aug-splits cannot be combined with --mixup .*, got 3$'),
    ('--jsd-loss', '--jsd-loss needs --aug-splits of 2 or more, got 0$'),
    ('--split-bn', '--split-bn needs --aug-splits of 2 or more, or --resplit, got 0$'),
    ('--split-bn --aug-splits 2 --sync-bn', '--split-bn and --sync-bn exclude each other'),
    ('--split-bn --resplit -b 7', 'must be divisible by the 2 splits of --split-bn, got 7$'),
    ('--torchscript --sync-bn', '--torchscript and --sync-bn exclude each other'),
    ('--amp --model-dtype bfloat16', "--model-dtype must be float32 beside --amp, got 'bfloat16'"),
    ('--train-img-sizes 64 96 --use-multi-epochs-loader', r'with --train-img-sizes, got \[64, 96'),
    ('--train-img-sizes 64 96 --aug-splits 2', '--aug-splits cannot .* --train-img-sizes, got 2$'),
    ('--train-img-sizes 64 --dataset wds/x', '--train-img-sizes needs data .* got --dataset wds/x'),
    ('--train-img-sizes 64 96 --train-batch-sizes 8',
     r'--train-batch-sizes must have one value for each of the 2 --train-img-sizes, got \[8\]$'),
    ('--train-img-sizes 64 --train-size-probs 1 2', r'--train-size-probs .* got \[1.0, 2.0\]$'),
    ('--train-img-sizes 64 96 --train-size-probs 0 0', r'a sum above 0, got \[0.0, 0.0\]$'),
    ('--train-img-sizes 64 --train-size-schedule progressive', r'needs two or more .* got \[64\]$'),
    ('--sched plateau --sched-on-updates', '--sched plateau moves once an epoch'),
    ('--epochs 5 --warmup-epochs 5', 'must be fewer than the 5 --epochs, .* got 5$'),
    ('--sched wsd --epochs 50 --decay-epochs 46', 'fit in the 45 epochs of --sched wsd, got 46.0$'),
    ('--resume /no/last.pth.tar', "--resume must be a file that is there, got '/no/last.pth.tar'"),
    ('--pretrained-path /no.pth', '--pretrained-path must be a file that is there'),
    ('--initial-checkpoint /no.pth', '--initial-checkpoint must be a file that is there'),
    ('--class-map no.txt', "--class-map must be a file that is there, got 'no.txt'"),
    ('--data-dir /no/images', "--data-dir must be a folder or tar that is there, got '/no/images'"),
    ('--model resnett50', r"--model must be .*, got 'resnett50'; did you mean 'resnet50'\?"),
    ('--model timm/resnet50', "--model must be a model that timm knows, got 'timm/resnet50'"),
    ('--opt addamw', r"--opt must be .*, got 'addamw'; did you mean 'adamw'\?"),
    ('--aug-repeats 3', '--aug-repeats needs several processes, .* got 3 in one$'),
])
def test_settings_that_contradict_or_name_nothing_are_refused(run, monkeypatch, line, message):
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    monkeypatch.delenv('SLURM_NTASKS', raising=False)
    with pytest.raises(TrickError, match=message) as error:
        run(line)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(('line', 'message'), [
    ('--sched cosin', '--sched must be one of cosine, tanh, step, constant, .*, got .cosin.$'),
    ('--amp-dtype float64', '--amp-dtype must be one of float16, bfloat16, got .float64.$'),
    ('--model-dtype half', '--model-dtype must be one of float32, float16, bfloat16, got .half.$'),
    ('--mixup-mode half', '--mixup-mode must be one of batch, pair, elem, got .half.$'),
    ('--eval-metric acc', '--eval-metric must be one of top1, top5, loss, got .acc.$'),
    ('-b 0', '--batch-size must be 1 or more, got 0$'),
    ('--epochs -3', '--epochs must be 1 or more, got -3$'),
    ('--lr -0.1', '--lr must be 0 or more, got -0.1$'),
    ('--lr nan', '--lr must be finite, got nan$'),
    ('--warmup-epochs -1', '--warmup-epochs must be 0 or more, got -1$'),
    ('--decay-rate -1', '--decay-rate must be 0 or more, got -1.0$'),
    ('--mixup -0.2', '--mixup must be 0 or more, got -0.2$'),
    ('--mixup-prob 1.5', '--mixup-prob must be from 0 to 1, got 1.5$'),
    ('--smoothing 1', '--smoothing must be from 0 to below 1, got 1.0$'),
    ('--aug-splits 1', '--aug-splits must be 0, or 2 and more, got 1$'),
    ('--scale 0.5', r'--scale must be two numbers, the smaller first, got \[0.5\]$'),
    ('--cutmix-minmax 0.8 0.2', r'--cutmix-minmax must be two .*, got \[0.8, 0.2\]$'),
    ('--mean 0.5 0.5', r'--mean must be one number or one for each of 3 channels, got \[0.5, 0.5'),
    ('--decay-milestones 60 30', r'--decay-milestones must be .* each above the one before'),
    ('--train-img-sizes 64 0', r'--train-img-sizes must be from 1 to 65535, got \[64, 0\]$'),
])
def test_values_out_of_bounds_are_refused(run, line, message):
    with pytest.raises(TrickError, match=message):
        run(line)


@pytest.mark.parametrize(('values', 'message'), [
    ({'epochs': 90.5}, '--epochs must be a whole number, got 90.5$'),
    ({'epochs': True}, '--epochs must be a whole number, got True$'),
    ({'mixup': [0.2]}, r'--mixup must be a number, got \[0.2\]$'),
    ({'amp': 'yes'}, "--amp must be True or False, got 'yes'$"),
    ({'decay_milestones': 30}, '--decay-milestones must be a list, each a whole number, got 30$'),
    ({'scale': [0.1, 'x']}, r"--scale must be a number, got \[0.1, 'x'\]$"),
    ({'opt_kwargs': 'nesterov'}, "--opt-kwargs must be names and values, got 'nesterov'$"),
    ({'sched': None}, '--sched must be a string, got None$'),
    ({'input_size': [3, 32]}, r'--input-size must be channels, height and width, got \[3, 32\]$'),
    ({'train_size_schedule': 'slow'}, '--train-size-schedule must be one of constant, progressive'),
    ({'train_img_sizes': []}, r'--train-img-sizes must be one value or more, got \[\]$'),
    ({'torchscript': True, 'torchcompile': 'eager'}, '--torchscript and --torchcompile exclude'),
])
def test_values_of_a_yaml_are_checked_although_argparse_has_not_seen_them(run, values, message):
    with pytest.raises(TrickError, match=message):
        run(**values)


def test_what_timm_takes_from_a_yaml_alone_is_taken(run):
    assert run(scale=None, ratio=None, color_jitter=None, lr_noise=0.4) == []
    assert run(color_jitter=[0.4, 0.4, 0.4, 0.1]) == []


def test_without_data_there_is_nothing_to_train_on_unless_the_data_set_is_named():
    with pytest.raises(TrickError, match='--data-dir must name the folder or tar .* got nothing'):
        checks.check(flags.parse(['--device', 'cpu']).args, set())
    assert checks.check(flags.parse(['--device', 'cpu', '--dataset', 'hfds/x/y']).args, set()) == []


def test_the_positional_folder_and_a_tar_will_do(folder, tmp_path):
    assert checks.check(flags.parse([folder, '--device', 'cpu']).args, set()) == []
    tar, other = tmp_path / 'train.tar', tmp_path / 'train.zip'
    tar.touch()
    other.touch()
    assert checks.check(flags.parse([str(tar), '--device', 'cpu']).args, set()) == []
    with pytest.raises(TrickError, match=r'must be a folder or end in .tar, got .*train.zip'):
        checks.check(flags.parse([str(other), '--device', 'cpu']).args, set())


def test_a_class_map_may_lie_beside_the_images(folder, run, tmp_path):
    (tmp_path / 'data' / 'map.txt').write_text('bird\n')
    assert run('--class-map map.txt') == []


def test_cuda_where_there_is_none_is_refused_with_the_way_out(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(TrickError, match="got 'cuda' without CUDA: give --device cpu"):
        checks.check(flags.parse([folder]).args, set())


def test_several_processes_allow_repeats_and_synchronized_norms(run, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert run('--aug-repeats 3 --sync-bn') == []
    monkeypatch.setenv('WORLD_SIZE', '1')
    assert run('--sync-bn') == ['--sync-bn has no effect: there is one process']


@pytest.mark.parametrize(('line', 'warning'), [
    ('--decay-milestones 30 60', '--decay-milestones [30, 60] has no effect: only --sched '
                                 'multistep reads it'),
    ('--dr 0.5', '--decay-rate 0.5 has no effect: only --sched step, multistep, plateau and poly '
                 'read it'),
    ('--sched step --min-lr 1e-5', '--min-lr 1e-05 has no effect: only --sched cosine, tanh, poly, '
                                   'plateau, wsd and rsqrt read it'),
    ('--sched none --warmup-epochs 3',
     '--warmup-epochs 3 has no effect: --sched none leaves the LR alone'),
    ('--lr 0.1 --lr-base 0.5', '--lr-base 0.5 has no effect: --lr sets the LR itself'),
    ('--lr 0', '--lr 0.0 has no effect: 0 means unset: the LR comes from --lr-base'),
    ('--bce-loss --bce-target-thresh 0.2 --smoothing 0.2',
     '--smoothing 0.2 has no effect: --bce-target-thresh makes the targets 0 and 1 again'),
    ('--mixup-prob 0.5', '--mixup-prob 0.5 has no effect: it needs --mixup or --cutmix'),
    ('--mixup 1 --mixup-switch-prob 0.1',
     '--mixup-switch-prob 0.1 has no effect: it needs --mixup and --cutmix'),
    ('--no-aug --vflip 0.5', '--vflip 0.5 has no effect: --no-aug turns it off'),
    ('--aa rand-m9 --color-jitter 0.2', '--color-jitter 0.2 has no effect: --aa takes its place'),
    ('--drop-connect 0.2', "--drop-connect 0.2 has no effect: timm's script no longer reads it; "
                           'use --drop-path'),
    ('--amp-dtype bfloat16', '--amp-dtype bfloat16 has no effect: it needs --amp'),
    ('--model-ema-decay 0.99', '--model-ema-decay 0.99 has no effect: it needs --model-ema'),
    ('--train-batch-sizes 8 4',
     '--train-batch-sizes [8, 4] has no effect: it needs --train-img-sizes'),
    ('--mixup 1 --epochs 10 --mixup-off-epoch 10',
     '--mixup-off-epoch 10 is never reached: the run has 10 epochs'),
    ('--epochs 10 --start-epoch 12',
     '--start-epoch 12 leaves nothing to train: the run has 10 epochs'),
    ('--epochs 4', '--warmup-epochs must be fewer than the 4 --epochs, or come before them by '
                   '--warmup-prefix, got 5 by default: the LR does nothing but grow'),
])
def test_a_setting_without_effect_is_told_once(run, line, warning):
    assert run(line) == [warning]


def test_a_default_given_in_words_is_not_worth_a_warning(run):
    assert run('--decay-rate 0.1 --mixup-off-epoch 0 --amp-dtype float16') == []


@pytest.mark.parametrize('sched', ['cosine', 'tanh', 'step', 'multistep', 'poly', 'wsd', 'none'])
@pytest.mark.parametrize('prefix', ['', '--warmup-prefix'])
def test_the_length_of_the_run_is_the_one_timm_builds(sched, prefix):
    args = flags.parse(['--epochs', '20', '--warmup-epochs', '3', '--cooldown-epochs', '2',
                        '--decay-epochs', '6', '--sched', sched, *prefix.split()]).args
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    _, epochs = create_scheduler_v2(optimizer, **scheduler_kwargs(args))
    assert checks.run_epochs(args) == epochs
