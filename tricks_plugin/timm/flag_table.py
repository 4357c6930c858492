"""The flags of timm's training script as a table: the part on data, model, optimizer and schedule.

Names, types and defaults are those of timm's own script (main branch, August 2026).
"""

from __future__ import annotations

from typing import Any

from .flag_row import (
    ABOVE_0,
    COOLING,
    CYCLES,
    FILTERS,
    FROM_0,
    FROM_1,
    NO_LR,
    RISING,
    SCHEDULED,
    SIDE,
    SOME,
    STREAMED,
    VALIDATED,
    Read,
    Rule,
    by_sched,
    flag,
    needs,
)

__all__ = ['LEFT_OUT', 'MODEL_FLAGS', 'OWN_FLAGS']

_DTYPES = ('float32', 'float16', 'bfloat16')
_SCHEDULES = ('cosine', 'tanh', 'step', 'constant', 'multistep', 'plateau', 'poly', 'wsd', 'rsqrt',
              'none')
_SIZED = Read(lambda args: args.input_size is None, '--input-size wins')
_KEYED = Read(lambda args: '/' in args.dataset, 'it needs a --dataset of samples by key')
_KEPT = Rule('from 0.01 to 10', lambda value: 0.01 <= value <= 10)

DATA = (
    flag('data', 'str', None, 'folder or tar with the images; --data-dir says the same',
         Read(lambda args: args.data_dir in (None, args.data), '--data-dir wins'), nargs='?',
         metavar='DIR'),
    flag('--data-dir', 'str', None, 'folder or tar with the images', metavar='DIR'),
    flag('--dataset', 'str', '', 'kind and name of the data set; empty: class folders or tars'),
    flag('--train-split', 'str', 'train', 'name of the training split'),
    flag('--val-split', 'str', 'validation', 'name of the validation split; empty: none'),
    flag('--train-num-samples', 'int', None, 'images for training, for data that is streamed',
         FROM_1, STREAMED),
    flag('--val-num-samples', 'int', None, 'images for validation, for data that is streamed',
         FROM_1, STREAMED),
    flag('--dataset-download', 'switch', False, 'let torch/ and tfds/ data sets be downloaded',
         Read(lambda args: '/' in args.dataset, 'class folders and tars are not downloaded')),
    flag('--class-map', 'str', '', 'file that maps class names to numbers', metavar='FILE'),
    flag('--input-img-mode', 'str', None, "the images' PIL mode, such as RGB or L",
         words=('1', 'CMYK', 'F', 'HSV', 'I', 'I;16', 'L', 'LAB', 'P', 'RGB', 'RGBA', 'RGBX',
             'YCbCr')),
    flag('--input-key', 'str', None, "the image's key in a sample", _KEYED),
    flag('--target-key', 'str', None, "the label's key in a sample", _KEYED),
    flag('--dataset-trust-remote-code', 'switch', False, 'let hfds/ data sets run their own code',
         since='1.0.13'),
)

MODEL = (
    flag('--model', 'str', 'resnet50', 'name of the model'),
    flag('--pretrained', 'switch', False, "start from the model's published weights"),
    flag('--pretrained-path', 'str', None, 'take the pretrained weights from this file',
         metavar='FILE'),
    flag('--initial-checkpoint', 'str', '', 'weights to load into the built model', metavar='FILE'),
    flag('--resume', 'str', '', 'checkpoint from which to go on, optimizer and epoch included',
         metavar='FILE'),
    flag('--no-resume-opt', 'switch', False, 'resume without the state of the optimizer',
         needs('resume')),
    flag('--num-classes', 'int', None, "number of classes; unset: the model's", FROM_1),
    flag('--gp', 'str', None, "pooling: fast, avg, max, avgmax, avgmaxc; unset: the model's"),
    flag('--img-size', 'int', None, "side of the images in pixels; unset: the model's", SIDE,
         _SIZED),
    flag('--in-chans', 'int', None, 'channels of the images; unset: 3', FROM_1, _SIZED),
    flag('--input-size', 'int', None, 'channels, height and width of the images', SIDE, nargs=3,
         whole=Rule('channels, height and width', lambda values: len(values) == 3)),
    flag('--crop-pct', 'float', None, 'share of the image that the validation crop keeps', _KEPT),
    flag('--mean', 'float', None, "mean per channel, of 0..1; unset: the model's", nargs='+',
         whole=SOME),
    flag('--std', 'float', None, "deviation per channel, of 0..1; unset: the model's", ABOVE_0,
         nargs='+', whole=SOME),
    flag('--interpolation', 'str', '', "how images are resized; empty: the model's way",
         words=('', *FILTERS)),
    flag('-b --batch-size', 'int', 128, 'images per training batch and process', FROM_1),
    flag('-vb --validation-batch-size', 'int', None, 'images per validation batch; unset: as -b',
         FROM_0, VALIDATED),
    flag('--channels-last', 'switch', False, 'keep tensors in channels_last memory format'),
    flag('--fuser', 'str', '', 'fuser of torch.jit: te, old or nvfuser',
         words=('', 'te', 'old', 'legacy', 'nvfuser', 'nvf')),
    flag('--grad-accum-steps', 'int', 1, 'batches whose gradients make one update', FROM_0),
    flag('--grad-checkpointing', 'switch', False, 'recompute activations in the backward pass'),
    flag('--fast-norm', 'switch', False, 'norms in low precision where timm has them'),
    flag('--model-kwargs', 'kwargs', {}, 'KEY=VALUE settings for the model', nargs='*'),
    flag('--head-init-scale', 'float', None, "factor on the classifier's first weights"),
    flag('--head-init-bias', 'float', None, "first value of the classifier's bias"),
    flag('--torchcompile-mode', 'str', None, 'mode of torch.compile', needs('torchcompile'),
         words=('', 'default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs'),
         since='1.0.10'),
    flag('--torchscript', 'switch', False, 'script the model with torch.jit', exclusive='codegen'),
    flag('--torchcompile', 'str', None, 'compile the model with this backend', nargs='?',
         const='inductor', exclusive='codegen'),
)

