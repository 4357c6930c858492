"""What timm's settings tell of the run."""

from __future__ import annotations

import tarfile

import pytest

pytest.importorskip('timm')

from support.timm_train import settings_of, write_images  # noqa: E402

from tricks_plugin.common.processes import planned_for  # noqa: E402
from tricks_plugin.timm import run_facts as module  # noqa: E402
from tricks_plugin.timm.plan import plan_tricks  # noqa: E402
from tricks_plugin.timm.run_facts import run_facts  # noqa: E402


def of(data, **own):
    return run_facts(vars(settings_of(data_dir=str(data), **own)))


def test_images_updates_and_what_augments(tmp_path):
    write_images(tmp_path / 'train', 11)
    write_images(tmp_path / 'validation', 2)
    images = sum(1 for _ in (tmp_path / 'train').rglob('*.*'))
    found = of(tmp_path, batch_size=4, grad_accum_steps=2, epochs=3, sched='none',
               pretrained=True, num_classes=2, no_aug=False)
    # timm drops the unfull batch; each epoch ends with an update
    assert found.images == images and found.updates == -(-(images // 4) // 2) * 3
    assert (found.epochs, found.classes, found.scale, found.pretrained) == (3, 2, 32, 'backbone')
    assert found.task == 'classification' and found.augmentation == ('scale',)
    with planned_for(2):
        each = -(-images // 2) // 4
        assert of(tmp_path, batch_size=4, epochs=3, sched='none').updates == each * 3
    assert of(tmp_path, mixup=0.2).augmentation == ()  # --no-aug
    assert of(tmp_path, no_aug=False, scale=[1.0, 1.0], mixup=0.2).augmentation == ('mixup',)


def test_tars_are_counted_and_what_cannot_be_is_said(tmp_path, monkeypatch):
    write_images(tmp_path / 'made', 3)
    images = sum(1 for _ in (tmp_path / 'made').rglob('*.*'))
    (tmp_path / 'data').mkdir()
    for split in ('train', 'validation'):
        with tarfile.open(tmp_path / 'data' / f'{split}.tar', 'w') as tar:
            tar.add(tmp_path / 'made', '.')
    assert of(tmp_path / 'data').images == images
    monkeypatch.setattr(module, '_LARGEST_TAR', 10)
    assert 'is too large for a plan' in of(tmp_path / 'data').unknown[0]
    assert 'is not there' in of(tmp_path / 'none').unknown[0]
    found = of(tmp_path, dataset='tfds/x')
    assert found.images is None and found.updates is None and found.unknown == (
        'the number of images is not known: --dataset tfds/x is read by its own library',)
    monkeypatch.setattr(module, '_MOST_FILES', 2)
    (tmp_path / 'made').rename(tmp_path / 'train')
    (tmp_path / 'validation').mkdir()
    assert 'more than the 2 files' in of(tmp_path).unknown[0]


def test_a_recipe_holds_smoothing_back_in_a_short_run_and_a_name_applies_it(tmp_path):
    write_images(tmp_path / 'train', 12)
    write_images(tmp_path / 'validation', 2)
    images = sum(1 for _ in (tmp_path / 'train').rglob('*.*'))

    def planned(tricks, updates, **own):
        args = settings_of(batch_size=images, num_classes=10, epochs=updates, **{
            'data_dir': str(tmp_path), 'smoothing': 0.0, 'sched': 'none', **own})
        return plan_tricks(args, {'epochs'}, tricks)[:2]

    after, plan = planned('bag_of_tricks', 1140)
    row = plan['label_smoothing']
    assert row.status == 'held_back' and row.changes == () and row.promise is None
    assert row.reason == (
        '1140 updates (of 1500) are too few for label smoothing: in 1140 updates on 2500 images of '
        'CIFAR-10 it cost 0.55 points of top-1 (six seeds, one data set); --tricks '
        '...,label_smoothing applies it all the same')
    assert after.smoothing == 0.0 and plan.run.updates == 1140
    assert plan.to_dict()['run'] == plan.run.to_dict()
    assert plan['mixup'].status == 'applied'  # neither loss nor gain beyond doubt was measured
    default = planned('bag_of_tricks', 1140, smoothing=0.1)
    assert default[0].smoothing == 0.1 and default[1]['label_smoothing'].reason.startswith(
        row.reason.partition('; --tricks')[0] + "; timm's own --smoothing 0.1 stays, and "
        '--smoothing 0 goes without; --tricks ')
    after, plan = planned('bag_of_tricks,label_smoothing', 1140)
    assert plan['label_smoothing'].status == 'applied' and after.smoothing > 0
    assert planned('bag_of_tricks', 1500)[1]['label_smoothing'].status == 'applied'
    unknown = planned('bag_of_tricks', 10, data_dir=None)[1]
    assert unknown.run.updates is None and unknown['label_smoothing'].status == 'applied'
