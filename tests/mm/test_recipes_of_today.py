"""What the recipes `finetune` and `modern` do to a detector, and `finetune` to timm's settings."""

from __future__ import annotations

import json

import pytest
from mmengine.config import Config

import tricks_plugin
from tricks_plugin.plan.recipes import recipe


def child(tmp_path, zoo, name, images=2000, base='retinanet/retinanet_r50_fpn_1x_coco.py',
          text=''):
    """A stock config with a recipe beside it and a data set of so many images."""
    (tmp_path / 'train.json').write_text(json.dumps({
        'images': [{'id': number, 'width': 64, 'height': 48} for number in range(images)],
        'annotations': [{'image_id': number, 'category_id': 1} for number in range(images)],
        'categories': [{'id': 1, 'name': 'person'}]}))
    file = tmp_path / 'child.py'
    file.write_text(
        f'_base_ = [{str(zoo / base)!r}, {recipe(name)!r}]\n'
        f'train_dataloader = dict(batch_size=8, dataset=dict(data_root={str(tmp_path)!r}, '
        f"ann_file='train.json'))\n{text}")
    return tricks_plugin.apply_tricks(Config.fromfile(file))


def test_finetune_on_a_pretrained_detector(tmp_path, zoo):
    effective, plan = child(tmp_path, zoo, 'finetune', text="load_from = 'detector.pth'\n")
    # 250 iterations an epoch, 12 times: enough for the shapes, at 800 px
    assert (plan.run.images, plan.run.updates, plan.run.pretrained, plan.run.scale) == (
        2000, 3000, 'detector', 800)
    status = {row.name: row.status for row in plan.tricks}
    assert status.pop('clean_tail') == 'not_applicable'  # nothing strong to end
    assert set(status.values()) == {'applied'} and 'mixup' not in status
    schedule, = effective.param_scheduler
    assert schedule.warmup_epochs == 1 and 'flat_fraction' not in schedule
    wrapper = effective.optim_wrapper
    assert wrapper.paramwise_cfg == dict(backbone_lr_mult=0.1, norm_decay_mult=0.0,
                                         bias_decay_mult=0.0)
    average = next(hook for hook in effective.custom_hooks
                   if hook['type'] == 'tricks_plugin.RunLengthEMAHook')
    assert average['ema_type'] == 'MomentumAnnealingEMA' and average['horizon'] == 0.02
    # what is frozen stays so
    backbone = effective.model.backbone
    assert backbone.norm_eval and backbone.frozen_stages == 1 and effective.get('sync_bn') is None


def test_finetune_from_nothing_and_on_few_images_holds_back(tmp_path, zoo):
    _, plan = child(tmp_path, zoo, 'finetune', images=205,
                    text='model = dict(backbone=dict(init_cfg=None))\n')
    held = {row.name: row.reason for row in plan.tricks if row.status == 'held_back'}
    assert set(held) == {'backbone_lr', 'random_shapes'}
    assert 'flat for 0.7 of the rest, as 2496 images seen (of 20000) from random weights' in \
        plan['cosine_warmup'].reason
    assert held['backbone_lr'].startswith('the settings load no pretrained weights')
    assert held['random_shapes'].startswith('312 updates (of 2000) is too small a run')
    _, plan = child(tmp_path, zoo, 'finetune', images=205,
                    text='tricks = dict(random_shapes=True)\n')
    assert plan['random_shapes'].status == plan['backbone_lr'].status == 'applied'


def test_finetune_s_warm_up_is_a_tenth_of_a_run_of_one_epoch(tmp_path, zoo):
    effective, plan = child(tmp_path, zoo, 'finetune', text='train_cfg = dict(max_epochs=1)\n')
    assert plan['cosine_warmup'].status == 'applied'
    assert effective.param_scheduler[0].warmup_epochs == 0.1


def test_a_recipe_s_warm_up_longer_than_the_run_is_a_verdict_and_an_order_is_an_error(
        tmp_path, zoo, monkeypatch):
    cfg = Config.fromfile(zoo / 'retinanet/retinanet_r50_fpn_1x_coco.py')
    cfg.train_cfg.max_epochs = 1
    with monkeypatch.context() as patched:
        patched.setattr('tricks_plugin.plan.recipes.load_recipe',
                        lambda name: {'cosine_warmup': {'warmup_epochs': 1.0}})
        _, plan = tricks_plugin.apply_tricks(cfg, 'finetune')
    assert plan['cosine_warmup'].status == 'not_applicable'
    assert plan['cosine_warmup'].reason == (
        "the recipe's parameter does not fit this run: tricks.cosine_warmup.warmup_epochs must be "
        'less than the run of 1 epoch, got 1.0')
    with pytest.raises(tricks_plugin.TrickError, match='must be less than the run of 1 epoch'):
        child(tmp_path, zoo, 'finetune', text='train_cfg = dict(max_epochs=1)\n'
              'tricks = dict(cosine_warmup=dict(warmup_epochs=2.0))\n')


