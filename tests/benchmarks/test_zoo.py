"""The walks through the zoo build and train for real, and tell a failure from upstream's."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip('mmdet')

from mmengine.config import Config  # noqa: E402

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
RETINANET = 'retinanet/retinanet_r18_fpn_1x_coco.py'
YOLOX = 'yolox/yolox_nano_8xb8-300e_coco.py'


@pytest.fixture(scope='module', autouse=True)
def _on_the_path():
    """The benchmarks' modules, which import each other by name."""
    from mmdet.utils import register_all_modules
    register_all_modules()
    sys.path.insert(0, str(ROOT / 'benchmarks'))
    yield
    sys.path.remove(str(ROOT / 'benchmarks'))


@pytest.fixture()
def train_kit():
    import zoo_train
    return zoo_train


@pytest.fixture()
def data(tmp_path):
    import zoo_data
    return zoo_data.Folder(tmp_path / 'data')


def test_sizes_shrink_alike_and_nothing_else_changes(zoo, data):
    import zoo_stage
    cfg = Config.fromfile(zoo / 'dab_detr/dab-detr_r50_8xb2-50e_coco.py')
    staged = zoo_stage.stage(cfg, zoo, data)
    choice = staged.train_dataloader.dataset.pipeline[3].transforms
    # The longest side that is reached, 1333, becomes 320: 480 x 0.24 = 115.2, 800 x 0.24 = 192.05.
    assert choice[0][0].scales[0] == (128, 320) and choice[0][0].scales[-1] == (192, 320)
    # 400 x 0.24 = 96.02, 384 x 0.24 = 92.18, 600 x 0.24 = 144.04, which is 4.501 times 32.
    assert choice[1][0].scales[0] == (96, 320) and choice[1][1].crop_size == (96, 160)
    assert staged.model.backbone.init_cfg is None and cfg.model.backbone.init_cfg is not None
    assert staged.optim_wrapper == cfg.optim_wrapper
    assert staged.param_scheduler == cfg.param_scheduler and staged.train_cfg == cfg.train_cfg
    assert staged.train_dataloader.batch_size == 2 and staged.val_dataloader is None


def test_a_mosaic_and_its_border_keep_together(zoo, data):
    import zoo_stage
    pipeline = zoo_stage.stage(
        Config.fromfile(zoo / 'yolox/yolox_s_8xb8-300e_coco.py'), zoo, data
    ).train_dataloader.dataset.pipeline
    # 640 px with a random batch of up to 800: x 320 / 800.
    assert pipeline[0].img_scale == (256, 256)
    assert tuple(pipeline[1].border) == (-128, -128)


def test_a_teacher_is_read_and_its_weights_are_not(zoo, data):
    import zoo_stage
    cfg = zoo_stage.stage(
        Config.fromfile(zoo / 'ld/ld_r18-gflv1-r101_fpn_1x_coco.py'), zoo, data)
    assert cfg.model.teacher_ckpt is None
    assert cfg.model.teacher_config.model.backbone.depth == 101
    assert cfg.model.teacher_config.model.backbone.init_cfg is None


@pytest.mark.parametrize(('name', 'instances'), [
    ('crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py', 5), ('panoptic_fpn/panoptic-fpn_r50_'
                                                                   'fpn_1x_coco.py', 5)])
def test_each_form_of_annotations_is_read(zoo, data, name, instances):
    import zoo_stage
    from mmdet.registry import DATASETS
    dataset = zoo_stage.stage(Config.fromfile(zoo / name), zoo, data).train_dataloader.dataset
    dataset.pipeline = []
    built = DATASETS.build(dataset)
    info = built.get_data_info(3)
    assert len(built) == 8 and len(info['instances']) == instances
    assert info['instances'][1]['bbox'] == [60, 50, 200, 200]  # x, y + 140, 150
    assert Path(info['img_path']).is_file()
    if info.get('seg_map_path'):
        import cv2
        numbers = cv2.imread(info['seg_map_path'])[..., 2]
        # The second box lies over the first, and below the third.
        assert [numbers[y, x] for y, x in ((35, 25), (100, 70), (100, 190), (239, 319))] == [
            1, 2, 3, 6]
        assert [one['is_thing'] for one in info['segments_info']] == [1, 1, 1, 1, 1, 0]


