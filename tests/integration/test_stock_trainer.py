"""The main job: the stock mmdet trainer, one option, and a run that proves its plan."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import mmdet
import pytest
import torch
from mmengine.config import Config

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
STOCK = Path(mmdet.__file__).parent / '.mim' / 'tools'
CONFIG = ROOT / 'configs' / 'demo' / 'yolov3_digits.py'
BAG = ['linear_lr', 'cosine_warmup', 'no_bias_decay', 'label_smoothing', 'mixup', 'sync_bn',
       'random_shapes', 'finite_guard', 'data_monitor']
# 6 epochs of 8 iterations on 32 images; an effective batch of 4 against the config's base of 8.
SMALL = ['train_cfg.max_epochs=6', 'train_cfg.val_interval=6', 'train_dataloader.batch_size=4',
         'default_hooks.checkpoint.interval=3', 'default_hooks.checkpoint.max_keep_ckpts=3']
# The recipe alone would hold the shapes back in a run this small.
CONTRACT_ONE = ['runner_type=tricks_plugin.TricksRunner',
                'tricks=bag_of_freebies,cosine_warmup,random_shapes']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('digits') / 'digits'
    subprocess.run([sys.executable, ROOT / 'examples' / 'make_digits.py', '--out', folder,
                    '--train', '32', '--val', '8'], check=True, capture_output=True)
    return folder


def call(env, data, script, *args):
    done = subprocess.run([sys.executable, script, *map(str, args)], cwd=ROOT, text=True,
                          capture_output=True, env={**env, 'DIGITS_ROOT': f'{data}/'})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope='module')
def run(python_env, data, tmp_path_factory):
    """A run of the stock train.py with contract 1's two options."""
    work = tmp_path_factory.mktemp('run')
    text = call(python_env, data, STOCK / 'train.py', CONFIG, '--work-dir', work,
                '--cfg-options', *SMALL, *CONTRACT_ONE)
    return work, text


def test_the_plan_is_logged_and_saved(run):
    work, text = run
    plan = json.loads((work / 'tricks_plan.json').read_text())
    assert {row['name']: row['status'] for row in plan['tricks']} == dict.fromkeys(BAG, 'applied')
    assert text.count('The plan:') == 1 and 'GeometryPreservingMixUp' in text


def test_every_trick_is_live_and_mixup_goes_off_for_the_last_tenth(run):
    work, text = run
    last = json.loads((work / 'tricks_evidence.json').read_text())
    assert {row['name']: row['live'] for row in last['tricks']} == dict.fromkeys(BAG, True)
    assert 'planned as applied and shows no effect' not in text
    switch = [r for r in last['history'] if r['when'] == 'mixup switched']
    # a tenth of 6 epochs is one epoch: off from epoch 5, iteration 40
    assert [(r['epoch'], r['iteration']) for r in switch] == [(5, 40)]


def test_the_learning_rate_starts_at_0_and_follows_the_closed_form(run):
    work, _ = run
    rows = {row['name']: row['values'] for row in
            json.loads((work / 'tricks_evidence.json').read_text())['tricks']}
    assert rows['cosine_warmup']['lr_first'] == 0
    # the config's own 100 iterations are too long for a run of 48: a tenth of it, 5
    assert rows['cosine_warmup']['warmup_end_at'] == 5
    assert rows['cosine_warmup']['max_relative_deviation'] < 1e-9
    cfg = Config.fromfile(work / 'yolov3_digits.py')
    plain = Config.fromfile(CONFIG)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(
        plain.optim_wrapper.optimizer.lr * 4 / 8, rel=1e-12)
    scheduler = torch.load(work / 'epoch_6.pth', weights_only=False)['param_schedulers'][0]
    assert scheduler['last_step'] == 48


def test_a_checkpoint_has_the_keys_of_a_plain_model(run):
    work, _ = run
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    register_all_modules(init_default_scope=False)
    model = MODELS.build({**Config.fromfile(CONFIG).model, '_scope_': 'mmdet'})
    saved = torch.load(work / 'epoch_6.pth', weights_only=False)['state_dict']
    assert list(saved) == list(model.state_dict())


def test_the_dumped_config_resumes_and_tests_as_it_is(run, python_env, data, tmp_path):
    work, _ = run
    dumped = work / 'yolov3_digits.py'
    text = call(python_env, data, STOCK / 'train.py', dumped, '--work-dir', tmp_path,
                '--resume', work / 'epoch_3.pth')
    assert 'The plan:' not in text
    again = json.loads((tmp_path / 'tricks_evidence.json').read_text())
    assert {row['name']: row['live'] for row in again['tricks']} == dict.fromkeys(BAG, True)
    ends = [torch.load(folder / 'epoch_6.pth', weights_only=False) for folder in (work, tmp_path)]
    rates = [end['optimizer']['param_groups'][0]['lr'] for end in ends]
    assert rates[0] == rates[1]
    assert ends[0]['param_schedulers'] == ends[1]['param_schedulers']
    text = call(python_env, data, STOCK / 'test.py', dumped, work / 'epoch_6.pth',
                '--work-dir', tmp_path / 'test')
    assert re.search(r'Epoch\(test\) ', text)


def test_the_own_doors_train_and_test(python_env, data, tmp_path):
    text = call(python_env, data, ROOT / 'tools' / 'train.py', CONFIG, '--work-dir', tmp_path,
                '--tricks', 'mixup,cosine_warmup', '--cfg-options', *SMALL[1:],
                'train_cfg.max_epochs=3', 'tricks.mixup.off_epochs=0', 'tricks.strict=True')
    assert 'The plan:' in text
    last = json.loads((tmp_path / 'tricks_evidence.json').read_text())
    assert {row['name']: row['live'] for row in last['tricks']} == {
        'cosine_warmup': True, 'mixup': True}
    text = call(python_env, data, ROOT / 'tools' / 'test.py', CONFIG, tmp_path / 'epoch_3.pth',
                '--tricks', 'mixup', '--work-dir', tmp_path / 'test')
    assert re.search(r'Epoch\(test\) ', text)
