"""Rungs of timm models: planned from flags, identified by what they train and on what."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from support.timm_train import TINY, write_images

from tricks_plugin.ablate.ablation import jobs_of
from tricks_plugin.ablate.setup_timm import parse_pairs, plan_timm
from tricks_plugin.ablate.timm import subject_names
from tricks_plugin.ablate.timm_run import Record, image_order, read
from tricks_plugin.ablate.timm_settings import effective, flags_digest, listing
from tricks_plugin.cli.ablate import timm_parser
from tricks_plugin.plan.errors import TrickError

SHORT = ['--epochs', '4', '--lr', '0.1']


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of three classes."""
    root = tmp_path_factory.mktemp('images')
    write_images(root / 'train', 3)
    write_images(root / 'val', 2)
    return root


def plan(images: Path, *words: str, flags: tuple[str, ...] = (*TINY, *SHORT)):
    args = timm_parser('x').parse_args([*words, '--out', 'x'])
    return plan_timm(args, [str(images), *flags], 'the command')


def test_a_stack_of_tricks(images):
    found = plan(images, '--tricks', 'cosine_warmup,no_bias_decay,mixup', '--trick-options',
                 'cosine_warmup.warmup_epochs=1', 'mixup.alpha=0.3')
    (rungs,) = found.planned.values()
    assert found.study.mode == 'stack' and found.study.metric == 'top1'
    assert (found.study.unit, found.study.factor) == ('%', 1.0)
    # timm's optimizers leave biases and norms without decay by themselves: that is no rung.
    assert [(one.rung.name, one.rung.reference, one.rung.same_as) for one in rungs] == [
        ('plain', None, None), ('cosine_warmup', 'plain', None), ('mixup', 'cosine_warmup', None)]
    assert found.study.notes[0].startswith('no_bias_decay changes nothing here (present: ')
    assert found.study.notes[0].endswith('): it has no rung.')
    assert found.to_plan()['idle'] == {'resnet18': ['no_bias_decay']}
    assert found.study.subjects[0].rungs == tuple(one.rung for one in rungs)
    last = rungs[-1]
    assert {row['name']: row['status'] for row in last.rung.plan}['mixup'] == 'applied'
    assert any(line.startswith('+') and "'mixup': 0.3" in line
               for line in last.rung.diff.splitlines())
    assert 'mixup' in last.promised and rungs[0].promised == () and rungs[0].rung.diff == ''


@pytest.mark.parametrize('mode', ['single', 'leave-one-out'])
def test_tricks_that_change_nothing_have_no_rung_and_say_why(images, mode):
    found = plan(images, '--tricks', 'mixup,sync_bn,no_bias_decay', '--mode', mode)
    (rungs,) = found.planned.values()
    assert [one.rung.name for one in rungs] == {
        # Without mixup nothing is left, which is the training as it is.
        'single': ['plain', 'mixup'], 'leave-one-out': ['plain', 'all', 'without_mixup']}[mode]
    same = {one.rung.name: one.rung.same_as for one in rungs}
    assert same.get('without_mixup', 'plain') == 'plain' and same['plain'] is None
    assert len(jobs_of(found)) == 2 * 3
    assert len({one.settings for one in rungs if one.rung.same_as is None}) == 2
    notes = ' '.join(found.study.notes)
    assert ('sync_bn changes nothing here (not applicable: a single process has the whole batch: '
            'there is nothing to synchronize): it has no rung.') in notes
    assert 'no_bias_decay changes nothing here (present: ' in notes


def test_what_is_named_as_an_arm_stays_a_rung_without_runs_of_its_own(images):
    found = plan(images, '--arms', 'a=mixup', 'b=mixup,sync_bn', '--mode', 'stack')
    assert [(one.rung.name, one.rung.same_as) for one in found.planned['resnet18']] == [
        ('plain', None), ('a', None), ('b', 'a')]
    whole = plan(images, '--tricks', 'sync_bn', '--mode', 'whole')
    assert [one.rung.same_as for one in whole.planned['resnet18']] == [None, 'plain']


def test_tricks_that_all_change_nothing_are_no_ablation(images):
    with pytest.raises(TrickError, match=r'^resnet18: no trick changes anything .* sync_bn changes '
                                         r'nothing here \(not applicable: a single process'):
        plan(images, '--tricks', 'no_bias_decay,sync_bn')


def test_a_run_reads_what_was_planned(images, tmp_path):
    (rungs,) = plan(images, '--tricks', 'mixup', '--trick-options', 'mixup.alpha=0.3') \
        .planned.values()
    path = tmp_path / 'settings.json'
    path.write_text(rungs[1].content)
    assert read({'config': str(path)}).args.mixup == 0.3
    path.write_text(json.dumps({**json.loads(rungs[1].content), 'digest': 'another'}))
    with pytest.raises(TrickError, match='set other flags here than where the ablation was'):
        read({'config': str(path)})