def test_the_smallest_config_of_a_kind(zoo):
    import zoo_kit
    names = ['retinanet/retinanet_r50_fpn_1x_coco.py', RETINANET,
             'retinanet/retinanet_r18_fpn_8xb8-amp-lsj-200e_coco.py',
             'retinanet/retinanet_r18_fpn_1xb8-1x_coco.py', 'pvt/retinanet_pvt-t_fpn_1x_coco.py']
    cfgs = {name: zoo_kit.load(zoo / name) for name in names}
    assert min(names, key=lambda name: zoo_kit.effort(name, cfgs[name])) == RETINANET
    broken = Config({**cfgs[RETINANET].to_dict(), 'train_cfg': dict(type='X', by_epoch=True)})
    assert zoo_kit.effort('a.py', broken) > max(map(zoo_kit.effort, names, cfgs.values()))
    assert zoo_kit.kind_of(cfgs[RETINANET]) == 'RetinaNet'
    assert zoo_kit.kind_of(Config(dict(optim_wrapper=dict()))) == ''


@pytest.mark.parametrize(('kind', 'word'), [
    ('QDTrack', 'tracker'), ('Mask2FormerVideo', 'video'), ('BaseReID', 're-identification'),
    ('ImageClassifier', 'pretraining'),
    ('Mask2Former', ''), ('SoftTeacher', ''), ('NoSuchClass', '')])
def test_what_is_no_detector_is_told(kind, word):
    import zoo_kit
    reason = zoo_kit.no_detector(kind)
    assert word in reason and bool(reason) == bool(word)


@pytest.mark.parametrize('name', [YOLOX, RETINANET])
def test_a_kind_trains_with_the_bag(zoo, tmp_path, train_kit, name):
    file = tmp_path / 'kind.json'
    train_kit.attempt('kind', name, zoo / name, 'bag_of_freebies', file)
    row = json.loads(file.read_text())
    assert row['status'] == 'trained', row
    assert len(row['plain']['losses']) == len(row['bag']['losses']) == 2
    assert row['plain']['losses'][0] != row['bag']['losses'][0]
    evidence = row['bag']['evidence']
    assert set(evidence) >= {trick for trick, status in row['tricks'].items()
                             if status == 'applied'}
    assert 'dead' not in evidence.values() and evidence['linear_lr'] == 'live'


def test_upstreams_error_is_its_own(zoo, tmp_path, train_kit):
    file = tmp_path / 'kind.json'
    name = 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
    cfg = tmp_path / 'broken.py'
    cfg.write_text(f"_base_ = [{str(zoo / name)!r}]\nmodel = dict(neck=dict(type='NoSuchNeck'))\n")
    train_kit.attempt('kind', 'broken.py', cfg, 'bag_of_freebies', file)
    row = json.loads(file.read_text())
    assert row['status'] == 'skipped' and 'NoSuchNeck' in row['reason'] and 'bag' not in row


@pytest.fixture()
def attempted(zoo, tmp_path, train_kit, monkeypatch):
    """The result of a kind that trains by a step of the test's."""
    def result(step):
        monkeypatch.setattr(train_kit, 'step', step)
        file = tmp_path / 'kind.json'
        train_kit.attempt('kind', RETINANET, zoo / RETINANET, 'bag_of_freebies', file)
        return json.loads(file.read_text())
    return result


@pytest.mark.parametrize(('least', 'status', 'reason'), [
    (960, 'trained', 'on images of 640 px: RuntimeError: the bag broke it'),
    (9999, 'failed', 'on images of 640 px: RuntimeError: the bag broke it; on images of 960 px: '
                     'RuntimeError: the bag broke it')])
def test_an_error_with_the_bag_alone_is_a_failure(attempted, least, status, reason):
    """Plain it trains from 640 px on, with the bag from `least` on."""
    def step(cfg, work_dir):
        width = cfg.train_dataloader.dataset.pipeline[2].scale[0]
        if width < 640:
            raise ValueError('upstream: too small')
        if 'tricks_applied' in cfg and width < least:
            raise RuntimeError('the bag\nbroke it')
        return dict(losses=[1.0, 1.0])
    row = attempted(step)
    assert (row['status'], row['reason']) == (status, reason)


