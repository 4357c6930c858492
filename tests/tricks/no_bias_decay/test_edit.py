from __future__ import annotations

import copy

import pytest

pytest.importorskip('mmdet')
from mmengine.config import Config  # noqa: E402
from support.libraries import classifier  # noqa: E402

from tricks_plugin.mm.config_edit import plain  # noqa: E402
from tricks_plugin.plan.errors import TrickError  # noqa: E402
from tricks_plugin.tricks.no_bias_decay import NoBiasDecay  # noqa: E402

OURS = 'tricks_plugin.NoBiasDecayOptimWrapperConstructor'
BOTH = {'norm_decay_mult': 0.0, 'bias_decay_mult': 0.0}


def apply(cfg):
    """Applies the trick, checks that a second time changes nothing, and returns the verdict."""
    verdict = NoBiasDecay.from_dict({}).apply(cfg)
    if verdict.status == 'applied':
        once = copy.deepcopy(cfg)
        assert NoBiasDecay.from_dict({}).apply(cfg).status == 'present'
        assert cfg == once
    return verdict


def config(optimizer=None, model=None, **wrapper):
    optimizer = optimizer or {'type': 'SGD', 'lr': 0.02, 'weight_decay': 0.0003}
    return {'optim_wrapper': {'optimizer': optimizer, **wrapper}, 'model': model or {}}


