"""The flags of timm's training script as a table: the part on data, model, optimizer and schedule.

Names, types, defaults and choices are those of timm's own script (main branch, August 2026).
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ['LEFT_OUT', 'MODEL_FLAGS', 'OWN_FLAGS', 'Flag', 'flag']


class Flag(NamedTuple):
    """One setting of the training script.

    Attributes:
        names: The option strings, or one bare name for a positional argument.
        kind: ``int``, ``float``, ``str``, ``switch`` (False until it is given) or ``kwargs``
            (``KEY=VALUE`` pairs to a dict).
        default: Its value where neither the command line nor the YAML sets it.
        help: One line.
        nargs: As in argparse.
        choices: The values allowed, or None for any.
        const: The value of an option that is given without one (``nargs='?'``).
        exclusive: Flags with the same word here exclude each other on the command line.
        metavar: What ``--help`` shows for its value; empty: by kind.
    """

    names: tuple[str, ...]
    kind: str
    default: Any
    help: str
    nargs: str | int | None = None
    choices: tuple[str, ...] | None = None
    const: str | None = None
    exclusive: str = ''
    metavar: str = ''

    @property
    def long(self) -> str:
        """The first name with two dashes, or the bare name of a positional argument."""
        return next((name for name in self.names if name.startswith('--')), self.names[0])

    @property
    def dest(self) -> str:
        """The setting's name in the namespace and in a YAML file."""
        return self.long.lstrip('-').replace('-', '_')

    @property
    def many(self) -> bool:
        """Whether its value is a list."""
        return self.kind != 'kwargs' and self.nargs not in (None, '?')


def flag(names: str, kind: str, default: Any, help: str, **more: Any) -> Flag:
    """A row of the table; ``names`` are separated by blanks."""
    return Flag(tuple(names.split()), kind, default, help, **more)


DATA = (
    flag('data', 'str', None, 'folder or tar with the images; --data-dir says the same',
         nargs='?', metavar='DIR'),
    flag('--data-dir', 'str', None, 'folder or tar with the images', metavar='DIR'),
    flag('--dataset', 'str', '', 'kind and name of the data set; empty: class folders or tars'),
    flag('--train-split', 'str', 'train', 'name of the training split'),
    flag('--val-split', 'str', 'validation', 'name of the validation split; empty: none'),
    flag('--train-num-samples', 'int', None, 'images for training, for data that is streamed'),
    flag('--val-num-samples', 'int', None, 'images for validation, for data that is streamed'),
    flag('--dataset-download', 'switch', False, 'let torch/ and tfds/ data sets be downloaded'),
    flag('--class-map', 'str', '', 'file that maps class names to numbers', metavar='FILE'),
    flag('--input-img-mode', 'str', None, "the images' PIL mode, such as RGB or L"),
    flag('--input-key', 'str', None, "the image's key in a sample"),
    flag('--target-key', 'str', None, "the label's key in a sample"),
    flag('--dataset-trust-remote-code', 'switch', False, 'let hfds/ data sets run their own code'),
)

MODEL = (
    flag('--model', 'str', 'resnet50', 'name of the model'),
    flag('--pretrained', 'switch', False, "start from the model's published weights"),
    flag('--pretrained-path', 'str', None, 'take the pretrained weights from this file',
         metavar='FILE'),
    flag('--initial-checkpoint', 'str', '', 'weights to load into the built model', metavar='FILE'),
    flag('--resume', 'str', '', 'checkpoint from which to go on, optimizer and epoch included',
         metavar='FILE'),
    flag('--no-resume-opt', 'switch', False, 'resume without the state of the optimizer'),
    flag('--num-classes', 'int', None, "number of classes; unset: the model's"),
    flag('--gp', 'str', None, "pooling: fast, avg, max, avgmax, avgmaxc; unset: the model's"),
    flag('--img-size', 'int', None, "side of the images in pixels; unset: the model's"),
    flag('--in-chans', 'int', None, 'channels of the images; unset: 3'),
    flag('--input-size', 'int', None, 'channels, height and width of the images', nargs=3),
    flag('--crop-pct', 'float', None, 'share of the image that the validation crop keeps'),
    flag('--mean', 'float', None, "mean per channel, of 0..1; unset: the model's", nargs='+'),
    flag('--std', 'float', None, "deviation per channel, of 0..1; unset: the model's", nargs='+'),
    flag('--interpolation', 'str', '', "how images are resized; empty: the model's way"),
    flag('-b --batch-size', 'int', 128, 'images per training batch and process'),
    flag('-vb --validation-batch-size', 'int', None, 'images per validation batch; unset: as -b'),
    flag('--channels-last', 'switch', False, 'keep tensors in channels_last memory format'),
    flag('--fuser', 'str', '', 'fuser of torch.jit: te, old or nvfuser'),
    flag('--grad-accum-steps', 'int', 1, 'batches whose gradients make one update'),
    flag('--grad-checkpointing', 'switch', False, 'recompute activations in the backward pass'),
    flag('--fast-norm', 'switch', False, 'norms in low precision where timm has them'),
    flag('--model-kwargs', 'kwargs', {}, 'KEY=VALUE settings for the model', nargs='*'),
    flag('--head-init-scale', 'float', None, "factor on the classifier's first weights"),
    flag('--head-init-bias', 'float', None, "first value of the classifier's bias"),
    flag('--torchcompile-mode', 'str', None, 'mode of torch.compile'),
    flag('--torchscript', 'switch', False, 'script the model with torch.jit', exclusive='codegen'),
    flag('--torchcompile', 'str', None, 'compile the model with this backend', nargs='?',
         const='inductor', exclusive='codegen'),
)