def test_a_failure_with_the_bag_is_not_hidden_by_what_comes_after(
        attempted, tmp_path, train_kit):
    def step(cfg, work_dir):
        if 'tricks_applied' in cfg:
            raise RuntimeError('the bag broke it')
        if cfg.train_dataloader.dataset.pipeline[2].scale[0] > 640:
            raise MemoryError('no room for it')
        return dict(losses=[1.0, 1.0])
    row = attempted(step)
    assert row['status'] == 'failed' and row['reason'].startswith(
        'on images of 320 px: RuntimeError: the bag broke it; on images of 640 px: ')
    assert row['reason'].endswith('; MemoryError: no room for it')
    # The same where the process is ended while it trains plain.
    file = tmp_path / 'kind.json'
    file.write_text(json.dumps(dict(kind='kind', config=RETINANET, stage='plain', failures=[
        'on images of 320 px: RuntimeError: the bag broke it'])))
    train_kit._died(file, -signal.SIGXCPU, 600)
    row = json.loads(file.read_text())
    assert row['status'] == 'failed' and row['reason'] == (
        'on images of 320 px: RuntimeError: the bag broke it; it took more than 600 s of CPU time')


def test_a_step_must_move_the_model(zoo, tmp_path, data, train_kit):
    import zoo_stage
    cfg = zoo_stage.stage(Config.fromfile(zoo / YOLOX), zoo, data)
    cfg.optim_wrapper.optimizer.lr = 0.0
    with pytest.raises(ValueError, match='no parameter has moved'):
        train_kit.step(cfg, tmp_path / 'work')


def test_after_a_loss_that_is_no_number_the_backbone_moves(zoo, tmp_path, train_kit, monkeypatch):
    seen = []

    def step(cfg, work_dir):
        seen.append((cfg.model.backbone.norm_eval, cfg.model.backbone.frozen_stages))
        hook = train_kit._Stop(2)
        hook.after_train_iter(None, 0, outputs=dict(loss=float('nan') if len(seen) == 1 else 1.0))
        return dict(losses=hook.losses)
    monkeypatch.setattr(train_kit, 'step', step)
    _, found = train_kit.try_plain(zoo / RETINANET, tmp_path, 320)
    assert seen == [(True, 1), (False, -1)]
    assert found == dict(plain=dict(losses=[1.0]), form=dict(longest=320, thaw=True))


def test_a_process_that_dies_does_not_end_the_rest(tmp_path, train_kit, monkeypatch):
    (tmp_path / 'kinds.json').write_text(json.dumps(
        dict(ATSS='a.py', FCOS='b.py', RTMDet='c.py', QDTrack='d.py')))
    tried = tmp_path / 'tried'

    def attempt(kind, name, path, tricks, file, seconds):
        with tried.open('a') as stream:
            stream.write(f'{kind}\n')
        stage = dict(ATSS='plain', FCOS='bag').get(kind)
        row = dict(kind=kind, config=name, asked=tricks)
        file.write_text(json.dumps({**row, 'stage': stage} if stage else {
            **row, 'status': 'trained', 'reason': ''}))
        if stage:
            os.kill(os.getpid(), signal.SIGKILL)
    monkeypatch.setattr(train_kit, 'attempt', attempt)
    rows = {row['kind']: row for row in train_kit.train(tmp_path, 'mixup', memory=64)}
    assert {kind: row['status'] for kind, row in rows.items()} == dict(
        ATSS='skipped', FCOS='failed', RTMDet='trained', QDTrack='skipped')
    assert rows['FCOS']['reason'] == 'the process ended with status -9'
    train_kit.train(tmp_path, 'mixup', only='^(ATSS|RTMDet)$', memory=64)
    assert tried.read_text().split() == ['ATSS', 'FCOS', 'RTMDet']  # none a second time
    train_kit.train(tmp_path, 'mixup', only='RTMDet', memory=64, again=True)
    assert tried.read_text().split()[3:] == ['RTMDet']
    train_kit.train(tmp_path, 'ema', only='RTMDet', memory=64)  # other tricks
    assert tried.read_text().split()[4:] == ['RTMDet']


