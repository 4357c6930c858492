"""The examples of plain functions run: torchvision's detectors, and Lightning."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'


def load(name):
    spec = importlib.util.spec_from_file_location(f'example_{name}', EXAMPLES / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Body(nn.Module):
    """Two small maps, as torchvision's backbones give them."""

    out_channels = 8

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 8, 1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())

    def forward(self, images):
        first = self.first(images)
        return {'0': first, '1': self.second(first)}


@pytest.fixture(scope='module')
def detection():
    pytest.importorskip('torchvision')
    return load('pytorch_detection')


@pytest.fixture()
def network(detection):
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    torch.manual_seed(0)
    return detection.build(Body(), 3, eps=0.0, min_size=96, max_size=160,
                           anchor_generator=AnchorGenerator(((32,), (64,)), ((0.5, 1.0),) * 2))


def losses_of(detection, network, weights=None, eps=0.0):
    images, targets = detection.random_batches(1)[0]
    network.double().head.classification_head.eps = eps
    for target in targets:
        target['boxes'] = target['boxes'].double()
        target['weights'] = torch.tensor([1.0, 1.0] if weights is None else weights).double()
    return network([image.double() for image in images], targets)


def test_with_weights_of_one_the_losses_are_torchvisions(detection, network):
    from torchvision.models.detection.retinanet import (
        RetinaNetClassificationHead,
        RetinaNetRegressionHead,
    )
    ours = losses_of(detection, network)
    network.head.classification_head.__class__ = RetinaNetClassificationHead
    network.head.regression_head.__class__ = RetinaNetRegressionHead
    theirs = losses_of(detection, network)
    assert theirs['bbox_regression'] > 0
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=0)


def test_a_box_of_weight_zero_teaches_no_place_and_half_weights_half_of_it(detection, network):
    whole, half, none = (losses_of(detection, network, weights)['bbox_regression']
                         for weights in ([1.0, 1.0], [0.5, 0.5], [0.0, 0.0]))
    torch.testing.assert_close(half, whole / 2)
    assert none == 0
    parts = [losses_of(detection, network, weights)['bbox_regression']
             for weights in ([1.0, 0.0], [0.0, 1.0])]
    torch.testing.assert_close(parts[0] + parts[1], whole)
    smooth, hard = (losses_of(detection, network, eps=eps)['classification'] for eps in (0.1, 0.0))
    assert abs(smooth - hard) > 0.01


def test_a_pair_is_blended_on_one_canvas_and_keeps_its_shares(detection):
    class Fixed:
        def beta(self, one, other):
            return 0.25

    images = [torch.full((3, 2, 4), 0.8), torch.full((3, 4, 2), 0.4)]
    targets = [{'boxes': torch.zeros(1, 4), 'labels': torch.tensor([1])},
               {'boxes': torch.ones(2, 4), 'labels': torch.tensor([0, 2])}]
    mixed, joined = detection.mix(images, targets, Fixed())
    assert mixed[0].shape == (3, 4, 4)
    # 0.25 * 0.8 + 0.75 * 0.4 where both lie, one of the two terms elsewhere, 0 in the corner.
    assert mixed[0][0, 0].tolist() == pytest.approx([0.5, 0.5, 0.2, 0.2])
    assert mixed[0][0, 3].tolist() == pytest.approx([0.3, 0.3, 0.0, 0.0])
    assert joined[0]['labels'].tolist() == [1, 0, 2]
    assert joined[0]['weights'].tolist() == [0.25, 0.75, 0.75]
    plain, alone = detection.mix(images, targets, Fixed(), alpha=0.0)
    assert torch.equal(plain[1], images[1]) and alone[1]['weights'].tolist() == [1.0, 1.0]
    assert alone[1]['boxes'].shape == (2, 4)


def test_a_detector_learns(detection, network):
    def loss():
        with torch.no_grad():
            return float(sum(losses_of(detection, network).values()))

    before = loss()
    history = detection.train(network.float(), detection.random_batches(2), epochs=20, off_epochs=4,
                              lr=0.1)
    assert len(history) == 40 and all(math.isfinite(one) for one in history)
    assert loss() < 0.95 * before


def test_the_lightning_example_fits_on_a_page_and_trains(tmp_path):
    assert len((EXAMPLES / 'lightning_classifier.py').read_text().splitlines()) <= 60
    lightning = pytest.importorskip('lightning')
    example = load('lightning_classifier')
    torch.manual_seed(0)
    images = torch.randn(24, 3, 8, 8)
    labels = torch.arange(24) % 3
    images[torch.arange(24), labels] += 2.0
    data = torch.utils.data.TensorDataset(images, labels)
    loader = torch.utils.data.DataLoader(data, 8, shuffle=True)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
                            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    model = example.Classifier(network, 3, 8)
    rates = []

    class Rates(lightning.Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            rates.append(trainer.optimizers[0].param_groups[0]['lr'])

    trainer = lightning.Trainer(
        max_epochs=20, accelerator='cpu', logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[Rates()],
        default_root_dir=tmp_path)
    trainer.fit(model, loader, torch.utils.data.DataLoader(data, 24))
    # 60 updates of 8 images: the LR goes from 0 over 3 updates to 0.1 * 8 / 256, then down to 0.
    assert rates[0] == 0.0 and max(rates) == rates[3] == pytest.approx(0.1 * 8 / 256)
    assert rates[-1] < 0.01 * rates[3]
    decays = {group['weight_decay'] for group in trainer.optimizers[0].param_groups}
    assert decays == {0.0, 1e-4}
    assert model.average.momentum == pytest.approx(1 / 6)
    assert int(model.average.n_averaged) == 60
    # The average of the last updates lies near the weights, and is not the same.
    gap = (model.average.module[-1].weight - network[-1].weight).abs().max()
    assert 0 < gap < 0.05
    assert trainer.callback_metrics['accuracy'] > 0.5


def test_the_lightning_example_validates_on_images_as_tested(tmp_path, monkeypatch):
    pytest.importorskip('lightning')
    example, seen = load('lightning_classifier'), []

    class Trainer:
        def __init__(self, max_epochs):
            assert max_epochs == 3

        def fit(self, model, *loaders):
            seen.extend([model, *loaders])

    monkeypatch.setattr(example.lightning, 'Trainer', Trainer)
    monkeypatch.setattr(example.models, 'resnet50', lambda num_classes: nn.Linear(1, num_classes))
    pixels = np.random.default_rng(0).integers(0, 256, (256, 320, 3), dtype=np.uint8)
    for name in ('train/ant', 'train/bee', 'val/ant', 'val/bee'):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / name / 'one.png')
    example.main(str(tmp_path), 3)
    model, train, val = seen
    assert model.classes == 2
    images, labels = next(iter(val))
    assert labels.tolist() == [0, 1]
    # The short side is 256 px already: the middle 224 px of both.
    middle = torch.from_numpy(pixels[16:240, 48:272]).permute(2, 0, 1) / 255
    torch.testing.assert_close(images, middle.expand(2, 3, 224, 224))
    first, second = next(iter(train))[0]
    assert not torch.equal(first, second)
