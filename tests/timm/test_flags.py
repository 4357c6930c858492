"""The command line: timm's names, defaults and meanings, the YAML, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm import flags
from tricks_plugin.timm.flag_table import LEFT_OUT


def parse(line: str = '') -> flags.Settings:
    return flags.parse(line.split())


def write(tmp_path, text: str) -> str:
    path = tmp_path / 'settings.yaml'
    path.write_text(text)
    return str(path)


DEFAULTS = {
    'data': None, 'data_dir': None, 'dataset': '', 'train_split': 'train',
    'val_split': 'validation', 'class_map': '', 'model': 'resnet50', 'pretrained': False,
    'pretrained_path': None, 'initial_checkpoint': '', 'resume': '', 'num_classes': None,
    'img_size': None, 'input_size': None, 'batch_size': 128, 'validation_batch_size': None,
    'grad_accum_steps': 1, 'model_kwargs': {}, 'torchscript': False, 'torchcompile': None,
    'device': 'cuda', 'amp': False, 'amp_dtype': 'float16', 'model_dtype': None, 'local_rank': 0,
    'opt': 'sgd', 'opt_eps': None, 'opt_betas': None, 'momentum': 0.9, 'weight_decay': 2e-5,
    'clip_grad': None, 'clip_mode': 'norm', 'layer_decay': None, 'opt_kwargs': {},
    'sched': 'cosine', 'sched_on_updates': False, 'lr': None, 'lr_base': 0.1, 'lr_base_size': 256,
    'lr_base_scale': '', 'lr_noise': None, 'lr_cycle_decay': 0.5, 'warmup_lr': 1e-5, 'min_lr': 0,
    'epochs': 300, 'epoch_repeats': 0.0, 'start_epoch': None, 'decay_milestones': [90, 180, 270],
    'decay_epochs': 90, 'warmup_epochs': 5, 'warmup_prefix': False, 'cooldown_epochs': 0,
    'patience_epochs': 10, 'decay_rate': 0.1, 'scale': [0.08, 1.0], 'ratio': [0.75, 4 / 3],
    'hflip': 0.5, 'vflip': 0.0, 'color_jitter': 0.4, 'aa': None, 'aug_repeats': 0,
    'aug_splits': 0, 'jsd_loss': False, 'bce_loss': False, 'reprob': 0.0, 'remode': 'pixel',
    'recount': 1, 'mixup': 0.0, 'cutmix': 0.0, 'cutmix_minmax': None, 'mixup_prob': 1.0,
    'mixup_switch_prob': 0.5, 'mixup_mode': 'batch', 'mixup_off_epoch': 0, 'smoothing': 0.1,
    'train_interpolation': 'random', 'drop': 0.0, 'drop_path': None, 'bn_momentum': None,
    'sync_bn': False, 'dist_bn': 'reduce', 'split_bn': False, 'model_ema': False,
    'model_ema_decay': 0.9998, 'seed': 42, 'worker_seeding': 'all', 'log_interval': 50,
    'val_interval': 1, 'checkpoint_hist': 10, 'workers': 4, 'pin_mem': False, 'output': '',
    'experiment': '', 'eval_metric': 'top1', 'tta': 0, 'wandb_tags': [], 'train_img_sizes': None,
    'train_size_schedule': 'constant', 'train_size_schedule_spread': 0.65,
    'train_size_random_mix': 0.1, 'train_batches_per_epoch': None,
    'variable_batch_loss_scale': 'none', 'tricks': None, 'trick_options': [], 'plan': False,
    'json': False, 'kd_model_name': None, 'kd_distill_type': 'logit', 'kd_loss_type': 'kl',
    'distill_loss_weight': None, 'task_loss_weight': None, 'kd_temperature': 4.0,
    'kd_checkpoint': None,
}


def test_an_empty_command_line_holds_timms_defaults_and_nothing_is_given():
    settings = parse()
    values = vars(settings.args)
    assert {name: values.get(name, 'absent') for name in DEFAULTS} == DEFAULTS
    assert all(type(values[name]) is type(DEFAULTS[name]) for name in DEFAULTS)
    assert settings.given == frozenset()
    assert settings.config == ''


def test_there_are_161_of_timms_settings_and_eight_of_ours():
    # timm's script of August 2026 has 172 settings, of which 11 are left out here.
    assert len(LEFT_OUT) == 12  # and amp_impl, which that script has no more
    assert len(vars(parse().args)) == 172 - 11 + 8
    assert not set(LEFT_OUT) & set(vars(parse().args))


@pytest.mark.parametrize(('line', 'name', 'value'), [
    ('/data', 'data', '/data'),
    ('--data-dir /data', 'data_dir', '/data'),
    ('-b 96', 'batch_size', 96),
    ('-vb 32', 'validation_batch_size', 32),
    ('-j 3', 'workers', 3),
    ('-j3', 'workers', 3),
    ('--dr .97', 'decay_rate', 0.97),
    ('--decay-epochs 2.4', 'decay_epochs', 2.4),
    ('--train-steps-per-epoch 7', 'train_batches_per_epoch', 7),
    ('--train-batches-per-epoch 7', 'train_batches_per_epoch', 7),
    ('--local_rank 1', 'local_rank', 1),
    ('--input-size 3 160 128', 'input_size', [3, 160, 128]),
    ('--opt-betas 0.9 0.95', 'opt_betas', [0.9, 0.95]),
    ('--decay-milestones 30 60', 'decay_milestones', [30, 60]),
    ('--mean 0.5', 'mean', [0.5]),
    ('--torchcompile', 'torchcompile', 'inductor'),
    ('--torchcompile eager', 'torchcompile', 'eager'),
    ('--aug-repeats 3', 'aug_repeats', 3.0),
    ('--train-img-sizes 160 192', 'train_img_sizes', [160, 192]),
    ('--train-size-schedule progressive', 'train_size_schedule', 'progressive'),
    ('--opt-kwargs caution=True name=x share=0.25 empty=', 'opt_kwargs',
     {'caution': True, 'name': 'x', 'share': 0.25, 'empty': ''}),
    ('--model-kwargs', 'model_kwargs', {}),
    ('--head-init-bias -10', 'head_init_bias', -10.0),
])
def test_a_flag_is_read_as_timm_reads_it(line, name, value):
    settings = parse(line)
    assert getattr(settings.args, name) == value
    assert type(getattr(settings.args, name)) is type(value)
    assert settings.given == {name}


def test_timms_resnet_rsb_line_is_read():
    args = parse(
        '/imagenet --model resnet50 -b 512 --sched cosine --epochs 100 --lr 8e-3 --opt lamb '
        '--weight-decay .02 --warmup-epochs 5 --warmup-lr 1e-6 --aa rand-m6-mstd0.5-inc1 '
        '--mixup 0.1 --cutmix 1.0 --bce-loss --bce-target-thresh 0.2 --smoothing 0 '
        '--crop-pct 0.95 --img-size 160 --amp --workers 16 --sync-bn').args
    assert (args.data, args.model, args.batch_size, args.opt) == ('/imagenet', 'resnet50', 512,
                                                                  'lamb')
    assert (args.lr, args.weight_decay, args.warmup_lr) == (0.008, 0.02, 1e-6)
    assert (args.mixup, args.cutmix, args.smoothing) == (0.1, 1.0, 0.0)
    assert (args.bce_loss, args.bce_target_thresh, args.sync_bn) == (True, 0.2, True)
    assert (args.crop_pct, args.img_size, args.amp, args.workers) == (0.95, 160, True, 16)


def test_timms_efficientnet_line_with_augmentation_splits_is_read():
    args = parse(
        '--data-dir /imagenet --model efficientnet_b2 -b 64 --sched step --epochs 450 '
        '--decay-epochs 2.4 --decay-rate .97 --opt rmsproptf --opt-eps .001 -j 8 --lr .016 '
        '--drop 0.3 --drop-path 0.2 --model-ema --model-ema-decay 0.9999 --remode pixel '
        '--reprob 0.6 --aug-splits 3 --aa rand-m9-mstd0.5-inc1 --resplit --split-bn --jsd '
        '--dist-bn reduce').args
    assert (args.sched, args.decay_epochs, args.decay_rate) == ('step', 2.4, 0.97)
    assert (args.opt, args.opt_eps, args.lr, args.drop, args.drop_path) == (
        'rmsproptf', 0.001, 0.016, 0.3, 0.2)
    assert (args.aug_splits, args.jsd_loss, args.resplit, args.split_bn) == (3, True, True, True)
    assert (args.model_ema, args.model_ema_decay, args.reprob) == (True, 0.9999, 0.6)


def test_timms_vit_line_with_cutmix_and_mixup_is_read():
    args = parse(
        '/imagenet --model vit_small_patch16_224 -b 288 --opt adamw --opt-betas 0.9 0.95 --lr 1e-3 '
        '--weight-decay 0.1 --sched cosine --sched-on-updates --warmup-prefix --warmup-epochs 20 '
        '--epochs 280 --layer-decay 0.75 --clip-grad 1 --mixup .8 --cutmix 1.0 '
        '--mixup-switch-prob 0.3 --cutmix-minmax 0.2 0.8 --mixup-mode elem --mixup-off-epoch 270 '
        '--model-kwargs class_token=False global_pool=avg --amp --amp-dtype bfloat16').args
    assert (args.opt_betas, args.lr, args.layer_decay, args.clip_grad) == ([0.9, 0.95], 0.001,
                                                                           0.75, 1.0)
    assert (args.sched_on_updates, args.warmup_prefix, args.warmup_epochs) == (True, True, 20)
    assert (args.mixup, args.mixup_switch_prob, args.cutmix_minmax) == (0.8, 0.3, [0.2, 0.8])
    assert (args.mixup_mode, args.mixup_off_epoch) == ('elem', 270)
    assert args.model_kwargs == {'class_token': False, 'global_pool': 'avg'}
    assert (args.amp, args.amp_dtype) == (True, 'bfloat16')


def test_a_flag_given_with_its_default_value_counts_as_given():
    assert parse('--smoothing 0.1 -b 128 --aa=rand --mixup-off-epoch 0').given == {
        'smoothing', 'batch_size', 'aa', 'mixup_off_epoch'}


def test_abbreviations_are_allowed_and_counted_under_the_full_name():
    settings = parse('--mixup-off 3 --validation-b 8 --jsd')
    assert settings.given == {'mixup_off_epoch', 'validation_batch_size', 'jsd_loss'}
    assert (settings.args.mixup_off_epoch, settings.args.validation_batch_size) == (3, 8)
    with pytest.raises(TrickError, match='ambiguous option: --mix could match'):
        parse('--mix 0.2')


def test_flags_win_over_the_yaml_and_the_yaml_over_the_defaults(tmp_path):
    path = write(tmp_path, 'epochs: 90\nsmoothing: 0.1\nscale: [0.35, 1.0]\n'
                           'opt_kwargs: {nesterov: false}\nsched: step\n')
    settings = parse(f'-c {path} --epochs 120 --sched cosine')
    args = settings.args
    assert (args.epochs, args.smoothing, args.scale) == (120, 0.1, [0.35, 1.0])
    assert (args.opt_kwargs, args.sched) == ({'nesterov': False}, 'cosine')
    assert settings.given == {'epochs', 'smoothing', 'scale', 'opt_kwargs', 'sched'}
    assert settings.config == path


def test_a_yaml_number_in_quotes_is_converted_as_argparse_does(tmp_path):
    # YAML 1.1 reads 1e-3, without a point, as a string; timm trains with it all the same.
    args = parse(f'-c {write(tmp_path, "lr: 1e-3")}').args
    assert args.lr == 0.001
    with pytest.raises(TrickError, match="argument --lr: invalid float value: 'fast'"):
        parse(f'-c {write(tmp_path, "lr: fast")}')


@pytest.mark.parametrize(('text', 'message'), [
    ('mixup_aplha: 1', "settings.yaml: unknown key 'mixup_aplha'; did you mean 'mixup"),
    ('batch-size: 64', "unknown key 'batch-size'; did you mean 'batch_size'?"),
    ('kd_token_distill_type: hard',
     "kd_token_distill_type: timm's own training script has this setting"),
    ('- epochs', 'must hold names and values, got .*settings.yaml with list'),
    ('', 'must hold names and values, got .*settings.yaml with NoneType'),
    ('epochs: [', 'must be a YAML file that can be read, got .*settings.yaml: while parsing'),
])
def test_a_wrong_yaml_is_refused(tmp_path, text, message):
    with pytest.raises(TrickError, match=message):
        parse(f'-c {write(tmp_path, text)}')


def test_a_yaml_that_is_not_there_is_refused():
    with pytest.raises(TrickError, match='got /no/such.yaml: .*No such file'):
        parse('-c /no/such.yaml')


def test_an_args_file_that_timm_wrote_is_taken(tmp_path):
    # timm writes every setting; those left out here are at their defaults.
    text = yaml.safe_dump({**LEFT_OUT, 'epochs': 7})
    settings = parse(f'-c {write(tmp_path, text)}')
    assert settings.args.epochs == 7
    assert settings.given == {'epochs'}


def test_the_text_read_again_gives_the_same_settings_and_tells_no_plan(tmp_path):
    first = parse('/data -b 64 --opt-kwargs nesterov=False --plan --json --lr-noise 0.4 0.9')
    assert set(yaml.safe_load(flags.to_yaml(first.args))) == set(vars(first.args)) - {
        'plan', 'json', 'tricks', 'trick_options'}
    again = parse(f'-c {write(tmp_path, flags.to_yaml(first.args))}')
    assert vars(again.args) == {**vars(first.args), 'plan': False, 'json': False}
    assert yaml.safe_load(flags.to_yaml(parse('--tricks mixup').args))['tricks'] == 'mixup'


@pytest.mark.parametrize(('line', 'message'), [
    ('--mixxup 0.2', r"unknown flag --mixxup; did you mean '--mixup'\?"),
    ('--smothing=0.1', r"unknown flag --smothing; did you mean '--smoothing'\?"),
    ('--local-rank 0', r"unknown flag --local-rank; did you mean '--local_rank'\?"),
    ('--zzzzzz', '^unknown flag --zzzzzz$'),
    ('/data /more', "only one folder or tar may stand without a flag, got also '/more'"),
    ('-b many', "argument -b/--batch-size: invalid int value: 'many'"),
    ('--epochs', 'argument --epochs: expected one argument'),
    ('--train-size-schedule slow', "^--train-size-schedule must be one of constant, progressive,"),
    ('--torchscript --torchcompile', 'not allowed with argument --torchscript'),
    ('--opt-kwargs nesterov', "--opt-kwargs must be KEY=VALUE pairs, got 'nesterov'"),
    ('--sched step --lr 1 --sched cosine', "must name one schedule, got 'step' and 'cosine'"),
])
def test_a_wrong_command_line_is_refused(line, message):
    with pytest.raises(TrickError, match=message):
        parse(line)


@pytest.mark.parametrize('name', sorted(LEFT_OUT))
def test_what_is_left_out_is_refused_by_name(name):
    flag = f'--{name.replace("_", "-")}'
    with pytest.raises(TrickError, match=f"^{flag}: timm's own training script has this setting"):
        parse(f'{flag} 1')


def test_an_abbreviation_of_a_left_out_flag_is_refused_by_the_full_name():
    with pytest.raises(TrickError, match='^--kd-token-distill-type: timm'):
        parse('--kd-token hard')


def test_the_same_schedule_twice_is_no_contradiction():
    assert parse('--sched step --sched step').args.sched == 'step'


def test_defaults_of_one_parse_are_not_shared_with_the_next():
    first = parse().args
    first.opt_kwargs['nesterov'] = False
    first.scale.append(2.0)
    assert parse().args.opt_kwargs == {}
    assert parse().args.scale == [0.08, 1.0]


def test_tricks_and_their_options_become_a_wish():
    settings = parse('--tricks bag_of_tricks,mixup --trick-options mixup.alpha=0.4 strict=True '
                     'label_smoothing.variant=he mixup.partner=cache amp=False')
    assert flags.trick_wish(settings) == ['bag_of_tricks', 'mixup', {
        'mixup': {'alpha': 0.4, 'partner': 'cache'}, 'strict': True,
        'label_smoothing': {'variant': 'he'}, 'amp': False}]
    assert flags.trick_wish(parse('--tricks zero_gamma')) == ['zero_gamma']
    assert flags.trick_wish(parse()) is None


@pytest.mark.parametrize(('line', 'message'), [
    ('--trick-options mixup.alpha=1', r"--trick-options needs --tricks .* \['mixup.alpha=1'\]"),
    ('--tricks mixup --trick-options alpha', "must be KEY=VALUE pairs, got 'alpha'"),
    ('--tricks mixup --trick-options mixup.alpha=1 mixup.alpha=2', "'mixup.alpha' is given twice"),
    ('--tricks mixup --trick-options mixup=True mixup.alpha=2', "'mixup.alpha' is given twice"),
])
def test_wrong_trick_options_are_refused(line, message):
    with pytest.raises(TrickError, match=message):
        flags.trick_wish(parse(line))


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as stop:
        parse('--help')
    text = capsys.readouterr().out
    assert stop.value.code == 0
    missing = [row.long for row in flags.FLAGS.values()
               if row.long.startswith('--') and row.long not in text]
    assert missing == []
    assert 'naflex' not in text


def test_reading_a_command_line_imports_neither_torch_nor_timm_nor_mmengine():
    code = ("import sys; from tricks_plugin.timm import flags; flags.parse(['-b', '8']); "
            "print([name for name in ('torch', 'timm', 'mmengine', 'mmdet') "
            "if name in sys.modules])")
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert out.stdout == '[]\n'