DEVICE = (
    flag('--device', 'str', 'cuda', 'device to train on'),
    flag('--amp', 'switch', False, 'mixed precision'),
    flag('--amp-dtype', 'str', 'float16', 'low precision of --amp: float16 or bfloat16',
         needs('amp'), words=_DTYPES[1:]),
    flag('--model-dtype', 'str', None, 'precision of the weights, without --amp',
         words=('', *_DTYPES), since='1.0.13'),
    flag('--no-ddp-bb', 'switch', False, 'no broadcast of buffers between processes'),
    flag('--synchronize-step', 'switch', False, 'wait for the device after every step'),
    flag('--local_rank', 'int', 0, 'set by launchers; the environment decides', FROM_0),
)

OPTIMIZER = (
    flag('--opt', 'str', 'sgd', 'name of the optimizer'),
    flag('--opt-eps', 'float', None, "the optimizer's epsilon; unset: its own", FROM_0),
    flag('--opt-betas', 'float', None, "the optimizer's betas; unset: its own", FROM_0, nargs='+',
         whole=SOME),
    flag('--momentum', 'float', 0.9, "the optimizer's momentum", FROM_0),
    flag('--weight-decay', 'float', 2e-5, 'weight decay', FROM_0),
    flag('--clip-grad', 'float', None, 'bound of the gradients; unset: none',
         Rule('above 0', lambda value: value > 0, finite=False)),
    flag('--clip-mode', 'str', 'norm', 'what --clip-grad bounds: norm, value or agc',
         needs('clip_grad'), words=('norm', 'value', 'agc')),
    flag('--layer-decay', 'float', None, 'factor on the LR from layer to layer, head to stem',
         ABOVE_0),
    flag('--layer-decay-min-scale', 'float', 0, 'lower bound of the factor of --layer-decay',
         FROM_0, needs('layer_decay'), since='1.0.17'),
    flag('--layer-decay-no-opt-scale', 'float', None, 'layers with a smaller factor are frozen',
         FROM_0, needs('layer_decay'), since='1.0.17'),
    flag('--opt-kwargs', 'kwargs', {}, 'KEY=VALUE settings for the optimizer', nargs='*'),
)

