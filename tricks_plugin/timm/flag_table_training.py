"""The flags of timm's training script as a table: the part on augmentation, norms and the run."""

from __future__ import annotations

import dataclasses

from .flag_row import (
    ABOVE_0,
    AUGMENTING,
    FILTERS,
    FROM_0,
    FROM_1,
    MIXING,
    PAIR,
    SHARE,
    SIDE,
    SOME,
    VALIDATED,
    Read,
    Rule,
    flag,
    needs,
)

__all__ = ['TRAINING_FLAGS']

_BELOW_1 = Rule('from 0 to below 1', lambda value: 0 <= value < 1)
_SPLITS = Rule('0, or 2 and more', lambda value: value == 0 or value >= 2)
_SEED = Rule('from 0 to 2**32 - 1', lambda value: 0 <= value < 2 ** 32)
_NO_AA = Read(lambda args: not args.aa or '3a' in args.aa, '--aa takes its place')
_BOTH = Read(lambda args: args.mixup > 0 and (args.cutmix > 0 or args.cutmix_minmax is not None),
             'it needs --mixup and --cutmix')
_UNROUNDED = Read(
    lambda args: not (args.smoothing and args.bce_loss and args.bce_target_thresh is not None),
    '--bce-target-thresh makes the targets 0 and 1 again')
_SIZES = needs('train_img_sizes')
_TEACHER = needs('kd_model_name')
_PROGRESSIVE = Read(lambda args: args.train_size_schedule == 'progressive',
                    'it needs --train-size-schedule progressive')

AUGMENTATION = (
    flag('--no-aug', 'switch', False, 'train without augmentation, whatever else is set',
         role='training'),
    flag('--train-crop-mode', 'str', None, 'how training images are cropped: rrc, rkrc, rkrr',
         AUGMENTING, words=('', 'rrc', 'rkrc', 'rkrr'), role='training', builds='transform'),
    flag('--scale', 'float', [0.08, 1.0], 'share of the area that a crop keeps', ABOVE_0,
         AUGMENTING, nargs='+', whole=PAIR, none=True, role='training', builds='transform'),
    flag('--ratio', 'float', [3 / 4, 4 / 3], 'aspect ratio of a crop', ABOVE_0, AUGMENTING,
         nargs='+', whole=PAIR, none=True, role='training', builds='transform'),
    flag('--hflip', 'float', 0.5, 'probability of a horizontal flip', SHARE, AUGMENTING,
         role='training'),
    flag('--vflip', 'float', 0.0, 'probability of a vertical flip', SHARE, AUGMENTING,
         role='training'),
    flag('--color-jitter', 'float', 0.4, 'strength of the colour jitter', FROM_0, AUGMENTING,
         _NO_AA, none=True, loose=True,
         whole=Rule('three numbers or four', lambda values: len(values) in (3, 4)),
         role='training', builds='transform'),
    flag('--color-jitter-prob', 'float', None, 'probability of the colour jitter; unset: always',
         SHARE, _NO_AA, role='training'),
    flag('--grayscale-prob', 'float', None, 'probability of a grey image', SHARE, AUGMENTING,
         role='training'),
    flag('--gaussian-blur-prob', 'float', None, 'probability of a blur', SHARE, AUGMENTING,
         role='training'),
    flag('--aa', 'str', None, 'policy of automatic augmentation, such as rand-m9-mstd0.5',
         AUGMENTING, role='training', builds='transform'),
    flag('--aug-repeats', 'float', 0, 'copies of an image in a batch of several processes', FROM_0,
         role='training'),
    flag('--aug-splits', 'int', 0, 'differently augmented copies of a batch: 0, or 2 and more',
         _SPLITS, role='training'),
    flag('--jsd-loss', 'switch', False, 'Jensen-Shannon loss between the splits', role='training'),
    flag('--bce-loss', 'switch', False, 'binary cross-entropy',
         Read(lambda args: not args.jsd_loss, '--jsd-loss is the loss'), role='training'),
    flag('--bce-sum', 'switch', False, 'sum the binary cross-entropy over the classes',
         needs('bce_loss'), role='training'),
    flag('--bce-target-thresh', 'float', None, 'targets above this become 1, others 0', FROM_0,
         needs('bce_loss'), role='training'),
    flag('--bce-pos-weight', 'float', None, "weight of the binary loss's positive part", ABOVE_0,
         needs('bce_loss'), role='training'),
    flag('--reprob', 'float', 0.0, 'probability of random erasing', SHARE, AUGMENTING,
         role='training'),
    flag('--remode', 'str', 'pixel', 'what is put in place of the erased: pixel, rand or const',
         needs('reprob'), words=('', 'const', 'rand', 'pixel'), role='training'),
    flag('--recount', 'int', 1, 'areas erased', FROM_1, needs('reprob'), role='training'),
    flag('--resplit', 'switch', False, 'leave the first split without random erasing',
         role='training'),
    flag('--mixup', 'float', 0.0, 'alpha of mixup; 0: none', FROM_0, role='training'),
    flag('--cutmix', 'float', 0.0, 'alpha of cutmix; 0: none', FROM_0,
         Read(lambda args: args.cutmix_minmax is None,
             '--cutmix-minmax takes the place of its alpha'), role='training'),
    flag('--cutmix-minmax', 'float', None, 'smallest and largest share of the cut side', SHARE,
         nargs='+', whole=PAIR, role='training'),
    flag('--mixup-prob', 'float', 1.0, 'probability that a batch is mixed', SHARE, MIXING,
         role='training'),
    flag('--mixup-switch-prob', 'float', 0.5, 'probability of cutmix where both are on', SHARE,
         _BOTH, role='training'),
    flag('--mixup-mode', 'str', 'batch', 'drawn per batch, pair or elem', MIXING,
         words=('batch', 'pair', 'elem'), role='training',
         without='it mixes by one ratio per batch'),
    flag('--mixup-off-epoch', 'int', 0, 'epoch from which nothing is mixed; 0: never', FROM_0,
         MIXING, role='training'),
    flag('--smoothing', 'float', 0.1, 'label smoothing: the share spread over all classes',
         _BELOW_1, _UNROUNDED, role='training'),
    flag('--train-interpolation', 'str', 'random', 'how training images are resized', AUGMENTING,
         words=('', 'random', *FILTERS), role='training', builds='transform'),
    flag('--drop', 'float', 0.0, 'dropout before the classifier', SHARE, role='training',
         builds='model'),
    flag('--drop-connect', 'float', None, 'former name of --drop-path, without effect', SHARE,
         Read(lambda args: False, "timm's script no longer reads it; use --drop-path")),
    flag('--drop-path', 'float', None, 'probability that a residual branch is left out', SHARE,
         role='training', builds='model'),
    flag('--drop-block', 'float', None, 'probability of DropBlock', SHARE, role='training',
         builds='model'),
)

