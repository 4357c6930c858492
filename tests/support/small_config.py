"""A config of mmdet that is planned, and never trained: its data are not there."""

__all__ = ['CONFIG']

CONFIG = '''
default_scope = 'mmdet'
model = dict(
    type='RetinaNet', bbox_head=dict(type='RetinaHead', num_classes=3, in_channels=8),
    backbone=dict(type='ResNet', depth=18, norm_cfg=dict(type='BN'), norm_eval=False))
train_dataloader = dict(batch_size=2, dataset=dict(
    type='CocoDataset', ann_file='a.json', pipeline=[dict(type='LoadImageFromFile')]))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=20)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(
    type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.))
param_scheduler = [dict(type='MultiStepLR', milestones=[8, 11], by_epoch=True)]
val_dataloader = dict(batch_size=1, dataset=dict(type='CocoDataset', ann_file='b.json'))
val_cfg = dict(type='ValLoop')
val_evaluator = dict(type='CocoMetric', metric='bbox')
'''