DEVICE = (
    flag('--device', 'str', 'cuda', 'device to train on'),
    flag('--amp', 'switch', False, 'mixed precision'),
    flag('--amp-dtype', 'str', 'float16', 'low precision of --amp: float16 or bfloat16'),
    flag('--model-dtype', 'str', None, 'precision of the weights, without --amp'),
    flag('--no-ddp-bb', 'switch', False, 'no broadcast of buffers between processes'),
    flag('--synchronize-step', 'switch', False, 'wait for the device after every step'),
    flag('--local_rank', 'int', 0, 'set by launchers; the environment decides'),
)

OPTIMIZER = (
    flag('--opt', 'str', 'sgd', 'name of the optimizer'),
    flag('--opt-eps', 'float', None, "the optimizer's epsilon; unset: its own"),
    flag('--opt-betas', 'float', None, "the optimizer's betas; unset: its own", nargs='+'),
    flag('--momentum', 'float', 0.9, "the optimizer's momentum"),
    flag('--weight-decay', 'float', 2e-5, 'weight decay'),
    flag('--clip-grad', 'float', None, 'bound of the gradients; unset: none'),
    flag('--clip-mode', 'str', 'norm', 'what --clip-grad bounds: norm, value or agc'),
    flag('--layer-decay', 'float', None, 'factor on the LR from layer to layer, head to stem'),
    flag('--layer-decay-min-scale', 'float', 0, 'lower bound of the factor of --layer-decay'),
    flag('--layer-decay-no-opt-scale', 'float', None, 'layers with a smaller factor are frozen'),
    flag('--opt-kwargs', 'kwargs', {}, 'KEY=VALUE settings for the optimizer', nargs='*'),
)

SCHEDULE = (
    flag('--sched', 'str', 'cosine', 'LR schedule: cosine, tanh, step, multistep, poly, ...'),
    flag('--sched-on-updates', 'switch', False, 'move the LR with every update, not every epoch'),
    flag('--lr', 'float', None, 'learning rate; unset: from --lr-base and the batch size'),
    flag('--lr-base', 'float', 0.1, 'learning rate for a batch of --lr-base-size images'),
    flag('--lr-base-size', 'int', 256, 'global batch size to which --lr-base belongs'),
    flag('--lr-base-scale', 'str', '', 'growth with the batch: linear, sqrt; empty: by optimizer'),
    flag('--lr-noise', 'float', None, 'shares of the run between which the LR is noisy', nargs='+'),
    flag('--lr-noise-pct', 'float', 0.67, 'bound of the noise, relative to the LR'),
    flag('--lr-noise-std', 'float', 1.0, 'deviation of the noise'),
    flag('--lr-cycle-mul', 'float', 1.0, 'growth of the cycles from one to the next'),
    flag('--lr-cycle-decay', 'float', 0.5, 'factor on the LR from cycle to cycle'),
    flag('--lr-cycle-limit', 'int', 1, 'number of cycles'),
    flag('--lr-k-decay', 'float', 1.0, 'exponent k on the progress, for cosine and poly'),
    flag('--warmup-lr', 'float', 1e-5, 'LR at the start of the warm-up'),
    flag('--min-lr', 'float', 0, 'LR at the end of the schedule'),
    flag('--epochs', 'int', 300, 'epochs of the schedule'),
    flag('--epoch-repeats', 'float', 0.0, 'times the data is gone through in one epoch'),
    flag('--start-epoch', 'int', None, 'epoch to start with'),
    flag('--decay-milestones', 'int', [90, 180, 270], 'epochs of the decays of multistep',
         nargs='+'),
    flag('--decay-epochs', 'float', 90, 'epochs between two decays of step'),
    flag('--warmup-epochs', 'int', 5, 'epochs of warm-up'),
    flag('--warmup-prefix', 'switch', False, 'the warm-up comes before --epochs, not out of them'),
    flag('--cooldown-epochs', 'int', 0, 'epochs at the smallest LR after the schedule'),
    flag('--patience-epochs', 'int', 10, 'epochs without gain before plateau decays'),
    flag('--decay-rate --dr', 'float', 0.1, 'factor of a decay; for poly the power'),
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
    flag('--trick-options', 'str', [], "tricks' parameters, such as mixup.alpha=0.4",
         nargs='+', metavar='KEY=VALUE'),
    flag('--plan', 'switch', False, 'print what each trick sets, and stop'),
    flag('--json', 'switch', False, 'with --plan: as JSON'),
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
    'kd_model_name': None,
    'kd_distill_type': 'logit',
    'kd_loss_type': 'kl',
    'distill_loss_weight': None,
    'task_loss_weight': None,
    'kd_temperature': 4.0,
    'kd_student_feature_dim': None,
    'kd_teacher_feature_dim': None,
    'kd_token_distill_type': 'soft',
    'device_modules': None,
    'amp_impl': 'native',
}
