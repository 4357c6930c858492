"""The flags of timm's training script as a table: the part on augmentation, norms and the run."""

from __future__ import annotations

from .flag_table import flag

__all__ = ['TRAINING_FLAGS']

AUGMENTATION = (
    flag('--no-aug', 'switch', False, 'train without augmentation, whatever else is set'),
    flag('--train-crop-mode', 'str', None, 'how training images are cropped: rrc, rkrc, rkrr'),
    flag('--scale', 'float', [0.08, 1.0], 'share of the area that a crop keeps', nargs='+'),
    flag('--ratio', 'float', [3 / 4, 4 / 3], 'aspect ratio of a crop', nargs='+'),
    flag('--hflip', 'float', 0.5, 'probability of a horizontal flip'),
    flag('--vflip', 'float', 0.0, 'probability of a vertical flip'),
    flag('--color-jitter', 'float', 0.4, 'strength of the colour jitter'),
    flag('--color-jitter-prob', 'float', None, 'probability of the colour jitter; unset: always'),
    flag('--grayscale-prob', 'float', None, 'probability of a grey image'),
    flag('--gaussian-blur-prob', 'float', None, 'probability of a blur'),
    flag('--aa', 'str', None, 'policy of automatic augmentation, such as rand-m9-mstd0.5'),
    flag('--aug-repeats', 'float', 0, 'copies of an image in a batch of several processes'),
    flag('--aug-splits', 'int', 0, 'differently augmented copies of a batch: 0, or 2 and more'),
    flag('--jsd-loss', 'switch', False, 'Jensen-Shannon loss between the splits'),
    flag('--bce-loss', 'switch', False, 'binary cross-entropy'),
    flag('--bce-sum', 'switch', False, 'sum the binary cross-entropy over the classes'),
    flag('--bce-target-thresh', 'float', None, 'targets above this become 1, others 0'),
    flag('--bce-pos-weight', 'float', None, "weight of the binary loss's positive part"),
    flag('--reprob', 'float', 0.0, 'probability of random erasing'),
    flag('--remode', 'str', 'pixel', 'what is put in place of the erased: pixel, rand or const'),
    flag('--recount', 'int', 1, 'areas erased'),
    flag('--resplit', 'switch', False, 'leave the first split without random erasing'),
    flag('--mixup', 'float', 0.0, 'alpha of mixup; 0: none'),
    flag('--cutmix', 'float', 0.0, 'alpha of cutmix; 0: none'),
    flag('--cutmix-minmax', 'float', None, 'smallest and largest share of the cut side',
         nargs='+'),
    flag('--mixup-prob', 'float', 1.0, 'probability that a batch is mixed'),
    flag('--mixup-switch-prob', 'float', 0.5, 'probability of cutmix where both are on'),
    flag('--mixup-mode', 'str', 'batch', 'drawn per batch, pair or elem'),
    flag('--mixup-off-epoch', 'int', 0, 'epoch from which nothing is mixed; 0: never'),
    flag('--smoothing', 'float', 0.1, 'label smoothing: the share spread over all classes'),
    flag('--train-interpolation', 'str', 'random', 'how training images are resized'),
    flag('--drop', 'float', 0.0, 'dropout before the classifier'),
    flag('--drop-connect', 'float', None, 'former name of --drop-path, without effect'),
    flag('--drop-path', 'float', None, 'probability that a residual branch is left out'),
    flag('--drop-block', 'float', None, 'probability of DropBlock'),
)

NORM = (
    flag('--bn-momentum', 'float', None, "momentum of the batch norms; unset: the model's"),
    flag('--bn-eps', 'float', None, "epsilon of the batch norms; unset: the model's"),
    flag('--sync-bn', 'switch', False, 'batch norms over all processes'),
    flag('--dist-bn', 'str', 'reduce', 'statistics of the norms after an epoch: broadcast, reduce'),
    flag('--split-bn', 'switch', False, 'one batch norm for each augmentation split'),
)

EMA = (
    flag('--model-ema', 'switch', False, 'keep a moving average of the weights'),
    flag('--model-ema-force-cpu', 'switch', False, 'keep the average on the CPU, unvalidated'),
    flag('--model-ema-decay', 'float', 0.9998, 'decay of the average'),
    flag('--model-ema-warmup', 'switch', False, 'let the decay grow at the start'),
)

RUN = (
    flag('--seed', 'int', 42, 'seed of the run'),
    flag('--worker-seeding', 'str', 'all', 'which generators of a worker are seeded: all, part'),
    flag('--log-interval', 'int', 50, 'batches between two lines of the log'),
    flag('--val-interval', 'int', 1, 'epochs between two validations'),
    flag('--recovery-interval', 'int', 0, 'batches between two recovery checkpoints; 0: none'),
    flag('--checkpoint-hist', 'int', 10, 'checkpoints kept'),
    flag('-j --workers', 'int', 4, 'processes that load the data'),
    flag('--save-images', 'switch', False, 'save a batch of images with every line of the log'),
    flag('--pin-mem', 'switch', False, 'load into pinned memory'),
    flag('--no-prefetcher', 'switch', False, 'normalise images in the workers, not on the device'),
    flag('--output', 'str', '', 'folder for the results; empty: ./output/train', metavar='DIR'),
    flag('--experiment', 'str', '', "the run's folder in --output; empty: from date and model"),
    flag('--eval-metric', 'str', 'top1', 'metric of the best checkpoint'),
    flag('--tta', 'int', 0, 'neighbouring predictions averaged in validation; 0: none'),
    flag('--use-multi-epochs-loader', 'switch', False, 'keep the workers from epoch to epoch'),
    flag('--log-wandb', 'switch', False, 'log to Weights & Biases'),
    flag('--wandb-project', 'str', None, "the run's project there"),
    flag('--wandb-tags', 'str', [], "the run's tags there", nargs='+'),
    flag('--wandb-resume-id', 'str', '', 'the run there to go on with'),
)

SIZES = (
    flag('--train-img-sizes', 'int', None, 'sides of the training images, drawn per batch',
         nargs='+'),
    flag('--train-batch-sizes', 'int', None, 'batch size of each of these sizes', nargs='+'),
    flag('--train-size-probs', 'float', None, 'weight of each of these sizes', nargs='+'),
    flag('--train-size-schedule', 'str', 'constant', 'progressive: from the first size to the last',
         choices=('constant', 'progressive')),
    flag('--train-size-schedule-spread', 'float', 0.65, 'width of the progressive draw, in sizes'),
    flag('--train-size-random-mix', 'float', 0.1, 'share of uniform draws in the progressive one'),
    flag('--train-batches-per-epoch --train-steps-per-epoch', 'int', None, 'batches of an epoch'),
    flag('--variable-batch-loss-scale', 'str', 'none', "gradient's growth with the batch's size",
         choices=('none', 'sqrt', 'linear')),
)

TRAINING_FLAGS = {
    'augmentation and regularization': AUGMENTATION,
    'batch norm': NORM,
    'moving average of the weights': EMA,
    'run': RUN,
    'training sizes': SIZES,
}