def test_the_parts_of_configs_are_built_once(tmp_path, monkeypatch):
    import zoo_build
    import zoo_kit
    names = [RETINANET, 'lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py', 'no/such.py']
    whole = dict(failed={}, upstream={})
    expected = dict.fromkeys(names[:2], whole)
    names = zoo_kit.sources(names)
    assert zoo_build.build_all(names, tmp_path, lambda cfg: 'bag_of_freebies', 2) == expected
    lines = (tmp_path / 'build-0.jsonl').read_text()
    (tmp_path / 'build-0.jsonl').write_text(f'{lines}\n{{"half a li')
    monkeypatch.setattr(zoo_build, '_row', None)  # nothing is left to build
    assert zoo_build.build_all(names, tmp_path, lambda cfg: 'bag_of_freebies', 2) == expected


def test_a_classifiers_own_model_and_its_folders_are_built(tmp_path):
    pytest.importorskip('mmpretrain')
    import zoo_build
    from support.libraries import classifier
    cfg = classifier(dict(num_classes=2), preprocessor=dict(num_classes=2))
    wrong = Config(cfg.to_dict())
    wrong.model.head.loss.type = 'NoSuchLoss'
    wrong.optim_wrapper.constructor = 'NoSuchConstructor'
    ours, upstream = zoo_build.compare(cfg, wrong, tmp_path)
    assert set(ours) == {'model', 'optim_wrapper'} and upstream == {}
    assert zoo_build.compare(cfg, Config(cfg.to_dict()), tmp_path) == ({}, {})


def test_what_cannot_be_built_is_put_where_it_belongs(zoo, tmp_path):
    import zoo_build
    cfg = Config.fromfile(zoo / RETINANET)
    cfg.custom_hooks = [dict(type='NoSuchHook')]
    wrong = Config(cfg.to_dict())
    wrong.train_dataloader.dataset.pipeline[2].type = 'NoSuchTransform'
    wrong.param_scheduler[1].type = 'NoSuchScheduler'
    ours, upstream = zoo_build.compare(cfg, wrong, tmp_path)
    assert set(ours) == {'pipelines', 'dataloader', 'schedulers'}
    assert 'NoSuchTransform' in ours['pipelines'] and 'NoSuchScheduler' in ours['schedulers']
    assert set(upstream) == {'hooks'} and 'NoSuchHook' in upstream['hooks']


def test_the_tables_count_and_group():
    import zoo_report
    text = zoo_report.built({
        'a.py': dict(failed={}, upstream={}), 'b.py': dict(failed={}, upstream={'hooks': 'E: x|y'}),
        'c.py': dict(failed={'loop': 'E'}, upstream={'hooks': 'E: x|y'})})
    assert text.startswith('3 configs: 1 built whole, 1 but for what upstream cannot build')
    assert '| upstream | hooks | 2 | E: x\\|y | `b.py` |' in text
    assert '| tricks | loop | 1 | E | `c.py` |' in text
    text = zoo_report.trained([
        dict(kind='ATSS', config='a.py', status='trained', reason='', plain_seconds=3.4, seconds=5,
             tricks=dict(mixup='applied', amp='present'),
             bag=dict(evidence=dict(mixup='live', random_shapes='too early'))),
        dict(kind='GLIP', config='g.py', status='skipped', reason='no')])
    assert text.startswith('2 kinds: 1 trained, 1 skipped, 0 failed.')
    assert '| ATSS | `a.py` | trained | mixup; random_shapes too early | 3 / 5 |' in text
    assert '| GLIP | `g.py` | skipped: no |  |  |' in text


def test_a_part_of_a_page_is_written_anew(tmp_path):
    import zoo_report
    page = tmp_path / 'page.md'
    page.write_text('a\n<!-- t: generated by x -->\nold\n<!-- end of t -->\nb\n')
    zoo_report.write_part(page, 't', r'new \1')
    assert page.read_text() == 'a\n<!-- t: generated by x -->\nnew \\1\n<!-- end of t -->\nb\n'
    with pytest.raises(ValueError, match="must mark the part 'u' once, got 0 times"):
        zoo_report.write_part(page, 'u', '')


@pytest.mark.parametrize('args', [['--train', '--only', '('], ['--jobs', '0'],
                                  ['--build', '--train']])
def test_wrong_arguments_exit_with_2(args, capsys):
    import zoo
    with pytest.raises(SystemExit) as stop:
        zoo.main(args)
    assert stop.value.code == 2
    assert capsys.readouterr().err


def test_the_examples_are_walked_too():
    import zoo_kit
    names = zoo_kit.sources()
    assert RETINANET in names and 'configs/examples/yolov3_d53_bag.py' in names
    assert not [name for name in names if 'recipes' in name]
