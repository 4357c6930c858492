"""What trainings record: the metric of the end, time without validation, paired beginnings."""

from __future__ import annotations

import json
import math
import re
from types import SimpleNamespace

import pytest
import torch

from tricks_plugin.ablate import process
from tricks_plugin.ablate.identity import digest, portable
from tricks_plugin.ablate.metrics import value_of
from tricks_plugin.ablate.process import checks, held, run_spec
from tricks_plugin.ablate.record import Clock, weights_digest
from tricks_plugin.plan.errors import FailedRunError, TrickError


@pytest.fixture()
def record():
    pytest.importorskip('mmengine')
    from tricks_plugin.ablate.mm_record import RecordHook
    return RecordHook


def validate(hook, iteration: int, metrics: dict) -> None:
    runner = SimpleNamespace(iter=iteration, epoch=iteration // 10)
    hook.before_val(runner)
    hook.after_val_epoch(runner, metrics)
    hook.after_val(runner)


def test_the_last_validation_counts_even_where_it_has_no_value(record):
    hook = record('pascal_voc/mAP', True)
    validate(hook, 10, {'pascal_voc/mAP': 0.25})
    assert (hook.value, hook.validated) == (0.25, 10)
    validate(hook, 20, {})
    assert hook.value is None and hook.validated == 20
    assert [point['value'] for point in hook.curve] == [0.25]


def test_coco_without_detections_is_0_and_the_best_does_not_count(record):
    hook = record('coco/bbox_mAP', True)
    validate(hook, 10, {'coco/bbox_mAP': 0.5})
    validate(hook, 20, {})
    assert hook.value == 0.0 and [point['epoch'] for point in hook.curve] == [1, 2]
    assert value_of('accuracy/top1', {}) is None


@pytest.mark.parametrize('name', [
    'coco/bbox_mAP_s', 'coco/AR_s@1000', 'lvis/bbox_APr', 'dod/mAP_short', 'coco/AP (M)',
    'cells/AP50'])
def test_minus_1_for_no_objects_is_no_value(record, name):
    assert value_of(name, {name: -1.0}) is None and value_of(name, {name: 0.0}) == 0.0
    hook = record(name, True)
    with pytest.raises(TrickError, match=f'^--metric {re.escape(name)}: the validation has no obj'):
        validate(hook, 10, {name: -1.0, 'coco/bbox_mAP': 0.5})
    assert hook.value is None and hook.curve == []


def test_minus_1_of_another_metric_is_its_value_and_other_metrics_are_kept_without(record):
    assert value_of('accuracy/kappa', {'accuracy/kappa': -1.0}) == -1.0
    hook = record('coco/bbox_mAP', True)
    validate(hook, 10, {'coco/bbox_mAP': 0.5, 'coco/bbox_mAP_s': -1.0, 'R2': -1.0})
    assert hook.curve[0]['metrics'] == {'coco/bbox_mAP': 0.5, 'R2': -1.0}


def test_an_unknown_metric_is_refused_at_the_first_validation(record):
    with pytest.raises(TrickError, match="unknown metric 'acuracy/top1'; did you mean 'accuracy/"):
        validate(record('acuracy/top1', False), 5, {'accuracy/top1': 1.0})
    with pytest.raises(TrickError, match='gives no metric'):
        validate(record(None, False), 5, {})
    hook = record(None, False)
    validate(hook, 5, {'loss': 2.0, 'accuracy/top1': 40.0})
    assert hook.metric == 'accuracy/top1' and hook.curve[0]['epoch'] is None


def test_the_clock_stands_still_beside_training(record, monkeypatch):
    now = [0.0]
    monkeypatch.setattr('tricks_plugin.ablate.record.time.perf_counter', lambda: now[0])
    hook = record('m', True)
    model = torch.nn.Linear(2, 1)
    hook.before_train(SimpleNamespace(model=model))
    now[0] = 3.0
    hook.before_val(None)
    now[0] = 10.0
    hook.after_val(None)
    now[0] = 14.0
    hook.after_train(None)
    now[0] = 20.0
    hook.before_val(None)  # a validation after the end does not set the clock going
    hook.after_val(None)
    now[0] = 30.0
    assert hook.clock.seconds == 7.0 and hook.parameters == 3


def test_a_clock_that_runs_is_read_while_it_runs(monkeypatch):
    now = [5.0]
    monkeypatch.setattr('tricks_plugin.ablate.record.time.perf_counter', lambda: now[0])
    clock = Clock()
    clock.start()
    now[0] = 7.0
    clock.start()
    assert clock.seconds == 2.0


def test_the_digest_of_weights_is_of_names_and_values():
    torch.manual_seed(0)
    one, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    before = weights_digest(one)
    assert weights_digest(other) != before
    other.load_state_dict(one.state_dict())
    assert weights_digest(other) == before
    assert weights_digest(torch.nn.Sequential(one)) != before
    one.bias.data[1] += 1e-6
    assert weights_digest(one) != before


def test_a_result_is_written_last_and_by_one_process_alone(tmp_path, monkeypatch):
    folder = tmp_path / 'seed0'
    folder.mkdir()
    spec = {'folder': str(folder), 'subject': 's', 'rung': 'r', 'seed': 0, 'settings': 'd',
            'planned': ['mixup', 'ema'], 'parent': None}
    (folder / 'spec.json').write_text(json.dumps(spec))
    monkeypatch.setattr(process, 'machine', lambda: 'here')

    def train(given: dict) -> dict:
        assert given == spec and not (folder / 'result.json').exists()
        (folder / 'work').mkdir()
        (folder / 'work' / 'tricks_evidence.json').write_text(json.dumps({'tricks': [
            {'name': 'mixup', 'live': False, 'measured': 'lam was 1'}]}))
        return {'value': math.nan}

    words = [str(folder / 'spec.json')]
    with held(folder), pytest.raises(FailedRunError, match='another process trains this run'):
        run_spec(words, train, ())
    assert run_spec(words, train, ()) == 0
    found = json.loads((folder / 'result.json').read_text())
    assert found['value'] is None and found['settings'] == 'd'
    assert found['checks'] == [{'trick': 'mixup', 'live': False, 'text': 'lam was 1'},
                               {'trick': 'ema', 'live': None, 'text': 'not measured'}]
    assert checks(tmp_path, ['ema']) == [{'trick': 'ema', 'live': None, 'text': 'not measured'}]


def test_numbers_that_are_not_finite_survive_the_config_file(tmp_path):
    config = pytest.importorskip('mmengine.config').Config
    from tricks_plugin.ablate.mm import config_text
    tree = {'a': {'clip': math.inf, 'low': [-math.inf, 1.5]}, 'b': (math.nan, 'inf', None)}
    (tmp_path / 'x.py').write_text(config_text(tree))
    found = config.fromfile(str(tmp_path / 'x.py'), use_predefined_variables=False)
    assert found.a.clip == math.inf and list(found.a.low) == [-math.inf, 1.5]
    assert math.isnan(found.b[0]) and list(found.b[1:]) == ['inf', None]
    assert digest(portable(tree)) == digest(portable({**tree}))
