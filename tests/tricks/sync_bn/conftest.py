"""Starts the gloo processes of the sync_bn tests, once."""

from __future__ import annotations

import os

os.environ.setdefault('OMP_NUM_THREADS', '1')

import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).resolve().parents[2] / 'support' / 'sync_bn_worker.py'


def _run(command, env):
    return subprocess.Popen(command, text=True, env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def _finish(process):
    try:
        output, _ = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        pytest.fail(f'the processes hang:\n{output[-4000:]}')
    assert process.returncode == 0, output[-6000:]


def _loaded(folder, ranks):
    return [torch.load(folder / f'rank{rank}.pt', weights_only=False) for rank in range(ranks)]


@pytest.fixture(scope='session')
def env(python_env):
    return {**python_env, 'GLOO_SOCKET_IFNAME': 'lo', 'CUDA_VISIBLE_DEVICES': ''}


@pytest.fixture(scope='session')
def three(tmp_path_factory, env):
    """The results of three processes of torchrun, by rank."""
    folder = tmp_path_factory.mktemp('three')
    _finish(_run([sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=3',
                  '--rdzv_backend=c10d', '--rdzv_endpoint=localhost:0', str(WORKER), str(folder)],
                 env))
    return _loaded(folder, 3)


@pytest.fixture(scope='session')
def start(tmp_path_factory):
    """A folder with ``start.pth``, the weights of a plain model."""
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope
    from support.sync_bn import yolov3
    init_default_scope('mmdet')
    torch.manual_seed(11)
    model = MODELS.build(yolov3())
    model.init_weights()
    folder = tmp_path_factory.mktemp('two')
    torch.save(dict(state_dict=model.state_dict()), folder / 'start.pth')
    return folder


@pytest.fixture(scope='session')
def two_started(start, env):
    """Two processes that also train a model; started, not awaited."""
    process = _run([sys.executable, str(WORKER), str(start), '2'], env)
    yield process
    process.kill()


@pytest.fixture(scope='session')
def one(two_started, start):
    """The training of one process with the whole batch, and its folder."""
    from support.sync_bn import train
    work = start / 'one'
    return train(work, batch_size=4, lr=1e-4, load_from=start / 'start.pth'), work


@pytest.fixture(scope='session')
def two(two_started, start, one):
    """The results of two processes, by rank, and the folder of their training."""
    _finish(two_started)
    return _loaded(start, 2), start / 'work'