def test_faster_rcnn_gets_mmengines_own_multipliers(zoo):
    cfg = plain(Config.fromfile(zoo / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'))
    verdict = apply(cfg)
    assert verdict.reason == 'weight decay 0.0001 stays on the other parameters only'
    assert cfg['optim_wrapper']['paramwise_cfg'] == {**BOTH, 'bypass_duplicate': True}
    assert 'constructor' not in cfg['optim_wrapper']


def test_detr_keeps_its_custom_keys_and_gets_the_constructor(zoo):
    cfg = plain(Config.fromfile(zoo / 'detr/detr_r50_8xb2-150e_coco.py'))
    paramwise = copy.deepcopy(cfg['optim_wrapper']['paramwise_cfg'])
    verdict = apply(cfg)
    assert "since custom_keys 'backbone' would bring it back" in verdict.reason
    assert cfg['optim_wrapper']['constructor'] == OURS
    assert cfg['optim_wrapper']['paramwise_cfg'] == paramwise


def test_swin_exempts_norms_by_custom_keys_and_gets_the_biases_added(zoo):
    cfg = plain(Config.fromfile(zoo / 'swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py'))
    keys = copy.deepcopy(cfg['optim_wrapper']['paramwise_cfg']['custom_keys'])
    assert all(entry['decay_mult'] == 0 for entry in keys.values())
    assert apply(cfg).status == 'applied'
    assert cfg['optim_wrapper']['paramwise_cfg'] == {'custom_keys': keys, **BOTH}
    assert 'constructor' not in cfg['optim_wrapper']


def test_yolox_has_it_already(zoo):
    cfg = plain(Config.fromfile(zoo / 'yolox/yolox_s_8xb8-300e_coco.py'))
    verdict = apply(cfg)
    assert verdict.reason == 'paramwise_cfg takes the decay off biases and norms already'
    assert verdict.promise == {}


@pytest.mark.parametrize(('name', 'words'), [
    ('ssd/ssd300_coco.py', 'since SSDVGG is not reached'),
    ('dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py', 'since the deformable convolution is not'),
    ('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py', 'since DIIHead is not reached'),
])
def test_models_with_parts_beyond_mmengines_rules_get_the_constructor(zoo, name, words):
    cfg = plain(Config.fromfile(zoo / name))
    assert words in apply(cfg).reason
    assert cfg['optim_wrapper']['constructor'] == OURS


def test_other_paramwise_settings_stay():
    cfg = config(paramwise_cfg={'bias_lr_mult': 2.0, 'bias_decay_mult': 0.5,
                                'dcn_offset_lr_mult': 0.1})
    assert apply(cfg).status == 'applied'
    assert cfg['optim_wrapper']['paramwise_cfg'] == {
        'bias_lr_mult': 2.0, 'dcn_offset_lr_mult': 0.1, **BOTH}


def test_a_decay_that_is_torchs_default_is_written_out():
    cfg = config({'type': 'AdamW', 'lr': 1e-4})
    verdict = apply(cfg)
    assert 'weight decay 0.01 stays' in verdict.reason
    assert 'is written out, being the default of AdamW' in verdict.reason
    assert cfg['optim_wrapper']['optimizer']['weight_decay'] == 0.01


@pytest.mark.parametrize(('cfg', 'status', 'words'), [
    ({}, 'not_applicable', 'no optimizer'),
    (config({'type': 'SGD', 'lr': 0.1}), 'not_applicable', 'no weight decay to exempt from'),
    (config({'type': 'SGD', 'weight_decay': 0}), 'not_applicable', 'no weight decay to exempt'),
    (config({'type': 'Unheard', 'lr': 0.1}), 'not_applicable', 'of Unheard is not known'),
    (config({'lr': 0.1}), 'not_applicable', 'is not known'),
    (config(constructor='my.Own'), 'not_applicable',
     'built by Own, which decides over the weight decay itself (Own is not registered'),
    (config(model={'backbone': {'type': 'ConvNeXt'}}), 'applied', 'since ConvNeXt is not reached'),
    (config(paramwise_cfg=BOTH, model={'backbone': {'type': 'X', 'layer_scale': 1e-5}}), 'applied',
     'since LayerScale is not'),
    (config(paramwise_cfg='none'), 'not_applicable', 'paramwise_cfg is not a dict'),
    (config(constructor='LearningRateDecayOptimizerConstructor'), 'present', 'off all biases'),
    (config(constructor=OURS), 'present', 'NoBiasDecayOptimWrapperConstructor takes'),
    (config(paramwise_cfg={'flat_decay_mult': 0}), 'present', 'takes the decay off'),
    (config(paramwise_cfg={**BOTH, 'custom_keys': {'norm': {'decay_mult': 0.0}}}), 'present', ''),
    (config(paramwise_cfg={**BOTH, 'custom_keys': {'neck': {'lr_mult': 2}}}), 'applied', "'neck'"),
    (config(paramwise_cfg={'norm_decay_mult': 0.0}), 'applied', ''),
    (config(paramwise_cfg=None, constructor='DefaultOptimWrapperConstructor'), 'applied', ''),
    (config(model={'norm_cfg': {'type': 'MMSyncBN'}}), 'applied', 'the norm MMSyncBN'),
    (config(model={'norm_cfg': {'type': 'SyncBN'}}), 'applied', 'other parameters only'),
])
def test_every_kind_of_config_gets_its_verdict(cfg, status, words):
    verdict = apply(cfg)
    assert verdict.status == status
    assert words in verdict.reason


def test_several_optimizers_are_left_to_their_constructor():
    cfg = {'optim_wrapper': {'g': {'optimizer': {'type': 'SGD'}}, 'constructor': 'my.GanBuilder'}}
    assert 'the constructor GanBuilder' in apply(cfg).reason


def test_a_parameter_is_refused():
    with pytest.raises(TrickError, match=r'tricks.no_bias_decay.mult: unknown parameter'):
        NoBiasDecay.from_dict({'mult': 0})


@pytest.mark.parametrize(('paramwise', 'status', 'words'), [
    (dict(layer_decay_rate=0.75), 'applied', 'by the multipliers of LearningRateDecay'),
    (dict(layer_decay_rate=0.75, norm_decay_mult=0.0, flat_decay_mult=0.0), 'present',
     'takes the decay off biases and norms already'),
    (dict(layer_decay_rate=0.75, custom_keys={'.head': dict(decay_mult=1.0)}), 'not_applicable',
     "custom_keys '.head' leave a decay on what they match"),
])
def test_mmpretrains_constructor_of_layer_wise_rates_knows_them(paramwise, status, words):
    cfg = plain(classifier())
    cfg['optim_wrapper'].update(constructor='LearningRateDecayOptimWrapperConstructor',
                                paramwise_cfg=dict(paramwise))
    verdict = NoBiasDecay.from_dict({}).apply(cfg)
    assert verdict.status == status and words in verdict.reason
    if status == 'applied':
        assert cfg['optim_wrapper']['paramwise_cfg'] == dict(
            layer_decay_rate=0.75, norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0)
