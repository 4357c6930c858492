"""The command line of `tricks ablate`, up to the first run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tricks_plugin.ablate.folder import Folder
from tricks_plugin.cli.ablate import main
from tricks_plugin.common.door import run_door
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


RUNG = {'name': 'plain', 'label': 'as it is', 'tricks': None, 'reference': None, 'plan': [],
        'diff': '', 'same_as': None}
STUDY = {'command': 'x', 'mode': 'stack', 'metric': '', 'greater': True, 'unit': '', 'factor': 1.0,
         'seeds': [0], 'subjects': [{'name': 'x', 'label': 'x', 'rungs': [RUNG]}], 'runs': []}
PLAN = {'study': {**STUDY, 'notes': []}, 'identity': {'x': {'plain': 'abc'}}, 'code': 'c'}


def changed(*path: str, **values) -> str:
    """The plan as text, with keys of a part of it changed."""
    found = part = json.loads(json.dumps(PLAN))
    for key in path:
        part = part[key]
    part.update(values)
    return json.dumps(found)


def files(folder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('content', [
    '{"name": "another program"}', '[1, 2]', '7', 'null', '', json.dumps(PLAN)[:300],
    '{"study": {}, "identity": {}, "code": ""}', '{"study": "x", "identity": {}, "code": ""}',
    changed(identity={}), changed(identity=[]), changed(identity={'x': {'plain': 5}}),
    changed('study', mode='stak'), changed('study', seeds=['0']), changed('study', seeds=5),
    changed('study', seeds=[]), changed('study', subjects=[]), changed('study', subjects={'x': 1}),
    changed('study', subjects=[{'name': 'x', 'label': 'x', 'rungs': []}]),
    changed('study', subjects=[{'name': 'x', 'label': 'x', 'rungs': [{'name': 'plain'}]}]),
    changed('study', subjects=[{'name': 'x', 'label': 'x', 'rungs': [{**RUNG, 'plan': [3]}]}]),
    changed('study', notes=[1]), changed('study', metric=None), changed('study', more=1),
    changed(greater='yes'), b'\xff\xfe{',
])
@pytest.mark.parametrize('words', [['--report-only'], ['--report-only', '--smaller-is-better'],
                                   ['CONFIG', '--tricks', 'mixup'], ['timm', '--tricks', 'mixup']])
def test_a_plan_of_another_program_or_a_damaged_one_is_refused_and_left(
        config, tmp_path, capsys, content, words):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'plan.json').write_bytes(content.encode() if isinstance(content, str) else content)
    (out / 'theirs.txt').write_text('theirs')
    before = files(out)
    words = [str(config) if word == 'CONFIG' else word for word in words]
    assert run_door(lambda: main([*words, '--out', str(out)])) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f'error: {out / "plan.json"} ') and shown.err.count('\n') == 1
    assert 'another folder' in shown.err and not shown.out
    assert files(out) == before


def test_a_whole_plan_is_none_of_these_and_a_file_is_no_folder(tmp_path):
    folder = Folder(tmp_path)
    (tmp_path / 'plan.json').write_text(json.dumps(PLAN))
    assert folder.read_plan() == PLAN and folder.study().seeds == (0,)
    for words in (['--report-only'], ['--tricks', 'mixup', 'x.py']):
        with pytest.raises(TrickError, match='--out must be a folder, got the file .*plan.json'):
            main([*words, '--out', str(tmp_path / 'plan.json')])


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
