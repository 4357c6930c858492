"""Resuming with other settings, and runs that fail: what is used, said and left."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from support.timm_train import TINY

from tricks_plugin.common.finite import NonFinite, NonFiniteError
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm.build import build_run
from tricks_plugin.timm.failure import check_end, stop_if_failed
from tricks_plugin.timm.resume import Former, inherit
from tricks_plugin.timm.train import main

pytestmark = pytest.mark.slow

Run = Callable[..., int]
Settings = Callable[..., argparse.Namespace]
FIRST = ('--epochs', '3', '--lr', '0.1', '--weight-decay', '1e-4', '--smoothing', '0.2', '--sched',
         'step', '--decay-epochs', '1', '--decay-rate', '0.5', '--warmup-epochs', '0')


@pytest.fixture
def run(images: Path, tmp_path: Path) -> Run:
    def train(name: str, *words: str) -> int:
        return main([str(images), *TINY, '--output', str(tmp_path), '--experiment', name, *words])
    return train


def groups(path: Path) -> list[dict[str, Any]]:
    return torch.load(path, weights_only=False)['optimizer']['param_groups']


def test_what_is_given_is_changed_and_the_rest_is_the_checkpoints(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    assert run('a', *FIRST) == 0
    caplog.set_level('INFO', 'tricks_plugin')
    assert run('b', '--resume', str(tmp_path / 'a' / 'checkpoint-0.pth.tar'), '--lr', '0.04',
               '--weight-decay', '5e-2', '--momentum', '0.5', '--epochs', '3') == 0
    found = groups(tmp_path / 'b' / 'last.pth.tar')
    # The schedule is the checkpoint's: halved in epoch 1 and 2. Biases and norms stay exempt.
    assert [(one['initial_lr'], one['weight_decay'], one['momentum']) for one in found] == [
        (0.04, 0.0, 0.5), (0.04, 0.05, 0.5)]
    assert found[0]['lr'] == pytest.approx(0.04 * 0.5 * 0.5)
    for line in ('resume: changed now: lr 0.1 -> 0.04', 'changed now: weight_decay 0.0001 -> 0.05',
                 'changed now: momentum 0.9 -> 0.5', 'smoothing 0.2 taken from the checkpoint',
                 'sched step taken from the checkpoint', 'warmup_epochs 0 taken'):
        assert line in caplog.text
    settings = yaml.safe_load((tmp_path / 'b' / 'args.yaml').read_text())
    assert {name: settings[name] for name in ('lr', 'weight_decay', 'momentum', 'smoothing')} == {
        'lr': 0.04, 'weight_decay': 0.05, 'momentum': 0.5, 'smoothing': 0.2}


def test_the_flag_alone_goes_on_as_the_run_would_have(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    assert run('a', *FIRST) == 0
    assert run('b', '--resume', str(tmp_path / 'a' / 'checkpoint-1.pth.tar')) == 0
    whole, rest = (torch.load(tmp_path / name / 'last.pth.tar', weights_only=False)
                   for name in ('a', 'b'))
    for name, value in whole['state_dict'].items():
        torch.testing.assert_close(rest['state_dict'][name], value, rtol=0, atol=0)
    assert 'changed now' not in caplog.text


def test_another_optimizer_and_other_groups_are_refused(run: Run, tmp_path: Path) -> None:
    assert run('a', *FIRST) == 0
    last = str(tmp_path / 'a' / 'checkpoint-0.pth.tar')
    with pytest.raises(TrickError, match='^--opt must be sgd as in --resume .*adamw'):
        run('b', '--resume', last, '--opt', 'adamw')
    with pytest.raises(TrickError, match='has parameter groups of .*--weight-decay to or from 0'):
        run('b', '--resume', last, '--layer-decay', '0.5')
    with pytest.raises(TrickError, match='does not belong to --model resnet18 with 4 classes'):
        run('b', '--resume', last, '--num-classes', '4')
    assert not (tmp_path / 'b').exists()
    assert run('c', '--resume', last, '--opt', 'adamw', '--no-resume-opt', '--epochs', '2',
               '--warmup-epochs', '0', '--lr', '1e-3') == 0


def test_a_run_that_is_over_trains_nothing_and_says_so(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    assert run('a', *FIRST) == 0
    assert run('b', '--resume', str(tmp_path / 'a' / 'last.pth.tar')) == 0
    assert 'nothing to train: the first epoch would be 3, and the run has 3 epochs' in caplog.text
    assert not (tmp_path / 'b').exists()
    assert run('b', '--resume', str(tmp_path / 'a' / 'last.pth.tar'), '--start-epoch', '2') == 0
    assert len((tmp_path / 'b' / 'summary.csv').read_text().splitlines()) == 2


def test_a_loss_that_is_no_number_ends_the_run_with_status_1(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Six updates an epoch; the first has a loss, so the tenth without one is update 10."""
    assert run('a', '--lr', '1e30', '--epochs', '4', '--warmup-epochs', '0', '--sched', 'none') == 1
    assert 'stopped in epoch 1: the loss is not finite since update 1 (epoch 0), for 11' in \
        caplog.text and 'lr 1e+30, float32' in caplog.text
    assert not (tmp_path / 'a' / 'model_best.pth.tar').exists()
    found = json.loads(capsys.readouterr().out.partition('--result')[2], parse_constant=pytest.fail)
    assert [row['train'] for row in found] == [{'loss': None}]


