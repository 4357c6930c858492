"""The command line of `tricks ablate`, up to the first run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tricks_plugin.cli.ablate import main
from tricks_plugin.plan.errors import TrickError

CONFIG = '''
train_dataloader = dict(batch_size=2, dataset=dict(type='CocoDataset', ann_file='a.json'))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1))
val_dataloader = dict(batch_size=1, dataset=dict(type='CocoDataset', ann_file='b.json'))
val_cfg = dict(type='ValLoop')
val_evaluator = dict(type='CocoMetric', metric='bbox')
model = dict(type='RetinaNet')
'''


@pytest.fixture()
def config(tmp_path):
    path = tmp_path / 'x.py'
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize(('words', 'message'), [
    (['--seeds', '0'], '--seeds must be >= 1, got 0'),
    (['--jobs', '0'], '--jobs must be >= 1, got 0'),
    (['--first-seed', '-1'], '--first-seed must be >= 0, got -1'),
    (['--arms', 'a=mixup', '--tricks', 'ema'], '--arms stands in place of --tricks'),
    (['--arms', 'a=mixup', '--mode', 'single'], 'beside no --mode but stack'),
    (['--tricks', 'mixp'], "did you mean 'mixup'"),
    ([], 'has no `tricks` of its own'),
    (['--tricks', 'mixup', '--metric', 'coco/bbox_mP'],
     "--metric: unknown metric 'coco/bbox_mP'; did you mean 'coco/bbox_mAP'"),
    (['--tricks', 'mixup', '--cfg-options', 'val_evaluator=None'],
     'never validates: it has no val_evaluator'),
    (['--tricks', 'mixup', '--cfg-options', 'train_cfg=None'], 'does not train'),
    (['--tricks', 'mixup', '--cfg-options', 'tricks=ema'], 'give the tricks by --tricks'),
    (['--tricks', 'mixup', '--cfg-options', 'lr'], '--cfg-options must be KEY=VALUE'),
    (['--arms', 'a=mixup', '--cfg-options', 'tricks.ema.decay=0.9'], 'no arm has this trick'),
    (['--arms', 'a=mixup', 'a=ema'], "'a' is given twice"),
])
def test_what_is_wrong_is_refused_before_anything_runs(config, tmp_path, words, message):
    with pytest.raises(TrickError, match=message):
        main([str(config), '--out', str(tmp_path / 'out'), *words])
    assert not (tmp_path / 'out' / 'runs').exists()


def test_without_a_config_and_without_an_ablation(tmp_path):
    with pytest.raises(TrickError, match='CONFIG is missing'):
        main(['--tricks', 'mixup', '--out', str(tmp_path / 'out')])
    for words in ([], ['timm']):
        with pytest.raises(TrickError, match='holds no ablation'):
            main([*words, '--report-only', '--out', str(tmp_path / 'out')])


def test_a_word_that_is_no_flag_is_refused_in_one_line():
    with pytest.raises(TrickError, match="--mode: invalid choice: 'stak'"):
        main(['x.py', '--mode', 'stak', '--out', 'x'])
    with pytest.raises(TrickError, match='timm: unrecognized arguments: data'):
        main(['timm', 'data', '--tricks', 'mixup', '--out', 'x'])


def test_a_cluster_that_is_not_there_and_an_option_that_none_has(tmp_path, monkeypatch):
    pytest.importorskip('submitit')
    from tricks_plugin.ablate.launch import launcher_of
    monkeypatch.setenv('PATH', str(tmp_path))  # no srun
    with pytest.raises(TrickError, match='--launcher slurm: '):
        launcher_of('slurm', 1, 0, tmp_path, {'slurm_partition': 'gpu'})
    with pytest.raises(TrickError, match='--launcher local: .*partitoin'):
        launcher_of('local', 1, 0, tmp_path, {'partitoin': 'gpu'})


def test_help_needs_no_trainer():
    code = ("import sys\nfor name in ('torch', 'mmengine', 'mmdet', 'timm', 'matplotlib'):\n"
            '    sys.modules[name] = None\n'
            'from tricks_plugin.cli.ablate import main\n'
            "main(['timm', '--help'])")
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert found.returncode == 0 and '-- DATA [flags of tricks timm]' in found.stdout, found.stderr