NORM = (
    flag('--bn-momentum', 'float', None, "momentum of the batch norms; unset: the model's", SHARE,
         role='training', builds='model'),
    flag('--bn-eps', 'float', None, "epsilon of the batch norms; unset: the model's", ABOVE_0,
         role='training', builds='model'),
    flag('--sync-bn', 'switch', False, 'batch norms over all processes', role='training'),
    flag('--dist-bn', 'str', 'reduce', 'statistics of the norms after an epoch: broadcast, reduce',
         words=('', 'broadcast', 'reduce'), role='training'),
    flag('--split-bn', 'switch', False, 'one batch norm for each augmentation split',
         role='training'),
)

EMA = (
    flag('--model-ema', 'switch', False, 'keep a moving average of the weights', role='training'),
    flag('--model-ema-force-cpu', 'switch', False, 'keep the average on the CPU, unvalidated',
         needs('model_ema')),
    flag('--model-ema-decay', 'float', 0.9998, 'decay of the average', SHARE, needs('model_ema'),
         role='training'),
    flag('--model-ema-warmup', 'switch', False, 'let the decay grow at the start',
         needs('model_ema'), role='training'),
)

# Of timm's three kinds of distillation the one by class scores.
DISTILLATION = tuple(dataclasses.replace(row, since='1.0.23') for row in (
    flag('--kd-model-name', 'str', None, 'model of the teacher; unset: none', role='training'),
    flag('--kd-distill-type', 'str', 'logit', 'what the teacher shows: its class scores', _TEACHER,
         words=('logit',)),
    flag('--kd-loss-type', 'str', 'kl', 'loss of distillation', _TEACHER, words=('kl',)),
    flag('--distill-loss-weight', 'float', None, 'factor on the loss of distillation; unset: 1, or '
         'what --task-loss-weight leaves of 1', FROM_0, _TEACHER, role='training'),
    flag('--task-loss-weight', 'float', None, "factor on the labels' loss; unset: 1", FROM_0,
         _TEACHER, role='training'),
    flag('--kd-temperature', 'float', 4.0, 'what class scores are divided by before the softmax',
         ABOVE_0, _TEACHER, role='training'),
))

