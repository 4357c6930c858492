"""The whole bag in two processes, through tools/dist_train.sh."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / 'demo' / 'yolov3_digits.py'
BAG = ['linear_lr', 'cosine_warmup', 'no_bias_decay', 'label_smoothing', 'mixup', 'sync_bn',
       'random_shapes', 'finite_guard', 'data_monitor']
# What each rank writes down about itself: nothing of it is gathered by the project's own code.
WITNESS = '''
import json
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class Witness(Hook):
    def __init__(self, out):
        self.out, self.shapes, self.rates = out, [], []

    def before_train(self, runner):
        self.handle = runner.model.module.backbone.register_forward_pre_hook(self.look)

    def look(self, module, args):
        if module.training:
            self.shapes.append(list(args[0].shape[-2:]))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rates.append(runner.optim_wrapper.optimizer.param_groups[0]['lr'])

    def after_train(self, runner):
        self.handle.remove()
        means = {name: value.tolist() for name, value in runner.model.module.named_buffers()
                 if name.endswith('running_mean') or name.endswith('running_var')}
        with open(f'{self.out}/rank{get_rank()}.json', 'w') as file:
            json.dump(dict(shapes=self.shapes, rates=self.rates, statistics=means), file)
'''


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.fixture(scope='module')
def run(python_env, tmp_path_factory):
    """Two epochs of eight iterations of 2 images on each of two ranks."""
    work = tmp_path_factory.mktemp('two')
    data = work / 'digits'
    subprocess.run([sys.executable, ROOT / 'examples' / 'make_digits.py', '--out', data, '--train',
                    '32', '--val', '8'], check=True, capture_output=True)
    (work / 'witness.py').write_text(WITNESS)
    (work / 'child.py').write_text(
        f"_base_ = {str(CONFIG)!r}\n"
        "custom_imports = dict(imports=['witness'], allow_failed_imports=False)\n"
        f'custom_hooks = [dict(type="Witness", out={str(work)!r})]\n')
    args = ['bash', ROOT / 'tools' / 'dist_train.sh', work / 'child.py', '2', '--tricks',
            'bag_of_freebies,cosine_warmup,random_shapes,mixup', '--work-dir', work / 'run',
            '--cfg-options',
            'train_cfg.max_epochs=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=2',
            'train_dataloader.num_workers=1', 'tricks.random_shapes.interval=2',
            'tricks.strict=True', 'randomness.seed=5']
    env = {**python_env, 'DIGITS_ROOT': f'{data}/', 'PYTHON': sys.executable,
           'PORT': str(free_port())}
    env['PYTHONPATH'] = f'{work}:{env["PYTHONPATH"]}'
    done = subprocess.run(list(map(str, args)), cwd=ROOT, text=True, capture_output=True, env=env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    ranks = [json.loads((work / f'rank{rank}.json').read_text()) for rank in range(2)]
    return work / 'run', done.stdout + done.stderr, ranks


def test_every_trick_of_the_bag_is_live(run):
    work, _, _ = run
    rows = json.loads((work / 'tricks_evidence.json').read_text())['tricks']
    assert {row['name']: row['live'] for row in rows} == dict.fromkeys(BAG, True)


def test_both_ranks_see_the_same_shapes_and_the_largest_first(run):
    first, second = (rank['shapes'] for rank in run[2])
    assert first == second and len(first) == 16
    # 0.75 to 1.25 times the test scale of 128 px, in multiples of 32.
    assert first[0] == first[1] == [160, 160] and len({tuple(shape) for shape in first}) > 1


def test_both_ranks_end_with_the_same_running_statistics(run):
    first, second = (rank['statistics'] for rank in run[2])
    assert len(first) > 20
    assert first == second  # to the bit: both compute from the same sums


def test_the_rate_fits_the_batch_of_both(run):
    work, _, ranks = run
    plan = json.loads((work / 'tricks_plan.json').read_text())
    row = next(row for row in plan['tricks'] if row['name'] == 'linear_lr')
    # the config's rate was chosen for 8 images; here an update has 2 x 2
    assert 'lr 0.003 x 4/8 = 0.0015 (2 images x 2 processes' in row['reason']
    rates = ranks[0]['rates']
    assert rates == ranks[1]['rates'] and rates[0] == 0
    assert 0.001 < max(rates) <= 0.0015


def test_one_plan_is_printed(run):
    _, text, _ = run
    assert len(re.findall(r'^.*The plan:', text, re.M)) == 1
