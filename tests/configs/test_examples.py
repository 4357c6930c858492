"""The example configs: short, in both styles, and each trick has the verdict that is expected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip('mmdet')

from mmengine.config import Config  # noqa: E402

from tricks_plugin import apply_tricks  # noqa: E402
from tricks_plugin.mm.config_edit import find, get, plain  # noqa: E402
from tricks_plugin.plan import same  # noqa: E402
from tricks_plugin.plan.paths import config_folder  # noqa: E402
from tricks_plugin.plan.recipes import load_recipe  # noqa: E402

pytestmark = pytest.mark.slow

EXAMPLES = config_folder('examples')
TEXT = sorted(EXAMPLES.glob('*.py'))
PURE = sorted((EXAMPLES / 'pure_python').glob('*.py'))
A, P, N = 'applied', 'present', 'not_applicable'
BAG = dict(linear_lr=A, cosine_warmup=A, no_bias_decay=A, label_smoothing=A, mixup=A, sync_bn=A,
           random_shapes=A, finite_guard=A, data_monitor=A)
# A ResNet's norms stand still while it is fine-tuned; the paper's random shapes are for one stage.
TWO_STAGE = {**BAG, 'sync_bn': N, 'random_shapes': N}
EXPECTED = {
    'yolov3_d53_bag': BAG,
    'yolov3_mobilenetv2_bag': {**BAG, 'amp': A, 'data_cache': A},
    'retinanet_r50_bag': {**BAG, 'sync_bn': N, 'ema': A},
    'faster-rcnn_r50_bag': TWO_STAGE,
    'mask-rcnn_r50_bag': TWO_STAGE,
    'cascade-rcnn_r50_bag': {**TWO_STAGE, 'mixup': None, 'resnet_d': A},
    'fcos_r50_bag': {**BAG, 'sync_bn': N},
    'atss_r50_bag': {**BAG, 'sync_bn': N},
    # Its class targets are IoUs, which nothing smooths.
    'yolox_s_bag': {**BAG, 'cosine_warmup': P, 'no_bias_decay': P, 'label_smoothing': N, 'mixup': P,
                    'sync_bn': None, 'random_shapes': P},
    'rtmdet_s_bag': {**BAG, 'cosine_warmup': P, 'no_bias_decay': P, 'label_smoothing': N,
                     'mixup': P, 'sync_bn': P, 'amp': A},
    'dino_r50_bag': TWO_STAGE,
}
# LR of the config x images of a process / images that the LR is for.
RATES = {
    'yolov3_d53_bag': 0.00025,  # 0.001 x 16 / 64
    'yolov3_mobilenetv2_bag': 0.000375,  # 0.003 x 24 / 192
    'retinanet_r50_bag': 0.00125,  # 0.01 x 2 / 16
    'faster-rcnn_r50_bag': 0.0025,  # 0.02 x 2 / 16
    'atss_r50_bag': 0.0025,  # 0.01 x 4 / 16
    'yolox_s_bag': 0.00125,  # 0.01 x 8 / 64
    'rtmdet_s_bag': 0.0005,  # 0.004 x 32 / 256
    'dino_r50_bag': 0.0000125,  # 0.0001 x 2 / 16
}


@pytest.fixture(scope='module')
def applied():
    """The effective config and the plan of each example in the text style."""
    return {path.stem: apply_tricks(Config.fromfile(path)) for path in TEXT}


def test_every_example_is_expected_and_short():
    assert {path.stem for path in TEXT} == set(EXPECTED)
    for path in [*TEXT, *PURE]:
        lines = path.read_text().splitlines()
        assert 6 <= len(lines) <= 10 and lines[0].startswith('# '), path.name


@pytest.mark.parametrize('name', EXPECTED)
def test_each_trick_has_its_verdict(applied, name):
    _, plan = applied[name]
    status = {row.name: row.status for row in plan.tricks}
    assert {trick: status.get(trick) for trick in EXPECTED[name]} == EXPECTED[name]


@pytest.mark.parametrize('name', RATES)
def test_the_rate_follows_from_the_images_of_an_update(applied, name):
    effective, _ = applied[name]
    assert effective.optim_wrapper.optimizer.lr == pytest.approx(RATES[name], rel=1e-9)


def test_what_the_examples_set_beside_the_recipe_arrives(applied):
    trees = {name: plain(effective) for name, (effective, _) in applied.items()}
    assert get(trees['retinanet_r50_bag'], 'model.bbox_head.loss_cls.eps') == 0.05
    (warmup,) = trees['faster-rcnn_r50_bag']['param_scheduler']
    assert warmup['warmup_epochs'] == 1
    (cosine,) = trees['mask-rcnn_r50_bag']['param_scheduler']
    assert 'end' not in cosine and get(trees['mask-rcnn_r50_bag'], 'train_cfg.max_epochs') == 36
    assert trees['mask-rcnn_r50_bag']['tricks_applied']['mixup']['off_fraction'] == 0.2
    assert get(trees['cascade-rcnn_r50_bag'], 'model.backbone.deep_stem') is True
    assert not list(find(trees['cascade-rcnn_r50_bag'], 'GeometryPreservingMixUp'))
    ((_, hook),) = find(trees['fcos_r50_bag']['custom_hooks'], 'TrickEvidenceHook')
    assert hook['strict'] is True
    (warmup,) = trees['dino_r50_bag']['param_scheduler']
    assert warmup['warmup_iters'] == 1000


def unscoped(node):
    """A config without the registry scope that mmengine notes where a base is of another package."""
    if isinstance(node, dict):
        return {key: unscoped(value) for key, value in node.items() if key != '_scope_'}
    if isinstance(node, (list, tuple)):
        return type(node)(unscoped(value) for value in node)
    return node.removeprefix('mmdet.') if isinstance(node, str) else node


def test_one_style_is_the_other_where_upstream_has_both(applied, zoo, tmp_path):
    """The pure-Python bases, which no wheel of mmdet holds, are written from those of the wheel."""
    assert len(PURE) == 6
    for path in PURE:
        text = path.read_text()
        twin = EXAMPLES / re.search(r'\.\./([\w-]+\.py) in pure Python', text)[1]
        base = re.search(r"'mmdet::(.+)'", twin.read_text())[1]
        module = tmp_path / (re.search(r'from mmdet\.configs\.([\w.]+)', text)[1].replace('.', '/')
                             + '.py')
        assert re.sub('[-_]', '', module.stem) == re.sub('[-_]', '', Path(base).stem)
        module.parent.mkdir(exist_ok=True)
        Config(Config.fromfile(zoo / base).to_dict(), format_python_code=False).dump(module)
        copy = tmp_path / path.name
        copy.write_text(text.replace('from mmdet.configs.', 'from .'))
        effective, plan = apply_tricks(Config.fromfile(copy))
        twin_effective, twin_plan = applied[twin.stem]
        assert [(row.name, row.status) for row in plan.tricks] == [
            (row.name, row.status) for row in twin_plan.tricks]
        assert same(unscoped(plain(effective)), unscoped(plain(twin_effective))), path.name


def test_the_recipe_is_the_one_that_is_installed(applied):
    for path in TEXT:
        own = Config.fromfile(path).tricks
        recipe = load_recipe('bag_of_freebies')
        assert set(recipe) <= set(own), path.name
        assert all(own[name] == recipe[name] for name in ('no_bias_decay', 'finite_guard'))
