"""mmdet's YOLOv3 in two gloo processes against one process with the whole batch."""

from __future__ import annotations

import copy
import json

import pytest
import torch

pytest.importorskip('mmdet')

from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from support.sync_bn import NORMS, images, yolov3

from tricks_plugin.functional import synchronize_batch_norms

pytestmark = pytest.mark.slow


def log_of(folder):
    return next(folder.glob('*/*.log')).read_text()


def plain_model():
    init_default_scope('mmdet')
    return MODELS.build(yolov3())


def test_losses_add_up_to_those_of_the_whole_batch(one, two):
    first, second = (result['model']['losses'] for result in two[0])
    for both, whole in zip(zip(first, second, strict=True), one[0]['losses'], strict=True):
        assert sum(both) == pytest.approx(whole, rel=1e-6)
    assert one[0]['losses'][0] != pytest.approx(one[0]['losses'][1], rel=1e-3)


def test_weights_and_statistics_are_those_of_the_whole_batch(one, two, start):
    before = torch.load(start / 'start.pth', weights_only=False)['state_dict']
    for key in ('state', 'ema'):
        for result in two[0]:
            assert list(result['model'][key]) == list(one[0][key])
            for name, value in one[0][key].items():
                # mmdet's losses take their targets, and some of their steps, in float32
                torch.testing.assert_close(
                    result['model'][key][name], value, rtol=0,
                    atol=1e-9 + 1e-6 * float(value.abs().max()),
                    msg=lambda text, name=name: f'{name}: {text}')
    for name in ('bbox_head.convs_bridge.0.bn.running_var',
                 'backbone.layer3.0.depthwise_conv.bn.weight'):
        # that they agree means something only where training moved them
        assert (one[0]['state'][name] - before[name]).abs().max() > 1e-4
    assert not torch.equal(one[0]['ema'][name], one[0]['state'][name])


def test_layers_that_train_are_converted_and_frozen_stages_are_not(two):
    for result in two[0]:
        kinds = result['model']['kinds']
        plain = [name for name, kind in kinds.items() if kind == 'BatchNorm2d']
        assert plain == ['backbone.layer1.0.depthwise_conv.bn', 'backbone.layer1.0.linear_conv.bn']
        assert set(kinds.values()) == {'BatchNorm2d', 'CrossRankBatchNorm'}
        # conv1 has fixed weights, but mmdet leaves it in train mode, with batch statistics
        assert kinds['backbone.conv1.bn'] == 'CrossRankBatchNorm'
        assert len(kinds) == 72
    assert 'SyncBatchNormHook: converted 70, left 2: frozen (BN layers, 2 processes)' \
        in log_of(two[1])


def test_one_process_has_nothing_to_synchronize(one):
    assert set(one[0]['kinds'].values()) == {'BatchNorm2d'}
    assert 'SyncBatchNormHook: one process holds the whole batch, nothing to synchronize (' \
        in log_of(one[1])
    row, = json.loads((one[1] / 'tricks_evidence.json').read_text())['tricks']
    assert row['live'] is True  # and strict=True did not stop the run
    assert row['measured'].startswith('one process holds the whole batch: ')


def test_the_evidence_of_the_run_is_live(two):
    row, = json.loads((two[1] / 'tricks_evidence.json').read_text())['tricks']
    assert (row['name'], row['live'], row['values']['plain']) == ('sync_bn', True, 0)
    assert row['values']['offset'] > 0.01
    assert row['values']['measured_outputs'] == 6  # three layers in two iterations


@pytest.mark.parametrize('norm', NORMS)
def test_layers_that_share_with_no_one_are_reported_dead(two, norm):
    for result in two[0]:
        found = result[f'evidence {norm}']
        assert [found[f'{name}, early'] for name in ('live', 'broken', 'plain')] == [None] * 3
        live, measured, values = found['live']
        assert live is True and values['offset'] > 0.05
        live, measured, values = found['broken']
        assert live is False and values['offset'] < 1e-5
        assert measured.startswith('1 BN layers synchronized, 0 not, 0 frozen; local means off')
        live, measured, values = found['plain']
        assert live is False
        assert measured.startswith('0 BN layers synchronized, 1 not, 0 frozen')
        assert found['live, then alone'] is False
        assert found['live, then plain'] == (False, 1)


def test_checkpoints_move_between_plain_and_converted_models(two):
    saved = torch.load(two[1] / 'epoch_1.pth', weights_only=False, map_location='cpu')
    plain = plain_model()
    assert list(saved['state_dict']) == list(plain.state_dict())
    plain.load_state_dict(saved['state_dict'], strict=True)
    converted = plain_model().train()
    assert synchronize_batch_norms(converted).trains
    converted.load_state_dict(plain.state_dict(), strict=True)
    data = [images(2)[0], images(2)[1]]
    batch = dict(inputs=[item['inputs'] for item in data],
                 data_samples=[item['data_samples'] for item in data])
    outputs = []
    for model in (plain, converted):
        model.eval()
        with torch.no_grad():
            fed = model.data_preprocessor(copy.deepcopy(batch))
            outputs.append(torch.cat([level.flatten() for level in
                                      model(fed['inputs'], mode='tensor')[0]]))
    assert torch.equal(*outputs)
