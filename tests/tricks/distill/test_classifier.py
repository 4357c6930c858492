"""A classifier of mmpretrain's form, whose head names its loss `loss`: scores, and their share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import MODELS as MMENGINE_MODELS
from support.distill import attached

from tricks_plugin.plan import TrickError
from tricks_plugin.tricks.distill.evidence import DistillEvidence
from tricks_plugin.tricks.distill.hook import DistillationHook, _sum


class ScoreHead(BaseModule):
    """A head of mmpretrain's form: its scores are its own call, its loss uses them."""

    def __init__(self, width):
        super().__init__()
        self.fc = torch.nn.Linear(width, 3)

    def forward(self, features):
        return self.fc(features)

    def loss(self, features, samples):
        return dict(loss=torch.nn.functional.cross_entropy(self(features), samples))


@MMENGINE_MODELS.register_module()
class ScorerOfTests(BaseModel):
    """A classifier of mmpretrain's form."""

    def __init__(self, width=4):
        super().__init__()
        self.backbone = torch.nn.Linear(3, width)
        self.head = ScoreHead(width)

    def loss(self, inputs, samples):
        return self.head.loss(self.backbone(inputs), samples)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.head(self.backbone(inputs))


@pytest.fixture()
def scorer(tmp_path):
    """A wide teacher, and its config and checkpoint."""
    config, weights = tmp_path / 'scorer.py', tmp_path / 'scorer.pth'
    config.write_text("default_scope = 'mmengine'\nmodel = dict(type='ScorerOfTests', width=8)\n")
    torch.manual_seed(0)
    teacher = ScorerOfTests(8)
    torch.save(teacher.state_dict(), weights)
    return teacher, config, weights


def test_a_classifier_learns_from_the_teachers_class_scores(scorer):
    (teacher, config, weights), model = scorer, ScorerOfTests()
    hook = DistillationHook(str(config), str(weights), scores=True, weight=0.5, temperature=2.0)
    attached(model, hook)
    images, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    losses = model(images, labels, mode='loss')
    # Of KL at T = 2, times T^2 and the weight: the sum of p (ln p - ln q) by hand.
    p, q = (torch.softmax(one(images) / 2, 1) for one in (teacher, model))
    expected = 0.5 * 4 * (p * (p.log() - q.log())).sum() / 5
    torch.testing.assert_close(losses['loss_distill'], expected)
    losses['loss_distill'].backward()
    assert float(model.backbone.weight.grad.abs().max()) > 0
    config.write_text("default_scope = 'mmengine'\nmodel = dict(type='ScorerOfTests')\n")
    with pytest.raises(TrickError, match=r'shapes: backbone.weight is \(8, 3\) and not \(4, 3\)'):
        attached(model, DistillationHook(str(config), str(weights), scores=True))


def test_the_share_is_of_what_a_step_minimises_and_not_of_a_heads_entry_loss(scorer):
    (teacher, config, weights), model = scorer, ScorerOfTests()
    images, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    with torch.no_grad():
        mine, his = model(images), teacher(images)
        own = torch.nn.functional.cross_entropy(mine, labels)
        p, q = (torch.softmax(one / 2, 1) for one in (his, mine))
        taught = 400 * 4 * (p * (p.log() - q.log())).sum() / 5
    assert taught > own  # so that a share of the head's own loss would be more than the whole
    hook = DistillationHook(str(config), str(weights), scores=True, weight=400.0, temperature=2.0)
    wrapper = attached(model, hook).optim_wrapper
    run = SimpleNamespace(by_epoch=True, max_epochs=2, epoch_length=1, max_iterations=2, epoch=0,
                          distillation=hook.distillation)
    evidence = DistillEvidence()
    evidence.start(run)
    run.outputs = model.train_step((images, labels), wrapper)
    # mmengine's log shows the head's own loss under the name of the whole.
    torch.testing.assert_close(run.outputs['loss'], own)
    evidence.after_iteration(run)
    share = evidence.finding(run).values['share']
    assert 0 < share < 1 and share == pytest.approx(float(taught / (taught + own)), rel=1e-4)


@pytest.mark.parametrize(('losses', 'expected'), [
    ({'loss': torch.tensor(2.0), 'loss_distill': torch.tensor(3.0), 'accuracy': torch.tensor(50.0)},
     5.0), ({'loss_cls': [torch.tensor(1.0), torch.tensor([2.0, 4.0])], 'loss_box': []}, 4.0)])
def test_the_whole_is_the_loss_that_mmengine_returns_to_the_optimizer(losses, expected):
    assert float(_sum(losses)) == expected == float(ScorerOfTests().parse_losses(losses)[0])