RUN = (
    flag('--seed', 'int', 42, 'seed of the run', _SEED, role='training'),
    flag('--worker-seeding', 'str', 'all', 'which generators of a worker are seeded: all, part',
         words=('all', 'part'), role='training'),
    flag('--log-interval', 'int', 50, 'batches between two lines of the log', FROM_1, role='place'),
    flag('--val-interval', 'int', 1, 'epochs between two validations', FROM_1, since='1.0.23'),
    flag('--recovery-interval', 'int', 0, 'batches between two recovery checkpoints; 0: none',
         FROM_0, role='place'),
    flag('--checkpoint-hist', 'int', 10, 'checkpoints kept', FROM_1, role='place'),
    flag('-j --workers', 'int', 4, 'processes that load the data', FROM_0),
    flag('--save-images', 'switch', False, 'save a batch of images with every line of the log',
         role='place'),
    flag('--pin-mem', 'switch', False, 'load into pinned memory', role='place'),
    flag('--no-prefetcher', 'switch', False, 'normalise images in the workers, not on the device'),
    flag('--output', 'str', '', 'folder for the results; empty: ./output/train', metavar='DIR',
         role='place'),
    flag('--experiment', 'str', '', "the run's folder in --output; empty: from date and model",
         role='place'),
    flag('--eval-metric', 'str', 'top1', 'metric of the best checkpoint',
         words=('top1', 'top5', 'loss'), role='place'),
    flag('--tta', 'int', 0, 'neighbouring predictions averaged in validation; 0: none', FROM_0,
         VALIDATED),
    flag('--use-multi-epochs-loader', 'switch', False, 'keep the workers from epoch to epoch'),
    flag('--log-wandb', 'switch', False, 'log to Weights & Biases', role='place'),
    flag('--wandb-project', 'str', None, "the run's project there", needs('log_wandb'),
         since='1.0.13', role='place'),
    flag('--wandb-tags', 'str', [], "the run's tags there", needs('log_wandb'), nargs='+',
         since='1.0.12', role='place'),
    flag('--wandb-resume-id', 'str', '', 'the run there to go on with', needs('log_wandb'),
         since='1.0.12', role='place'),
)

SIZES = tuple(dataclasses.replace(row, since='1.0.29') for row in (
    flag('--train-img-sizes', 'int', None, 'sides of the training images, drawn per batch', SIDE,
         nargs='+', whole=SOME, role='training', builds='model',
         without='it trains at one size; timm has random sizes from 1.0.29 on, so update timm or '
                 'do without'),
    flag('--train-batch-sizes', 'int', None, 'batch size of each of these sizes', FROM_1, _SIZES,
         nargs='+', role='training'),
    flag('--train-size-probs', 'float', None, 'weight of each of these sizes', FROM_0, _SIZES,
         nargs='+', role='training'),
    flag('--train-size-schedule', 'str', 'constant', 'progressive: from the first size to the last',
         _SIZES, words=('constant', 'progressive'), role='training'),
    flag('--train-size-schedule-spread', 'float', 0.65, 'width of the progressive draw, in sizes',
         FROM_0, _PROGRESSIVE, role='training'),
    flag('--train-size-random-mix', 'float', 0.1, 'share of uniform draws in the progressive one',
         SHARE, _PROGRESSIVE, role='training'),
    flag('--train-batches-per-epoch --train-steps-per-epoch', 'int', None, 'batches of an epoch',
         FROM_1, _SIZES, role='training'),
    flag('--variable-batch-loss-scale', 'str', 'none', "gradient's growth with the batch's size",
         _SIZES, words=('none', 'sqrt', 'linear'), role='training'),
))

TRAINING_FLAGS = {
    'augmentation and regularization': AUGMENTATION,
    'batch norm': NORM,
    'moving average of the weights': EMA,
    'distillation': DISTILLATION,
    'run': RUN,
    'training sizes': SIZES,
}