SCHEDULE = (
    flag('--sched', 'str', 'cosine', 'LR schedule: cosine, tanh, step, multistep, poly, ...',
         words=_SCHEDULES),
    flag('--sched-on-updates', 'switch', False, 'move the LR with every update, not every epoch',
         SCHEDULED),
    flag('--lr', 'float', None, 'learning rate; unset: from --lr-base and the batch size', FROM_0,
         Read(lambda args: args.lr is None or args.lr,
             '0 means unset: the LR comes from --lr-base')),
    flag('--lr-base', 'float', 0.1, 'learning rate for a batch of --lr-base-size images', ABOVE_0,
         NO_LR),
    flag('--lr-base-size', 'int', 256, 'global batch size to which --lr-base belongs', FROM_1,
         NO_LR),
    flag('--lr-base-scale', 'str', '', 'growth with the batch: linear, sqrt; empty: by optimizer',
         NO_LR, words=('', 'linear', 'sqrt')),
    flag('--lr-noise', 'float', None, 'shares of the run between which the LR is noisy', FROM_0,
         SCHEDULED, nargs='+', loose=True,
         whole=Rule('one number or two', lambda values: len(values) in (1, 2))),
    flag('--lr-noise-pct', 'float', 0.67, 'bound of the noise, relative to the LR', FROM_0,
         needs('lr_noise')),
    flag('--lr-noise-std', 'float', 1.0, 'deviation of the noise', FROM_0, needs('lr_noise')),
    flag('--lr-cycle-mul', 'float', 1.0, 'growth of the cycles from one to the next', ABOVE_0,
         CYCLES),
    flag('--lr-cycle-decay', 'float', 0.5, 'factor on the LR from cycle to cycle', FROM_0, CYCLES),
    flag('--lr-cycle-limit', 'int', 1, 'number of cycles', FROM_1, CYCLES),
    flag('--lr-k-decay', 'float', 1.0, 'exponent k on the progress, for cosine and poly', ABOVE_0,
         by_sched('cosine', 'poly')),
    flag('--warmup-lr', 'float', 1e-5, 'LR at the start of the warm-up', FROM_0, SCHEDULED,
         Read(lambda args: args.warmup_epochs, 'there are no --warmup-epochs')),
    flag('--min-lr', 'float', 0, 'LR at the end of the schedule', FROM_0,
         by_sched('cosine', 'tanh', 'poly', 'plateau', 'wsd', 'rsqrt')),
    flag('--epochs', 'int', 300, 'epochs of the schedule', FROM_1),
    flag('--epoch-repeats', 'float', 0.0, 'times the data is gone through in one epoch', FROM_0,
         STREAMED),
    flag('--start-epoch', 'int', None, 'epoch to start with', FROM_0),
    flag('--decay-milestones', 'int', [90, 180, 270], 'epochs of the decays of multistep', FROM_0,
         by_sched('multistep'), nargs='+', whole=RISING),
    flag('--decay-epochs', 'float', 90, 'epochs between two decays of step', ABOVE_0,
         by_sched('step', 'wsd', 'rsqrt')),
    flag('--warmup-epochs', 'int', 5, 'epochs of warm-up', FROM_0, SCHEDULED),
    flag('--warmup-prefix', 'switch', False, 'the warm-up comes before --epochs, not out of them'),
    flag('--cooldown-epochs', 'int', 0, 'epochs at the smallest LR after the schedule', FROM_0,
         by_sched(*COOLING)),
    flag('--patience-epochs', 'int', 10, 'epochs without gain before plateau decays', FROM_0,
         by_sched('plateau')),
    flag('--decay-rate --dr', 'float', 0.1, 'factor of a decay; for poly the power', FROM_0,
         by_sched('step', 'multistep', 'plateau', 'poly')),
)

MODEL_FLAGS = {
    'data set': DATA,
    'model': MODEL,
    'device': DEVICE,
    'optimizer': OPTIMIZER,
    'learning rate': SCHEDULE,
}

OWN_FLAGS = (
    flag('--tricks', 'str', None, 'recipes or single tricks to train with, separated by commas',
         metavar='NAME[,NAME...]'),
    flag('--trick-options', 'str', [], "tricks' parameters, such as mixup.alpha=0.4", nargs='+',
         metavar='KEY=VALUE'),
    flag('--plan', 'switch', False, 'print what each trick sets, and stop'),
    flag('--json', 'switch', False, 'with --plan: as JSON'),
    flag('--data-cache', 'str', None, 'keep images in memory or on a local SSD, for all processes '
         'of this node: auto, encoded or decoded', words=('auto', 'encoded', 'decoded'),
         metavar='LEVEL'),
    flag('--data-cache-folder', 'str', None, 'where; unset: a folder of yours in /dev/shm',
         needs('data_cache'), metavar='DIR'),
    flag('--data-cache-mb', 'float', None, 'largest size there; unset: by what is free', ABOVE_0,
         needs('data_cache')),
    flag('--kd-checkpoint', 'str', None, "the teacher's weights; unset: timm's published ones",
         needs('kd_model_name'), metavar='FILE'),
)

# What timm's script has and this one has not, with timm's defaults: an args.yaml that timm wrote
# holds every key, and is taken as long as these stand at their defaults.
LEFT_OUT: dict[str, Any] = {
    'naflex_loader': False,
    'naflex_train_seq_lens': [128, 256, 576, 784, 1024],
    'naflex_max_seq_len': 576,
    'naflex_patch_sizes': None,
    'naflex_patch_size_probs': None,
    'naflex_loss_scale': 'linear',
    'naflex_patchify_channels_first': False,
    'kd_student_feature_dim': None,
    'kd_teacher_feature_dim': None,
    'kd_token_distill_type': 'soft',
    'device_modules': None,
    'amp_impl': 'native',
}
