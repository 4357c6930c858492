"""Builds what a training builds before its first step, for every config of the zoo with the bag on.

The data set is a stub of a few small images and the model a stand-in of some layers; the rest is
the config's: transforms, samplers, the preprocessor with its batch augmentations, the train loop,
the optimizer wrapper, the schedulers and the hooks, built by the methods of mmengine's own Runner.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zoo_data
import zoo_kit
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader
from zoo_stage import without_amp
from zoo_train import one_line

from tricks_plugin import apply_tricks
from tricks_plugin.mm.config_edit import (
    default_scope,
    get,
    is_a,
    plain,
    train_pipelines,
    type_name,
    walk,
)

# Whose annotation files `zoo_data` writes; LVIS's needs a package of its own.
SERVED = ('CocoDataset', 'CrowdHumanDataset')
UNSERVED = ('LVISV05Dataset', 'LVISV1Dataset', 'MOTChallengeDataset', 'CocoPanopticDataset',
            'BaseVideoDataset', 'V3DetDataset')
EPOCH = 1000  # iterations: the stub's own few would leave no room for a warm-up


class StandIn(nn.Module):
    """A model of a few layers: convolutions with biases, norms, a bare parameter, an embedding.

    Args:
        backbone: The class that the backbone is named after, as some constructors look at it.
    """

    def __init__(self, backbone: str = '') -> None:
        super().__init__()
        kind = type(backbone or 'Backbone', (nn.Sequential,), {})
        self.backbone = kind(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
        self.neck = nn.Sequential(nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4))
        self.bbox_head = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
        self.query_embed = nn.Embedding(2, 4)
        self.level_embed = nn.Parameter(nn.init.zeros_(nn.Embedding(2, 4).weight.data.clone()))


class LongLoader:
    """A loader that says that it has an epoch of the usual length."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return EPOCH


class Parts(Runner):
    """The building methods of mmengine's Runner, without a Runner's own set-up.

    Args:
        cfg: A config made for it by `stubbed`.
    """

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        self.model = StandIn(type_name(get(plain(cfg), 'model.backbone')))
        self.logger = logging.getLogger('zoo')
        self.visualizer = types.SimpleNamespace(dataset_meta=None)
        self.auto_scale_lr = cfg.get('auto_scale_lr')
        self.param_schedulers = None
        self.optim_wrapper: Any = None
        self._hooks: list[Any] = []
        self._train_loop = cfg.get('train_cfg')
        self._train_dataloader: Any = None
        self._val_loop = self._test_loop = None
        self._seed, self._rank, self._world_size = 0, 0, 1
        self._randomness_cfg: dict[str, Any] = {}

    def pipelines(self) -> None:
        """Every transform of every training pipeline."""
        for one in train_pipelines(plain(self.cfg)):
            Compose(one.steps)

    def dataloader(self) -> None:
        """The data set through all its wrappers, with samplers and collate."""
        self._train_dataloader = DataLoader([0])  # for the loop and the schedules, if this fails
        self._train_dataloader = self.build_dataloader(self.cfg.train_dataloader, seed=0)

    def samples(self) -> None:
        """Two samples: a transform that mixes has a partner for the second."""
        if self.cfg.get('zoo_frames'):  # the stub has no sequences for its transforms
            return
        dataset = self._train_dataloader.dataset
        for index in (0, 1):
            dataset[index]

    def preprocessor(self) -> None:
        """The preprocessor and the augmentations of batches in it."""
        if (own := get(plain(self.cfg), 'model.data_preprocessor')) is not None:
            MODELS.build(own)

    def loop(self) -> None:
        """The loop that trains."""
        own, self._train_dataloader = self._train_dataloader, LongLoader(self._train_dataloader)
        self._train_loop = self.build_train_loop(self._train_loop)
        self._train_dataloader = own

    def wrapper(self) -> None:
        """The optimizer wrapper by its constructor, and mmengine's own scaling of the rate."""
        self.optim_wrapper = self.build_optim_wrapper(self.cfg.optim_wrapper)
        self.scale_lr(self.optim_wrapper, self.auto_scale_lr)

    def schedulers(self) -> None:
        """The schedulers, in iterations where they convert themselves."""
        self.param_schedulers = self.build_param_scheduler(self.cfg.param_scheduler)

    def hooks_(self) -> None:
        """The default and the custom hooks."""
        self.register_hooks(self.cfg.get('default_hooks'), self.cfg.get('custom_hooks'))


def stubbed(cfg: Config, data: zoo_data.Folder) -> Config:
    """A config whose training data are the stub's, without workers and without 16 bits.

    A data set of another kind than the stub serves becomes one of COCO's kind with its classes.
    mmengine's AmpOptimWrapper refuses to be built without an accelerator.
    """
    tree = plain(cfg)
    scope = default_scope(tree)
    for _, node in walk(tree.get('train_dataloader'), 'train_dataloader'):
        if 'type' in node and 'ann_file' in node and (
                not is_a(node, *SERVED, scope=scope) or is_a(node, *UNSERVED, scope=scope)):
            if is_a(node, 'BaseVideoDataset', 'ReIDDataset', scope=scope):
                tree['zoo_frames'] = True
            classes = zoo_data.classes_of(node)
            pipeline = node.get('pipeline', [])
            node.clear()
            node.update(type='CocoDataset', ann_file='', metainfo=dict(classes=tuple(classes)),
                        data_prefix=dict(img=''), pipeline=pipeline)
    data.serve(tree)
    loader = tree.get('train_dataloader') or {}
    if type_name(loader.get('sampler')) == 'TrackImgSampler':  # wants sequences of frames
        loader['sampler'] = dict(type='DefaultSampler')
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop('prefetch_factor', None)
    without_amp(tree)
    return Config(tree, format_python_code=False)


