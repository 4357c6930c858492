"""The config edit that adds a teacher."""

from __future__ import annotations

from typing import Any

from ...mm.classification import classifier, loss_of, num_classes, preprocessor
from ...mm.config_edit import (
    append_hook,
    default_scope,
    find,
    is_a,
    not_seen,
    optim_wrappers,
    run_length,
    type_name,
)
from ...mm.ending import Ending
from ...mm.libraries import installed
from ...mm.meta import built_on_meta
from ...plan import ConfigEdit, TrickError, Verdict
from .survey import Survey, survey
from .teacher import PATH, build, check_file, fit, model_of, read_config, read_weights

__all__ = ['Edit']

_HOOK = 'DistillationHook'
_FEATURES, _SCORES = 6.0, 1.0  # weights: PKD's for Faster R-CNN, BoT's
_OFF = 0.1
_DETECTORS = ('BaseDetector',)
_OWN_TEACHERS = ('SemiBaseDetector', 'KnowledgeDistillationSingleStageDetector', 'LAD')
_PREPROCESSORS = ('ImgDataPreprocessor', 'ClsDataPreprocessor')
# Heads whose scores are no table of images and classes.
_HEADS = ('MultiTaskHead', 'ConformerHead', 'ArcFaceClsHead', 'RegressionHead',
          'LinearRegressionHead')
# Their labels hold together, and a softmax over them would have them compete.
_MULTI_LABEL = ('MultiLabelClsHead', 'MultiLabelLinearClsHead', 'CSRAClsHead')


class Edit(ConfigEdit):
    """Adds `DistillationHook`."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Adds the hook, once the teacher fits the student.

        Raises:
            TrickError: If the teacher cannot be read, built or loaded, or does not fit.
        """
        scope = default_scope(cfg)
        for path, node in find(cfg.get('custom_hooks'), _HOOK, path='custom_hooks', scope=scope):
            return Verdict.present(f'{path} is {_HOOK}', {
                key: node[key] for key in ('off_fraction', 'off_epochs') if key in node})
        params = self.params
        reason = _obstacle(cfg, scope) or ('' if params.teacher else (
            f'no teacher is named: {PATH}.teacher is its config, {PATH}.checkpoint its weights'))
        if reason:
            return Verdict.not_applicable(reason)
        scores = classifier(cfg) is not None
        ending = Ending.of(cfg, params, PATH, 0.0 if scores else _OFF, follow=False)
        facts = _fitting(cfg, params, scores)
        weight = params.weight or (_SCORES if scores else _FEATURES)
        hook = dict(type=f'tricks_plugin.{_HOOK}', teacher=params.teacher,
                    checkpoint=params.checkpoint, scores=scores, weight=weight,
                    off_fraction=ending.fraction)
        if scores:
            hook['temperature'] = params.temperature
        if params.off_epochs is not None:
            hook['off_epochs'] = params.off_epochs
        append_hook(cfg, hook)
        end = [str(ending)] if ending.fraction or ending.epochs else []
        return Verdict.applied('; '.join([_what(hook), *facts, *end]), **ending.settings)


def _obstacle(cfg: dict[str, Any], scope: str) -> str:
    """Why a config's model cannot have a teacher, or an empty string."""
    model = cfg.get('model')
    wrappers = optim_wrappers(cfg)
    if not isinstance(model, dict) or not type_name(model) or not wrappers or \
            run_length(cfg) is None:
        return 'the config does not train'
    kind = type_name(model)
    if len(wrappers) > 1:
        return f'{kind} has {len(wrappers)} optimizers, and so a training step of its own'
    if cfg.get('compile'):
        return 'compile is set, and a compiled training step does not call what a teacher hangs on'
    if classifier(cfg) is not None:
        head = model.get('head')
        if is_a(model, 'HuggingFaceClassifier', scope=scope):
            return 'HuggingFaceClassifier has its scores inside an output of its own kind'
        if isinstance(head, dict) and is_a(head, *_HEADS, scope=scope):
            return f'model.head is {type_name(head)}, whose outputs are no plain class scores'
        if isinstance(head, dict) and is_a(head, *_MULTI_LABEL, scope=scope):
            return (f'model.head is {type_name(head)}, whose labels hold together, where the '
                    'softmax over class scores has them compete')
        for path, owner in (('model.head', head), ('model', model)):
            loss = loss_of(owner, scope) if isinstance(owner, dict) else None
            if loss is not None and type_name(loss) == 'RegressionLoss':
                return f'{path}.loss is RegressionLoss, so that the outputs are no class scores'
        return '' if installed(scope) else (
            f'{scope} is not installed here, so that no teacher of it can be built')
    if is_a(model, *_OWN_TEACHERS, scope=scope):
        return f'{kind} has a teacher of its own'
    if not is_a(model, *_DETECTORS, scope=scope):
        unseen = not_seen(model, scope)
        return f'{kind} is no detector of mmdet and no classifier of mmpretrain{unseen}' if not \
            unseen else f'whether {kind} is a detector is not known{unseen}'
    if not isinstance(model.get('neck'), (dict, list, tuple)):
        return f'{kind} has no neck here, whose features a teacher could show'
    return ''