def test_a_run_too_short_to_be_stopped_fails_as_well(
    run: Run, caplog: pytest.LogCaptureFixture,
) -> None:
    assert run('a', '--epochs', '1', '--lr', '1e30', '--warmup-epochs', '0', '--sched', 'none') == 1
    assert 'the training has failed: at its end the loss is not finite since update 1' in \
        caplog.text


def test_weights_that_are_no_numbers_at_the_end_are_a_failure() -> None:
    """The last update's LR was too large: its loss came before it."""
    model = torch.nn.Linear(1, 2)
    run: Any = SimpleNamespace(model=model, watch=NonFinite(), dtype_name='float32',
                               optimizer=torch.optim.SGD(model.parameters(), lr=3.0))
    run.watch.add(torch.tensor(1.0))
    check_end(run)
    model.bias.data[1] = float('inf')
    with pytest.raises(NonFiniteError, match='the weights are not finite; lr 3, float32'):
        check_end(run)


def test_a_scale_that_has_fallen_too_far_is_a_failure() -> None:
    """65536 halved 30 times is 2**-14; the loss itself stays finite."""
    model = torch.nn.Linear(1, 2)
    state = {'scale': 65536 * 0.5 ** 30}
    run: Any = SimpleNamespace(
        watch=NonFinite(), dtype_name='amp float16', start_epoch=0, updates_per_epoch=5,
        loss_scaler=SimpleNamespace(state_dict=lambda: state),
        optimizer=torch.optim.SGD(model.parameters(), lr=3.0))
    loss = torch.tensor(1.0)
    stop_if_failed(run, 6, 31, loss)
    state['scale'] /= 2
    with pytest.raises(NonFiniteError, match=r'in epoch 6 at update 31: .*float16; try --a'):
        stop_if_failed(run, 6, 31, loss)


def test_an_lr_beyond_the_dtype_of_the_weights_is_one_line(run: Run) -> None:
    with pytest.raises(TrickError, match=r'an LR of 100000 does not fit .*torch.float16: give'):
        run('a', '--lr', '1e5', '--warmup-epochs', '0', '--model-dtype', 'float16')


def test_a_plateau_that_is_resumed_says_that_it_counts_anew(
    settings: Settings, caplog: pytest.LogCaptureFixture,
) -> None:
    words = ('--sched', 'plateau', '--warmup-epochs', '0', '--lr', '0.25')
    build_run(settings(*words), torch.device('cpu'))
    assert 'counts anew' not in caplog.text
    build_run(settings(*words, '--start-epoch', '2'), torch.device('cpu'))
    assert 'resume: --sched plateau counts anew from lr 0.25' in caplog.text


FORMER = Former('x.tar', 0, dict(epochs=38, lr=0.4, mixup=0.2, opt='sgd', warmup_prefix=True),
                dict(epochs=40, lr=None, lr_base=0.2, mixup=0.0, opt='sgd', warmup_prefix=False),
                frozenset({'epochs', 'lr_base', 'output'}))


def test_with_tricks_the_settings_before_them_are_taken(settings: Settings) -> None:
    """The tricks take the warm-up out of the epochs again: from 40, and not from 38."""
    plain, given, taken = inherit(settings(), {'model'}, FORMER)
    assert taken == dict(epochs=38, lr=0.4, mixup=0.2, warmup_prefix=True)
    assert plain.epochs == 38 and given == {'model'}
    tricks, given, taken = inherit(settings('--tricks', 'mixup'), {'model', 'tricks'}, FORMER)
    assert taken == dict(epochs=40, lr_base=0.2) and tricks.lr is None
    assert given == {'model', 'tricks', 'epochs', 'lr_base'}


def test_an_lr_base_given_now_is_not_beaten_by_the_lr_of_the_checkpoint(
    settings: Settings,
) -> None:
    args, _, taken = inherit(settings('--lr-base', '0.3'), {'lr_base'}, FORMER)
    assert args.lr is None and args.lr_base == 0.3 and 'lr' not in taken


def test_without_the_optimizers_state_its_settings_are_not_taken(settings: Settings) -> None:
    args = settings('--no-resume-opt', '--opt', 'adamw')
    assert inherit(args, {'opt'}, FORMER) == (args, frozenset({'opt'}), {})
