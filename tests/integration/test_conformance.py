"""Every registered trick, the next one included, keeps the contract."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

import tricks_plugin
from tricks_plugin.evidence import Evidence
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.plan import same
from tricks_plugin.tricks import COMPONENTS, TRICKS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ROOT / 'tricks_plugin' / 'tricks'
SAMPLE = (ROOT / 'tests' / 'data' / 'zoo_sample.txt').read_text().split()
NAMES = [trick.name for trick in TRICKS.in_order()]
# All that can be wanted together: of two that exclude each other, the first.
TOGETHER = [trick.name for trick in TRICKS.in_order()
            if not set(trick.excludes) & set(NAMES)]
# What mmdet 3.3.0, the upstream stack's, has not got. All others load on both stacks.
ONEDL_ONLY = {'clrnet/clrnet.py', 'mm_grounding_dino/grounding_dino_swin-b_pretrain_all.py'}
# A two-stage detector, a one-stage one with BN that trains, and a transformer.
QUICK = {'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'yolox/yolox_l_8xb8-300e_coco.py',
         'dino/dino-4scale_r50_8xb2-12e_coco.py'}
HEADINGS = ['What', 'Use', 'Options', 'Arithmetic', 'Measured', 'When it pays',
            'Limits', 'Source']


@pytest.mark.parametrize('name', NAMES)
def test_a_room_has_its_readme_with_every_option(name):
    text = (ROOMS / name / 'README.md').read_text()
    assert re.findall(r'^## (.+)$', text, re.M) == HEADINGS
    for field in dataclasses.fields(TRICKS.get(name).Params):
        assert f'`{field.name}`' in text, f'{field.name} is not in the README'
        assert field.metadata['help']


@pytest.mark.parametrize('name', NAMES)
def test_a_trick_names_its_source_and_its_measurement(name):
    trick = TRICKS.get(name)
    assert re.search(r'\d{4}\.\d{4,5}', trick.paper), trick.paper
    module, _, cls = trick.evidence.partition(':')
    assert issubclass(getattr(importlib.import_module(module), cls), Evidence)


@pytest.mark.parametrize('name', NAMES)
def test_defaults_are_valid_parameters(name):
    TRICKS.get(name).from_dict({})


@pytest.mark.parametrize('name', NAMES)
def test_a_config_of_nothing_gets_a_verdict_with_a_reason(name):
    verdict = TRICKS.get(name).from_dict({}).apply({})
    assert verdict.status == 'not_applicable' and verdict.reason


def test_orders_are_distinct():
    orders = [trick.order for trick in TRICKS.in_order()]
    assert len(set(orders)) == len(orders)


def absent_here():
    """The sample's configs that the installed distribution of mmdet does not bring."""
    try:
        importlib.metadata.version('onedl-mmdetection')
    except importlib.metadata.PackageNotFoundError:
        return ONEDL_ONLY
    return set()


def test_the_zoo_has_every_config_of_the_sample_but_those_listed(zoo):
    assert {name for name in SAMPLE if not (zoo / name).is_file()} == absent_here()


@pytest.mark.parametrize('name', [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SAMPLE])
def test_every_detector_type_of_the_zoo_is_planned(zoo, tmp_path, name):
    if name in absent_here():
        pytest.skip('only in onedl-mmdetection')
    cfg = Config.fromfile(zoo / name, import_custom_modules=False)
    before = copy.deepcopy(plain(cfg))
    effective, plan = tricks_plugin.apply_tricks(cfg, TOGETHER)
    assert same(plain(cfg), before)
    assert [row.name for row in plan.tricks] == TOGETHER
    for row in plan.tricks:
        assert row.status in ('applied', 'present', 'not_applicable')
        assert row.changes if row.status == 'applied' else row.reason
    Config(effective.to_dict(), format_python_code=False).dump(tmp_path / 'effective.py')
    reloaded = Config.fromfile(tmp_path / 'effective.py', import_custom_modules=False)
    assert same(plain(reloaded), plain(effective))
    again, second = tricks_plugin.apply_tricks(effective, TOGETHER)
    assert 'applied' not in {row.status for row in second.tricks}
    assert same(plain(again), plain(effective))


def test_components_are_found_by_both_names():
    from mmengine import registry
    importlib.import_module('tricks_plugin.registry')
    registries = (registry.HOOKS, registry.MODELS, registry.TRANSFORMS, registry.PARAM_SCHEDULERS,
                  registry.RUNNERS, registry.OPTIM_WRAPPER_CONSTRUCTORS, registry.OPTIM_WRAPPERS,
                  registry.WEIGHT_INITIALIZERS)
    for name in [*COMPONENTS, 'TricksRunner', 'TrickEvidenceHook']:
        holders = [r for r in registries if name in r.module_dict]
        assert len(holders) == 1, name
        assert holders[0].get(f'tricks_plugin.{name}') is getattr(tricks_plugin, name)


@pytest.mark.slow
def test_a_component_is_found_by_its_scoped_name_without_any_import():
    code = ("from mmengine.registry import HOOKS\nimport sys\n"
            "assert 'tricks_plugin' not in sys.modules\n"
            "assert HOOKS.get('tricks_plugin.MixUpOffHook').__name__ == 'MixUpOffHook'")
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


@pytest.mark.slow
def test_the_pure_functions_and_the_tricks_need_numpy_and_torch_only():
    blocked = ('mmengine', 'mmcv', 'mmdet', 'timm', 'cv2', 'rich')
    code = (f'import sys\nfor name in {blocked!r}: sys.modules[name] = None\n'
            'import tricks_plugin.functional as F, tricks_plugin.tricks\n'
            'assert callable(F.warmup_cosine) and callable(F.blend)\n'
            'assert "mixup" in tricks_plugin.tricks.TRICKS\n')
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