def _fitting(cfg: dict[str, Any], params: Any, scores: bool) -> list[str]:
    """Compares teacher and student; what the plan says of both.

    Raises:
        TrickError: If they do not fit each other.
    """
    local = check_file(params.checkpoint)
    teacher = read_config(params.teacher)
    scope, theirs = default_scope(cfg), default_scope(teacher)
    if scope != theirs:
        raise TrickError(f"{PATH}.teacher must be of the student's library, {scope}, got "
                         f'{params.teacher!r} of {theirs}')
    if scores and classifier(teacher) is None:
        raise TrickError(f'{PATH}.teacher must be a classifier as the student is, got '
                         f'{params.teacher!r} with {type_name(teacher["model"])}')
    if not scores and not teacher['model'].get('neck'):
        raise TrickError(f'{PATH}.teacher must be a detector with a neck, got '
                         f'{params.teacher!r} with {type_name(teacher["model"])}')
    _same_pixels(cfg, teacher, params.teacher)
    section = model_of(teacher)
    model = built_on_meta(section, scope)
    if model is None:  # it may need real memory, or be wrong: the attempt tells
        model = build(teacher, params.teacher)
    if local:
        fit(model, read_weights(params.checkpoint), params.checkpoint)
    words = [] if local else [f'{params.checkpoint} is not looked into before the run']
    mine, his = (survey(one, scope, not scores) for one in (model_of(cfg), section))
    if scores:
        _same_classes(cfg, teacher, mine, his)
    if mine is None or his is None:
        return [*words, f'{"the scores" if scores else "the levels"} and multiply-adds of '
                        f'{"the student" if mine is None else "the teacher"} are not known '
                        'before the run']
    return [*words, *_levels(mine, his, params.teacher), _cost(mine, his, scores)]


def _same_pixels(cfg: dict[str, Any], teacher: dict[str, Any], name: str) -> None:
    """Raises TrickError for preprocessors that differ, one of a normalisation that is not known."""
    mine, his = preprocessor(cfg), preprocessor(teacher)
    if mine is not None and his is not None and mine.node == his.node:
        return
    for found, whose in ((his, f'{name!r}'), (mine, 'a student')):
        if found is not None and found.node.get('type') and not is_a(
                found.node, *_PREPROCESSORS, scope=default_scope(teacher)):
            raise TrickError(
                f'{PATH}.teacher must have a data_preprocessor whose normalisation is known '
                f"({' or '.join(_PREPROCESSORS)}), or the student's very own, got {whose} with "
                f'{type_name(found.node)}')


def _same_classes(cfg: dict[str, Any], teacher: dict[str, Any], mine: Survey | None,
                  his: Survey | None) -> None:
    counts = [found.widths[0] if found is not None else num_classes(one)
              for one, found in ((cfg, mine), (teacher, his))]
    if None not in counts and counts[0] != counts[1]:
        raise TrickError(f'{PATH}.teacher must have the {counts[0]} classes of the student, got '
                         f'{counts[1]}')


def _levels(mine: Survey, his: Survey, name: str) -> list[str]:
    """What the plan says of levels and adapters; raises TrickError where they differ."""
    if not mine.strides:
        return []
    if mine.strides != his.strides:
        raise TrickError(
            f"{PATH}.teacher must have the student's {len(mine.strides)} levels of strides "
            f'{_listed(mine.strides)}, got {name!r} with strides {_listed(his.strides)}')
    words = f'{len(mine.strides)} levels of strides {_listed(mine.strides)}'
    pairs = [f'{one} to {other}' for one, other in zip(mine.widths, his.widths, strict=True)
             if one != other]
    return [f'{words}, with adapters from {", ".join(dict.fromkeys(pairs))} channels'
            if pairs else words]


def _cost(mine: Survey, his: Survey, scores: bool) -> str:
    """The teacher's work beside the student's; only the student's goes backward."""
    part = '' if scores else ' (backbone and neck)'
    return (f'the teacher adds {_giga(his)} multiply-adds forward to the {_giga(mine)} of the '
            f'student{part}, for an image of {mine.size} x {mine.size} px')


def _giga(found: Survey) -> str:
    return f'{found.multiply_adds / 1e9:.3g} G'


def _listed(values: tuple[int, ...]) -> str:
    return ', '.join(map(str, values))


def _what(hook: dict[str, Any]) -> str:
    if hook['scores']:
        return (f'class scores at temperature {hook["temperature"]:g} of {hook["teacher"]}, '
                f'weight {hook["weight"]:g}')
    return f'the neck of {hook["teacher"]}, weight {hook["weight"]:g} for each level'