def test_modern_is_the_bag_with_an_average_and_a_flat_part(tmp_path, zoo):
    effective, plan = child(tmp_path, zoo, 'modern', images=5000,
                            base='yolo/yolov3_d53_8xb8-ms-608-273e_coco.py')
    status = {row.name: row.status for row in plan.tricks}
    assert {status[name] for name in ('ema', 'random_shapes', 'mosaic', 'mixup', 'clean_tail')} == {
        'applied'}
    schedule, = effective.param_scheduler
    assert schedule.flat_fraction == 0.5 and schedule.eta_min == 0
    assert plan['mixup'].promise['alpha'] == 1.5


@pytest.mark.parametrize('name', ['modern', 'bag_of_freebies'])
def test_a_detectors_recipe_gives_a_classifier_the_alpha_of_classifiers(name):
    pytest.importorskip('timm')
    from support.timm_train import settings_of

    from tricks_plugin.timm.plan import plan_tricks
    args, plan, _ = plan_tricks(settings_of(epochs=100), {'epochs'}, name)
    assert plan['mixup'].status == 'applied' and args.mixup == 0.2
    assert plan['mixup'].promise['alpha'] == 0.2
    args, _, _ = plan_tricks(settings_of(epochs=100), {'epochs'}, [name, {'mixup': {'alpha': 1.5}}])
    assert args.mixup == 1.5


def test_finetune_in_timm_needs_pretrained_weights_for_its_two_rates():
    pytest.importorskip('timm')
    from support.timm_train import settings_of

    from tricks_plugin.timm.plan import plan_tricks
    args, plan, _ = plan_tricks(settings_of(pretrained=True), {'pretrained'}, 'finetune')
    assert (args.layer_decay, args.layer_decay_min_scale, args.warmup_epochs) == (0.1, 0.1, 1)
    assert args.model_ema is True and args.model_ema_warmup is True
    assert plan['backbone_lr'].status == 'applied'
    args, plan, _ = plan_tricks(settings_of(), frozenset(), 'finetune')
    assert plan['backbone_lr'].status == 'held_back' and args.layer_decay is None
    assert plan['backbone_lr'].reason.endswith(
        '; --tricks ...,backbone_lr applies it all the same')


def test_finetune_holds_its_sizes_back_from_classifiers_and_an_order_draws_them():
    pytest.importorskip('timm')
    from support.timm_train import settings_of

    from tricks_plugin.timm.plan import plan_tricks
    large = settings_of(input_size=[3, 224, 224])
    args, plan, _ = plan_tricks(large, {'input_size'}, 'finetune')
    assert args.train_img_sizes is None and plan['random_shapes'].status == 'held_back'
    assert plan['random_shapes'].reason.startswith(
        'no run of a classifier at random sizes is measured here; ')
    args, _, _ = plan_tricks(large, {'input_size'}, 'finetune,random_shapes')
    assert args.train_img_sizes == [160, 192, 224, 256, 288]
    args, plan, _ = plan_tricks(large, {'input_size'}, 'bag_of_tricks')
    assert args.train_img_sizes is None and plan['random_shapes'].status == 'held_back'
    args, _, _ = plan_tricks(large, {'input_size'}, 'bag_of_tricks,random_shapes')
    assert args.train_img_sizes == [160, 192, 224]


@pytest.mark.parametrize('name', ['bag_of_freebies', 'modern'])
def test_a_recipe_s_augmentation_ends_with_the_config_s_own(tmp_path, zoo, name):
    effective, plan = child(
        tmp_path, zoo, name, 20000, 'rtmdet/rtmdet_l_8xb32-300e_coco.py',
        'tricks = dict(mixup=dict(replace=True))\n')
    off = {hook['type'].split('.')[-1]: hook['off_epochs'] for hook in effective.custom_hooks
           if 'off_epochs' in hook}
    # RTMDet's own hook switches at epoch 280 of 300
    assert off == {'MixUpOffHook': 20, 'BatchRandomShapesHook': 20}
    if name == 'modern':
        assert plan['clean_tail'].status == 'present' and 'epoch 280' in plan['clean_tail'].reason


def test_the_bag_s_flat_part_is_not_talked_of_in_timm():
    pytest.importorskip('timm')
    from support.timm_train import settings_of

    from tricks_plugin.timm.plan import plan_tricks
    _, plan, _ = plan_tricks(settings_of(epochs=100), {'epochs'}, 'bag_of_freebies')
    assert plan['cosine_warmup'].reason == '5 + 95 epochs = the 100 asked for'


