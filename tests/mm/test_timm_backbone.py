"""`TimmBackbone`: timm's features, timm's names, and what is frozen stays as it was."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip('torch')
timm = pytest.importorskip('timm')
pytest.importorskip('mmengine')

from mmengine.config import Config  # noqa: E402
from mmengine.registry import MODELS  # noqa: E402
from torch import nn  # noqa: E402

import tricks_plugin  # noqa: E402
from tricks_plugin.common.sync_bn import synchronize_batch_norms  # noqa: E402
from tricks_plugin.mm.timm_backbone import TimmBackbone  # noqa: E402

SMALL = 'test_efficientnet'


def images() -> Any:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def file_of(path: Path, content: Any) -> str:
    torch.save(content, path)
    return str(path)


@pytest.mark.parametrize(('name', 'levels'), [(SMALL, (1, 3)), ('test_resnet', (2, 4)),
                                              ('test_convnext', (0, 2))])
def test_the_features_and_the_names_are_timms(name: str, levels: tuple[int, ...]) -> None:
    whole = timm.create_model(name, num_classes=0)
    plain = timm.create_model(name, features_only=True, out_indices=levels)
    backbone = TimmBackbone(name, levels).eval()
    weights = whole.state_dict()
    assert backbone.state_dict().keys() <= weights.keys()
    assert dict(backbone.named_parameters()).keys() <= weights.keys()
    backbone.load_state_dict({key: weights[key] for key in backbone.state_dict()})
    # timm's own feature network joins the first two parts of some names.
    known = {key.replace('.', '_'): value for key, value in weights.items()}
    plain.load_state_dict({key: known[key.replace('.', '_')] for key in plain.state_dict()})
    expected = plain.eval()(images())
    assert [tuple(one.shape) for one in expected] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)]
    for ours, theirs in zip(backbone(images()), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_weights_of_a_timm_training_are_taken_and_averaged_ones_first(tmp_path: Path) -> None:
    model = timm.create_model(SMALL, num_classes=7)
    average = {key: value + 1 for key, value in model.state_dict().items()}
    plain = file_of(tmp_path / 'plain.pth', model.state_dict())
    run = file_of(tmp_path / 'run.pth.tar', dict(
        state_dict={f'module.{key}': value for key, value in model.state_dict().items()},
        state_dict_ema=average, epoch=3))
    for path, source in ((plain, model.state_dict()), (run, average)):
        backbone = TimmBackbone(SMALL, (1, 2), checkpoint=path)
        assert all(torch.equal(value, source[key])
                   for key, value in backbone.state_dict().items())
    backbone.init_weights()
    assert torch.equal(backbone.conv_stem.weight, average['conv_stem.weight'])


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    weights = timm.create_model(SMALL).state_dict()
    del weights['bn1.weight']
    weights['conv_stem.weight'] = weights['conv_stem.weight'][:3]
    path = file_of(tmp_path / 'odd.pth', weights)
    with pytest.raises(tricks_plugin.TrickError,
                       match=r'missing: bn1\.weight; shape: conv_stem\.weight \(3, 3, 3, 3\) for'):
        TimmBackbone(SMALL, (1, 2), checkpoint=path)
    (tmp_path / 'text.pth').write_text('nothing of the kind')
    with pytest.raises(tricks_plugin.TrickError, match=r'text\.pth.* cannot be read'):
        TimmBackbone(SMALL, (1, 2), checkpoint=str(tmp_path / 'text.pth'))
    with pytest.raises(tricks_plugin.TrickError, match=r'none\.pth.* cannot be read'):
        TimmBackbone(SMALL, (1, 2), checkpoint=str(tmp_path / 'none.pth'))


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(model_name='test_efficientnett'), "did you mean 'test_efficientnet'"),
    (dict(model_name=SMALL, out_indices=(1, 9)), 'out_indices='),
    (dict(model_name=SMALL, frozen_stages=5), 'from -1 to 4 for test_efficientnet, got 5'),
    (dict(model_name=SMALL, frozen_stages=-2), 'got -2'),
    (dict(model_name=SMALL, pretrained=True, checkpoint='x.pth'), 'two sources of weights'),
    (dict(model_name=SMALL, model_kwargs=dict(odd=1)), "cannot build 'test_efficientnet'"),
])
def test_wrong_settings_are_one_clear_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(tricks_plugin.TrickError, match=message):
        TimmBackbone(**settings)


def test_frozen_stages_are_those_of_mmdets_resnet() -> None:
    resnet = pytest.importorskip('mmdet.models.backbones').ResNet
    for frozen in (-1, 0, 1, 3):
        theirs = resnet(18, frozen_stages=frozen, norm_eval=False)
        theirs.train()
        ours = TimmBackbone('resnet18', frozen_stages=frozen).train()
        assert ({name for name, one in ours.named_parameters() if not one.requires_grad}
                == {name for name, one in theirs.named_parameters() if not one.requires_grad})
        assert ({name for name, one in ours.named_modules()
                 if isinstance(one, nn.BatchNorm2d) and not one.training}
                == {name for name, one in theirs.named_modules()
                    if isinstance(one, nn.BatchNorm2d) and not one.training})


def test_frozen_parts_and_statistics_stay_and_the_rest_learns() -> None:
    backbone = TimmBackbone(SMALL, (2, 4), frozen_stages=1, norm_eval=True)
    before = copy.deepcopy(backbone.state_dict())
    optimizer = torch.optim.SGD((one for one in backbone.parameters() if one.requires_grad), 0.1)
    sum(one.square().mean() for one in backbone.train()(images())).backward()
    optimizer.step()
    moved = {key for key, value in backbone.state_dict().items()
             if not torch.equal(value, before[key])}
    assert not [key for key in moved if 'running' in key or 'tracked' in key]
    fixed = ('conv_stem', 'bn1', 'blocks.0', 'blocks.1')
    assert not [key for key in moved if key.startswith(fixed)]
    assert any(key.startswith('blocks.2') for key in moved)


def test_replaced_layers_are_used_and_copies_stand_alone() -> None:
    backbone = TimmBackbone('test_resnet', (1, 2))
    other = copy.deepcopy(backbone)
    nn.init.zeros_(other.bn1.weight)
    assert not torch.equal(backbone(images())[0], other(images())[0])
    calls: list[Any] = []
    backbone.bn1.register_forward_hook(lambda *_: calls.append('old'))
    backbone.bn1 = nn.Identity()
    backbone.bn1.register_forward_hook(lambda *_: calls.append('new'))
    backbone(images())
    assert calls == ['new']


def test_its_norms_can_be_synchronized() -> None:
    backbone = TimmBackbone(SMALL, (1, 3), frozen_stages=0)
    norms = [one for one in backbone.modules() if isinstance(one, nn.BatchNorm2d)]
    fixed = [one for one in norms if not one.training]
    synchronize_batch_norms(backbone)
    changed = [one for one in norms if type(one).__name__ != 'BatchNormAct2d']
    assert fixed and len(changed) == len(norms) - len(fixed)
    assert not any(one in changed for one in fixed)


def test_a_detector_takes_it_by_either_name_and_keeps_timms_keys() -> None:
    pytest.importorskip('mmdet')
    path = Path(__file__).resolve().parents[2] / 'configs/bccd/yolov3_efficientnet-lite0_bccd.py'
    cfg = Config.fromfile(path)
    backbone = cfg.model.backbone
    assert (backbone.type, backbone.frozen_stages) == ('tricks_plugin.TimmBackbone', 3)
    settings = dict(backbone, checkpoint=None)
    built = MODELS.build(settings)
    assert list(built.channels) == cfg.model.neck.in_channels[::-1] == [40, 112, 320]
    assert built.strides == (8, 16, 32)
    assert 'conv_stem.weight' in built.state_dict()
    assert type(MODELS.build(dict(type='TimmBackbone', model_name=SMALL))) is TimmBackbone
