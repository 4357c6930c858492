"""Samples to be looked at: what the whole pipeline and the batch-level tricks make of an image."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from mmengine.config import Config
from support.boxes import write_boxes, write_config

from tricks_plugin.mm.apply import apply_tricks
from tricks_plugin.mm.samples import TrainingSamples, chosen
from tricks_plugin.plan.errors import TrickError

pytestmark = pytest.mark.slow

SHAPES = dict(type='tricks_plugin.BatchRandomShapes', base=96, sizes=[64, 96], divisor=32,
              interval=10)


@pytest.fixture(scope='module')
def cfg(tmp_path_factory):
    return Config.fromfile(write_config(write_boxes(tmp_path_factory.mktemp('samples'))))


def loader(cfg, tricks=None, seed=3):
    return TrainingSamples(apply_tricks(cfg, tricks)[0], 'the config', seed)


def test_mixup_adds_a_partner_to_the_very_same_sample(cfg):
    plain, mixed = loader(cfg), loader(cfg, 'mixup')
    flipped = 0
    for number, index in enumerate(range(plain.length)):
        before, after = plain.load(index, number), mixed.load(index, number)
        assert before.path == after.path and before.path.endswith(f'/{index % 6}.png')
        assert before.weights is None and len(after.weights) == len(after.labels) == 4
        # The flip is the same, as the same seed draws it; mixup moves no box.
        assert np.array_equal(before.boxes, after.boxes[:2])
        flipped += before.boxes[0, 0] != 8 + index % 6
        # Images are of one grey level each: the blend tells the partner's, and the weights.
        lam, rest = after.weights[0], after.weights[2]
        assert lam + rest == pytest.approx(1) and after.weights[1] == lam
        partner = (after.image[5, 5, 0] - lam * 40.0 * (index % 6)) / rest
        off = partner / 40 - round(partner / 40)
        assert abs(off) <= 0.6 / 40 / rest and round(partner / 40) in set(range(6)) - {index % 6}
    assert 0 < flipped < plain.length


def test_the_seed_decides_and_the_order_of_loading_does_not(cfg):
    first, again = loader(cfg), loader(cfg)
    again.load(4, 0)
    one, other = first.load(2, 1), again.load(2, 1)
    assert np.array_equal(one.image, other.image) and np.array_equal(one.boxes, other.boxes)
    assert chosen(12, 5, seed=1) == chosen(12, 5, seed=1) != chosen(12, 5, seed=2)
    assert chosen(4, 4, seed=0) == [0, 1, 2, 3]


def test_a_shape_of_the_batch_is_applied_and_told(cfg):
    changed = copy.deepcopy(cfg)
    changed.model = dict(data_preprocessor=dict(
        pad_size_divisor=32, batch_augments=[SHAPES, dict(type='BatchSyncRandomResize')]))
    plain, shaped = loader(cfg), loader(changed)
    seen = set()
    for number in range(6):
        before, after = plain.load(number, number), shaped.load(number, number)
        h, w = after.image.shape[:2]
        seen.add((h, w))
        batch = {96: '128 x 96', 64: '96 x 64'}[h]
        assert after.batch == (f'BatchRandomShapes in iteration {10 * number}: batch of 128 x 96 '
                               f'px becomes {batch}')
        scale = np.array([w / 128, h / 96] * 2)
        assert np.allclose(after.boxes, before.boxes * scale, atol=1e-4)
        assert (after.image == 40 * number).all()
    assert seen == {(96, 128), (64, 85)}  # 64 / 96 of 128 is 85.3, which the batch pads to 96
    assert after.notes == ('BatchSyncRandomResize of the batch not drawn',)


def test_what_is_no_sample_of_detection_is_refused(cfg):
    changed = copy.deepcopy(cfg)
    del changed.train_dataloader.dataset.dataset.pipeline[-1]
    with pytest.raises(TrickError, match='sample 0 of the config is no packed sample of detection'):
        loader(changed).load(0, 0)
    changed.train_dataloader = dict(batch_size=2)
    with pytest.raises(TrickError, match='the config has no train_dataloader with a dataset'):
        loader(changed)
    with pytest.raises(TrickError, match='--samples must be <= the 4 training samples, got 5'):
        chosen(4, 5, 0)


def test_a_normalised_image_is_stretched_and_an_rgb_one_is_not_turned(cfg):
    import torch

    from tricks_plugin.mm.samples import as_rgb
    blue = torch.zeros(3, 2, 2, dtype=torch.uint8)
    blue[0] = 200
    assert as_rgb(blue, is_rgb=False)[0][0, 0].tolist() == [0, 0, 200]
    assert as_rgb(blue, is_rgb=True)[0][0, 0].tolist() == [200, 0, 0]
    image, stretched = as_rgb(torch.tensor([-2.0, 0.0, 2.0]).view(1, 1, 3), is_rgb=False)
    assert stretched and image[0, :, 0].tolist() == [0, 128, 255] and image.shape == (1, 3, 3)
    image, stretched = as_rgb(torch.tensor([-3.2, 99.6, 260.0]).view(1, 1, 3), is_rgb=False)
    assert not stretched and image[0, :, 0].tolist() == [0, 100, 255]
