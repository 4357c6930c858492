"""The batch that a file's name says its learning rate is for."""

from __future__ import annotations

import pytest

from tricks_plugin.mm.named_batch import named_batch

BASE = "/zoo/_base_/schedule_1x.py\noptim_wrapper = dict(lr=0.02)\n" \
       "auto_scale_lr = dict(base_batch_size=16)\n"


OWN = 'optimizer = dict(lr=0.004)'


@pytest.mark.parametrize(('files', 'found'), [
    ((('rtmdet_l_8xb32-300e_coco.py', 'base_lr = 0.004\noptimizer = dict(lr=base_lr)'),),
     (256, 'rtmdet_l_8xb32-300e_coco.py')),
    # one that inherits the LR inherits its batch, whatever its own name
    ((('rtmdet_l_8xb32-300e_coco.py', OWN), ('rtmdet_s_4xb8.py', 'model = dict()')),
     (256, 'rtmdet_l_8xb32-300e_coco.py')),
    # the nearest file with an LR decides, and one that sets the batch is believed
    ((('a_8xb32.py', 'x = dict(lr=1)'), ('b_4xb4.py', '{"lr": 4e-3}')), (16, 'b_4xb4.py')),
    ((('a_8xb32.py', OWN), ('mine.py', 'x = dict(lr=2)')), None),
    ((('a_8xb32.py', OWN), ('my file.py', 'x = dict(lr=2)')), None),
    ((('a_8xb32.py', OWN), ('mine.py', 'x = {"optimizer": {"lr": 2}}')), None),
    ((('a_8xb32.py', OWN), ('mine.py', 'x = dict(base_batch_size=256)')), None),
    ((('a_8xb8_y.py', OWN + '\nauto_scale_lr = dict(base_batch_size=64)'),), None),
    # an option of the command has set another LR
    ((('a_8xb32.py', 'x = dict(lr=0.00401)'),), None),
    ((('mine.py', 'model = dict()'),), None),
    ((('yolo8xb32x.py', OWN),), None),  # part of a word
])
def test_the_file_of_the_lr_names_the_batch(files, found):
    text = BASE + '\n'.join(f'/zoo/x/{name}\n{body}\n' for name, body in files)
    assert named_batch(text, 0.004, 16) == found


def test_a_text_without_files_says_nothing_and_so_does_a_batch_of_the_commands():
    assert named_batch('', 0.1, 16) is None
    assert named_batch("optimizer = dict(lr=0.1)\n_base_ = './a_8xb32.py'\n", 0.1, 16) is None
    text = f'{BASE}/zoo/x/a_8xb32.py\n{OWN}\n'
    assert named_batch(text, 0.004, 16) and named_batch(text, 0.004, 256) is None


@pytest.mark.parametrize(('base', 'held'), [
    ('rtmdet/rtmdet_s_8xb32-300e_coco.py', 'rtmdet_l_8xb32-300e_coco.py'),
    ('yolox/yolox_s_8xb8-300e_coco.py', ''), ('retinanet/retinanet_r50_fpn_1x_coco.py', '')])
def test_a_recipe_leaves_an_lr_whose_batch_is_in_dispute(tmp_path, zoo, base, held):
    pytest.importorskip('mmdet')
    from mmengine.config import Config

    import tricks_plugin
    file = tmp_path / 'child.py'
    file.write_text(f"_base_ = {str(zoo / base)!r}\ntrain_dataloader = dict(batch_size=4)\n")
    cfg = Config.fromfile(file)
    effective, plan = tricks_plugin.apply_tricks(cfg, 'finetune')
    row = next(row for row in plan.tricks if row.name == 'linear_lr')
    lr = cfg.optim_wrapper.optimizer.lr
    if not held:
        assert row.status == 'applied'
        return
    assert row.status == 'held_back' and effective.optim_wrapper.optimizer.lr == lr
    assert row.reason.startswith(
        f'the lr comes from {held}, by its name for 256 images, and '
        'auto_scale_lr.base_batch_size is 16: set tricks.linear_lr.base_batch_size to the one')
    # an LR of the command line's is that of no file
    cfg.merge_from_dict({'optim_wrapper.optimizer.lr': 0.00123})
    _, plan = tricks_plugin.apply_tricks(cfg, 'finetune')
    assert next(row for row in plan.tricks if row.name == 'linear_lr').status == 'applied'
    cfg.merge_from_dict({'optim_wrapper.optimizer.lr': lr})
    # the user's word settles it: 4 of 256 images
    effective, plan = tricks_plugin.apply_tricks(
        cfg, ['finetune', dict(linear_lr=dict(base_batch_size=256))])
    assert effective.optim_wrapper.optimizer.lr == pytest.approx(lr / 64)