def build(cfg: Config, data: zoo_data.Folder) -> dict[str, str]:
    """Builds all parts of a config.

    Args:
        cfg: A config; it is not changed.
        data: The stub.

    Returns:
        The error of each part that cannot be built, by the part's name.
    """
    scope = default_scope(plain(cfg))
    init_default_scope(scope)
    methods: dict[str, Callable[[], None]] = {}
    if scope == 'mmpretrain':
        import zoo_classes
        parts: Any = zoo_classes.ClassParts(zoo_classes.stubbed(cfg, data.root))
        methods = dict(model=parts.whole)
    else:
        parts = Parts(stubbed(cfg, data))
    methods |= dict(
        pipelines=parts.pipelines, dataloader=parts.dataloader, samples=parts.samples,
        preprocessor=parts.preprocessor, loop=parts.loop, optim_wrapper=parts.wrapper,
        schedulers=parts.schedulers, hooks=parts.hooks_)
    needs = dict(dataloader='train_dataloader', samples='train_dataloader', loop='train_cfg',
                 optim_wrapper='optim_wrapper', schedulers='param_scheduler')
    errors: dict[str, str] = {}
    for name in methods:
        if name in needs and not parts.cfg.get(needs[name]):
            continue
        if name == 'samples' and 'dataloader' in errors or \
                name == 'schedulers' and {'loop', 'optim_wrapper'} & errors.keys():
            continue  # what it is built from has failed
        try:
            methods[name]()
        except Exception as error:  # the finding
            errors[name] = one_line(error)
    return errors


def build_all(
    configs: dict[str, Path], out: Path, wish: Callable[[Config], Any], jobs: int = 1,
) -> dict[str, dict[str, Any]]:
    """Builds every config that has no result yet, in several processes.

    Args:
        configs: As `zoo_kit.sources` gives them.
        out: The folder of the results, one line a config; what is there is not built again.
        wish: The tricks for a config; None takes the config's own.
        jobs: Processes.

    Returns:
        By config: ``failed``, the errors by part with the tricks only, and ``upstream``, those
        that come without tricks too.
    """
    out.mkdir(parents=True, exist_ok=True)
    known = _results(out)
    waiting = [(name, path) for name, path in configs.items() if name not in known]
    fork = multiprocessing.get_context('fork')
    processes = [fork.Process(target=_share, args=(waiting[job::jobs], out, job, wish))
                 for job in range(jobs)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if codes := [process.exitcode for process in processes if process.exitcode]:
        raise RuntimeError(f'{len(codes)} of {jobs} processes ended with status {codes[0]}; '
                           'what they have built is kept')
    found = _results(out)
    return {name: found[name] for name in configs if 'unloadable' not in found[name]}


def _results(out: Path) -> dict[str, dict[str, Any]]:
    """What a folder holds already; a line that a killed process has cut short is left out."""
    found = {}
    for file in sorted(out.glob('build-*.jsonl')):
        for line in file.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.update(json.loads(line))
    return found


def _share(configs: list[tuple[str, Path]], out: Path, job: int,
           wish: Callable[[Config], Any]) -> None:
    """Builds one process's share."""
    with (out / f'build-{job}.jsonl').open('a') as file, (out / f'data-{job}.log').open('w') as log:
        for name, path in configs:
            with contextlib.redirect_stdout(log):
                row = _row(zoo_kit.load(path), out / f'data-{job}', wish)
            file.write('\n' + json.dumps({name: row}))
            file.flush()
            if row.get('failed'):
                print(f"FAILED {name}: {row['failed']}", flush=True)


def _row(cfg: Config | None, folder: Path, wish: Callable[[Config], Any]) -> dict[str, Any]:
    """The result of one config."""
    if cfg is None:
        return dict(unloadable=True)
    try:
        effective, _ = apply_tricks(cfg, wish(cfg))
        ours, upstream = compare(cfg, effective, folder)
    except Exception as error:  # the finding
        return dict(failed={'apply_tricks': one_line(error)}, upstream={})
    return dict(failed=ours, upstream=upstream)


def compare(cfg: Config, effective: Config, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What cannot be built with the tricks only, and what upstream cannot build either.

    Args:
        cfg: The config as it is.
        effective: The same with the tricks.
        folder: Where the stub lies, or is written.

    Returns:
        ``(ours, upstream's)``: errors by the part's name.
    """
    if not Visualizer.check_instance_created('zoo'):  # a hook asks for the current one
        Visualizer.get_instance('zoo')
        MMLogger.get_current_instance().setLevel('ERROR')
    data = zoo_data.Folder(folder)
    with_tricks = build(effective, data)
    if not with_tricks:
        return {}, {}
    without = build(cfg, data)
    return ({name: error for name, error in with_tricks.items() if name not in without},
            {name: error for name, error in without.items() if name in with_tricks})