def test_what_identifies_a_run_is_no_place_and_no_name(images, tmp_path):
    def settings(root: Path, *flags: str) -> str:
        found = plan(root, '--tricks', 'mixup', flags=(*TINY, *SHORT, *flags))
        return next(iter(found.planned.values()))[0].settings
    write_images(tmp_path / 'a' / 'train', 3)
    write_images(tmp_path / 'a' / 'val', 2)
    known = settings(images)
    assert settings(tmp_path / 'a') == known == settings(images, '--log-interval', '7')
    assert settings(images, '--weight-decay', '0.1') != known
    (tmp_path / 'a' / 'train' / 'ant' / '000.jpg').unlink()
    listing.cache_clear()  # a process plans once
    assert settings(tmp_path / 'a') != known


def test_arms_have_flags_of_their_own_and_the_first_may_be_the_ground(images):
    found = plan(images, '--mode', 'stack', '--arms', 'plain=step_decay;--smoothing 0',
                 'cosine=cosine_warmup;tricks.cosine_warmup.warmup_epochs=1;label=+ cosine;'
                 '--smoothing 0 --opt-kwargs filter_bias_and_bn=False')
    first, second = next(iter(found.planned.values()))
    assert (first.rung.name, second.rung.label, second.rung.reference) == (
        'plain', '+ cosine', 'plain')
    assert json.loads(second.content)['words'][-4:] == [
        '--smoothing', '0', '--opt-kwargs', 'filter_bias_and_bn=False']


def test_models_are_subjects_and_a_recipes_ground_is_everywhere(images):
    flags = [word for word in TINY if word not in ('--model', 'resnet18')]
    found = plan(images, '--tricks', 'bag_of_tricks', '--models', 'resnet18', 'resnet34',
                 flags=tuple(flags))
    assert found.study.mode == 'whole' and list(found.planned) == ['resnet18', 'resnet34']
    plain, bag = (json.loads(one.content) for one in found.planned['resnet34'])
    # 200 epochs and a decay of 1e-4 are the bag's, and no trick.
    assert plain['ground'] == bag['ground'] and plain['ground']['epochs'] == 200
    assert 'epochs 200' in found.study.notes[0]
    assert plain['words'][-2:] == ['--model', 'resnet34']
    assert subject_names(['a/b', 'a:b', 'c']) == ['a_b-1', 'a_b-2', 'c']


def effective_of(planned):
    content = json.loads(planned.content)
    return effective(content['words'], content['ground'], content['tricks']).args


@pytest.mark.parametrize(('arms', 'epochs'), [
    (['plain=baseline_step', 'bag=bag_of_tricks'], 120),
    (['bag=bag_of_tricks', 'steps=baseline_step'], 200)])
def test_arms_of_two_recipes_train_equally_long(images, arms, epochs):
    found = plan(images, '--arms', *arms, flags=tuple(TINY))
    rungs = next(iter(found.planned.values()))
    # The warm-up's epochs are counted apart by timm.
    lengths = {one.rung.name: effective_of(one).epochs + (effective_of(one).warmup_epochs if
               effective_of(one).warmup_prefix else 0) for one in rungs}
    assert set(lengths.values()) == {epochs}
    assert 'where they differ, the first named holds' in found.study.notes[0]
    reasons = [row['reason'] for one in rungs for row in one.rung.plan
               if row['name'] in ('baseline_step', 'bag_of_tricks')]
    assert any(f'--epochs {epochs} is that of all that is compared, where this recipe has '
               f'{320 - epochs}' in one for one in reasons)


def test_an_arms_own_flag_stands_before_a_recipes_ground(images):
    found = plan(images, '--arms', 'bag=bag_of_tricks', 'more=bag_of_tricks;--weight-decay 0.01',
                 flags=(*TINY, *SHORT))
    decays = [effective_of(one).weight_decay for one in next(iter(found.planned.values()))]
    assert decays == [1e-4, 1e-4, 0.01]


def test_a_models_ground_is_its_own(images):
    flags = TINY[TINY.index('--input-size'):]
    for models in (['resnet10t', 'lcnet_050'], ['lcnet_050', 'resnet10t']):
        found = plan(images, '--arms', 'plain=baseline_step', 'bag=bag_of_tricks', '--models',
                     *models, flags=tuple(flags))
        kwargs = {name: [effective_of(one).model_kwargs for one in rungs]
                  for name, rungs in found.planned.items()}
        # The bag's own zero_gamma is a trick, and differs.
        assert kwargs == {'resnet10t': [{'zero_init_last': False}, {'zero_init_last': True}],
                          'lcnet_050': [{}, {}]}
        assert len(found.study.notes) >= 2 and 'every rung of lcnet_050,' in ' '.join(
            found.study.notes)