def test_a_flat_part_is_kept_where_the_schedule_is_replaced(tmp_path, zoo):
    effective, _ = child(tmp_path, zoo, 'bag_of_freebies', images=205,
                         text='model = dict(backbone=dict(init_cfg=None))\n')
    schedule, = effective.param_scheduler
    assert schedule.flat_fraction == 0.7
    again, plan = tricks_plugin.apply_tricks(effective, {
        'recipe': 'bag_of_freebies', 'cosine_warmup': {'replace': True}})
    assert again.param_scheduler[0].flat_fraction == 0.7
    again, _ = tricks_plugin.apply_tricks(effective, {
        'cosine_warmup': {'replace': True, 'flat_fraction': 0.0}})
    assert 'flat_fraction' not in again.param_scheduler[0]


def test_modern_goes_without_its_flat_part_in_timm_and_an_order_for_one_is_refused():
    pytest.importorskip('timm')
    from support.timm_train import settings_of

    from tricks_plugin.timm.plan import plan_tricks
    args, plan, _ = plan_tricks(settings_of(epochs=100), {'epochs'}, 'modern')
    assert (args.sched, args.warmup_epochs, args.epochs) == ('cosine', 5, 95)
    assert plan['cosine_warmup'].reason == (
        "5 + 95 epochs = the 100 asked for; the recipe's cosine_warmup.flat_fraction=0.5 is left "
        'out, as timm cannot do it')
    for order in ({'cosine_warmup': {'flat_fraction': 0.3}},
                  ['modern', {'cosine_warmup': {'warmup_epochs': 3, 'flat_fraction': 0.3}}]):
        with pytest.raises(tricks_plugin.TrickError, match='must be 0 under timm, .*got 0.3; '
                                                           'cosine_warmup.flat_fraction=0 goes'):
            plan_tricks(settings_of(), frozenset(), order)
    for order, words in (({'warmup_epochs': 3}, True), (True, True),
                         ({'warmup_epochs': 3, 'flat_fraction': 0}, False)):
        args, plan, _ = plan_tricks(settings_of(), frozenset(), ['modern', {
            'cosine_warmup': order}])
        assert args.warmup_epochs == (5 if order is True else 3)
        assert plan['cosine_warmup'].status == 'applied'
        assert words == plan['cosine_warmup'].reason.endswith(
            "the recipe's cosine_warmup.flat_fraction=0.5 is left out, as timm cannot do it")


def test_a_recipe_s_parameter_that_does_not_fit_is_a_verdict_in_timm_too(monkeypatch):
    pytest.importorskip('timm')
    from support.timm_train import settings_of

    from tricks_plugin.timm.plan import plan_tricks
    args, plan, _ = plan_tricks(settings_of(epochs=1), {'epochs'}, 'finetune')
    assert plan['cosine_warmup'].status == 'applied'
    assert (args.epochs, args.warmup_epochs) == (1, 0)
    assert plan['cosine_warmup'].reason.startswith('no warm-up: 1 of the 1 epochs would be half')
    monkeypatch.setattr('tricks_plugin.plan.recipes.load_recipe',
                        lambda name: {'cosine_warmup': {'warmup_epochs': 4.0}})
    args, plan, _ = plan_tricks(settings_of(epochs=4), {'epochs'}, 'finetune')
    assert args.epochs == 4 and plan['cosine_warmup'].status == 'not_applicable'
    assert plan['cosine_warmup'].reason == (
        "the recipe's parameter does not fit this run: tricks.cosine_warmup.warmup_epochs must be "
        'less than epochs (4), got 4.0')
    for given, order in (({'epochs', 'warmup_epochs'}, 'finetune'),
                         ({'epochs'}, {'cosine_warmup': {'warmup_epochs': 4.0}})):
        with pytest.raises(tricks_plugin.TrickError, match='must be less than epochs'):
            plan_tricks(settings_of(epochs=4, warmup_epochs=9), given, order)


def test_one_end_that_is_set_is_that_of_all(tmp_path, zoo):
    effective, plan = child(
        tmp_path, zoo, 'modern', base='rtmdet/rtmdet_s_8xb32-300e_coco.py', text=(
            'custom_hooks = []\ntrain_cfg = dict(max_epochs=20)\n'
            'tricks = dict(clean_tail=dict(off_fraction=0.3), mixup=dict(replace=True))\n'))
    rows = {row.name: row for row in plan.tricks}
    assert 'off from epoch 14 of 20, counted from 0' in rows['clean_tail'].reason
    assert 'off from epoch 14 of 20, counted from 0, with the end of tricks.clean_tail' in \
        rows['mixup'].reason
    assert 'tricks_ending' not in effective


def test_mixup_sees_the_mosaic_of_the_same_plan(tmp_path, zoo):
    _, plan = child(tmp_path, zoo, 'modern', images=500,
                    text="tricks = dict(mosaic=dict(prob=0.9))\n")
    rows = {row.name: row for row in plan.tricks}
    assert rows['mosaic'].status == 'applied' and plan.run.augmentation == ()
    assert rows['mixup'].status == 'held_back'
    assert 'too few for mixup beside MosaicToScale' in rows['mixup'].reason