@pytest.mark.parametrize(('words', 'flags', 'message'), [
    (['--tricks', 'mixup'], ['--seed', '1'], '--seed behind --: .*--first-seed'),
    (['--tricks', 'mixup'], ['--output', 'x'], '--output behind --: the ablation sets it'),
    (['--tricks', 'mixup'], ['--tricks', 'ema'], '--tricks behind --: --tricks stands before'),
    (['--tricks', 'mixup'], ['--resume', 'x'], '--resume behind --: every run starts anew'),
    (['--tricks', 'mixup'], ['--val-split', ''], 'never validates'),
    (['--tricks', 'mixup'], ['--epochs', '4x'], "invalid int value: '4x'"),
    (['--tricks', 'mixup'], ['--sched', 'cosin'], '--sched must be one of cosine'),
    (['--tricks', 'mixp'], [], "did you mean 'mixup'"),
    (['--tricks', 'mixup', '--metric', 'top2'], [], "unknown metric 'top2'; did you mean 'top"),
    (['--tricks', 'mixup', '--models', 'resnet18'], [], '--models and --model'),
    (['--tricks', 'mixup', '--trick-options', 'mixup'], [], '--trick-options must be KEY=VALUE'),
    ([], [], '--tricks is missing'),
    (['--arms', 'a=mixup;--smoothing "0'], [], 'No closing quotation'),
    (['--arms', 'a=mixup', '--trick-options', 'ema.decay=0.9'], [], 'no arm has this trick'),
])
def test_what_cannot_be_is_refused_before_anything_runs(images, words, flags, message):
    with pytest.raises(TrickError, match=message):
        plan(images, *words, flags=(*TINY, *SHORT, *flags))


def test_a_folder_that_is_not_there_and_none_at_all(tmp_path):
    with pytest.raises(TrickError, match='must be a folder or tar that is there, got .*nothing'):
        plan(tmp_path / 'nothing', '--tricks', 'mixup')
    args = timm_parser('x').parse_args(['--tricks', 'mixup', '--out', 'x'])
    with pytest.raises(TrickError, match='DATA is missing'):
        plan_timm(args, TINY, '')


def test_pairs():
    assert parse_pairs(['a=1', 'b=he', 'c=(1, 2)']) == {'a': 1, 'b': 'he', 'c': (1, 2)}


def test_the_record_has_the_training_time_of_each_validation(monkeypatch):
    now = [0.0]
    monkeypatch.setattr('tricks_plugin.ablate.record.time.perf_counter', lambda: now[0])
    monkeypatch.setattr('tricks_plugin.ablate.timm_run.image_order', lambda run: 'o')
    record = Record('top1')
    record.begin(argparse.Namespace(model=torch.nn.Linear(2, 1), updates_per_epoch=6))
    for epoch, metrics in ((0, None), (1, {'top1': 40.0, 'loss': 1.0})):
        now[0] += 3.0
        record.trained(epoch)
        now[0] += 50.0
        record.validated(epoch, metrics)
    (point,) = record.curve
    assert (point['epoch'], point['iteration'], point['seconds'], point['value']) == (
        2, 12, 6.0, 40.0)
    assert (record.order, record.parameters) == ('o', 3)


def test_the_order_is_the_loaders_and_looking_changes_nothing():
    class Sampler:
        def __iter__(self):
            yield from torch.randperm(12).reshape(3, 4).tolist()

    def run(seed: int) -> argparse.Namespace:
        loader = type('Loader', (), {'__len__': lambda self: 3, 'batch_sampler': Sampler(),
                                     'sampler': None, 'dataset': None})()
        return argparse.Namespace(
            loader_train=loader, start_epoch=0,
            args=argparse.Namespace(seed=seed, rank=0, batch_size=4))

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = image_order(run(0))
    assert torch.equal(torch.rand(3), expected)
    assert first == image_order(run(0)) != image_order(run(1))


def test_flags_that_only_show_something_decide_nothing(images):
    from tricks_plugin.timm.flags import parse
    def settings(*words: str) -> str:
        args = parse([str(images), *TINY, *words]).args
        return flags_digest(args)
    assert settings('--seed', '3', '--output', 'x', '--checkpoint-hist', '2') == settings()
    assert settings('--smoothing', '0.2') != settings()
