"""Mixup in mmpretrain's classifiers: its own batch augment, and a hook that ends it."""

from __future__ import annotations

from typing import Any

from ...mm.classification import (
    Augments,
    augments,
    loss_of,
    num_classes,
    preprocessor,
    switches,
    switching_hook,
)
from ...mm.config_edit import append_hook, default_scope, find, is_a, type_name, walk
from ...mm.ending import Ending
from ...plan import Verdict

__all__ = ['edit']

_ALPHA = 0.2  # arXiv 1812.01187 section 5.4, arXiv 1710.09412 section 3.1
_HOOK = 'BatchMixUpHook'
_KNOWN = ('Mixup', 'CutMix', 'ResizeMix')
_LOSSES = {'SeesawLoss': 'counts hard labels', 'RegressionLoss': 'has numbers as targets'}


def edit(cfg: dict[str, Any], params: Any) -> Verdict:
    """Edits the config of a classifier; see `Trick.apply`.

    Args:
        cfg: A plain config whose model is a classifier.
        params: `MixUpParams`.
    """
    now = augments(cfg)
    if isinstance(now, str):
        return Verdict.not_applicable(f'{now}, and stays as it is')
    hooks = [hook for _, hook in find(cfg.get('custom_hooks'), _HOOK, scope=default_scope(cfg))]
    alpha = _ALPHA if params.alpha is None else params.alpha
    ours = now is not None and now == _augments(now, alpha, params.prob)
    ends = _off(params) == (_hook_off(hooks) or (0.0, None))
    if now is not None and (not params.replace or ours and ends):
        verdict = _present(cfg, now, hooks, ours)
        if verdict.status != 'present' or ends or not any(_off(params)):
            return verdict
        return _ended(cfg, verdict, params, hooks)
    reason = _obstacle(cfg)
    if reason:
        return Verdict.not_applicable(reason)
    notes = _install(cfg, now, alpha, params) + _end(cfg, params, hooks)
    fraction, epochs = _off(params)
    switch = switching_hook(cfg, 'batch_augments')
    ended = any(not what for *_, what in switches(cfg, 'batch_augments'))
    if ended and not (hooks or fraction or epochs):
        # Afterwards the preprocessor makes scores of whole numbers, which most losses refuse.
        append_hook(cfg, dict(type=f'tricks_plugin.{_HOOK}'))
    if switch is not None:
        what = 'other batch augments in its place' if switch[2] else 'an end to it'
        notes.append(f'{switch[0]} is SwitchRecipeHook, which puts {what} from epoch {switch[1]}, '
                     'counted from 0')
    promise = {'scores': True, 'alpha': alpha, 'prob': params.prob, 'off_fraction': fraction,
               'off_epochs': epochs, 'off_from': _first(switch)}
    return Verdict('applied', '; '.join(notes), _measurable(promise, switch))


def _ended(cfg: dict[str, Any], verdict: Verdict, params: Any,
           hooks: list[dict[str, Any]]) -> Verdict:
    """The config's own mixup stays, and ends when it was asked to."""
    words = _end(cfg, params, hooks)
    fraction, epochs = _off(params)
    return Verdict('applied', '; '.join([verdict.reason, *words]), verdict.promise and {
        **verdict.promise, 'off_fraction': fraction, 'off_epochs': epochs})


def _off(params: Any) -> tuple[float, int | None]:
    return params.off_fraction or 0.0, params.off_epochs


def _hook_off(hooks: list[dict[str, Any]]) -> tuple[float, int | None] | None:
    return (hooks[0].get('off_fraction', 0.0), hooks[0].get('off_epochs')) if hooks else None


def _augments(now: Augments, alpha: float, prob: float) -> Augments:
    """The same place with this trick's augment alone."""
    item = now.items[0] if len(now.items) == 1 and type_name(now.items[0]) == 'Mixup' else {}
    return Augments(now.path, now.owner, now.key,
                    ({'type': item.get('type', 'Mixup'), 'alpha': float(alpha)},), (prob,))


def _first(switch: tuple[str, int, Any] | None) -> int | None:
    return None if switch is None else switch[1]


def _measurable(promise: dict[str, Any], switch: tuple[str, int, Any] | None,
                ) -> dict[str, Any] | None:
    """A promise, but where a hook puts other augments in, which mix in their own way."""
    return None if switch is not None and switch[2] else promise


def _present(cfg: dict[str, Any], now: Augments, hooks: list[dict[str, Any]],
             ours: bool) -> Verdict:
    """The verdict on batch augments that are there; ours are as this trick would write them."""
    kinds = [type_name(item) for item in now.items]
    listed = ' or '.join(kinds)
    unknown = next((kind for kind in kinds if kind not in _KNOWN), '')
    if 'Mixup' not in kinds:
        also = f' ({unknown} is not an augment that this trick knows)' if unknown else ''
        return Verdict.not_applicable(
            f'{now.path} is {listed}, and each batch takes one of its augments{also}; '
            'mixup.replace=True would put mixup in its place')
    alpha = now.items[kinds.index('Mixup')].get('alpha')
    words = f'{now.path} is {listed}, with alpha {alpha}'
    if len(kinds) > 1:
        words += f' for Mixup, drawn for {now.probs[kinds.index("Mixup")]:.0%} of the batches'
    promise = None
    if not unknown and isinstance(alpha, (int, float)):
        fraction, epochs = _hook_off(hooks) or (0.0, None)
        switch = switching_hook(cfg, 'batch_augments')
        cutmix = next((float(item.get('alpha', 1.0)) for item in now.items
                       if type_name(item) in _KNOWN[1:]), 0.0)
        promise = _measurable({
            'scores': True, 'alpha': float(alpha), 'prob': sum(now.probs), 'cutmix': cutmix,
            'off_fraction': fraction, 'off_epochs': epochs, 'off_from': _first(switch)}, switch)
    rest = '' if ours else '; mixup.replace=True would put this trick in its place'
    return Verdict.present(words + rest, promise)


def _obstacle(cfg: dict[str, Any]) -> str:
    """Why the batches of a classifier cannot be mixed, or an empty string."""
    model, scope, found = cfg['model'], default_scope(cfg), preprocessor(cfg)
    if found is not None and found.node.get('type') and \
            not is_a(found.node, 'ClsDataPreprocessor', scope=scope):
        return (f'{found.path} is {type_name(found.node)}, which is no ClsDataPreprocessor with '
                'batch augments')
    if num_classes(cfg) is None:
        return ('neither the head nor the data_preprocessor says num_classes, which mixed labels '
                'need')
    for path, node in walk(model, 'model'):
        if is_a(node, 'MultiTaskHead', scope=scope):
            return f'{path} is MultiTaskHead, whose labels are no scores that could be mixed'
        loss = type_name(loss_of(node, scope) or '') if type_name(node) else ''
        if loss in _LOSSES:
            return f'{path}.loss is {loss}, which {_LOSSES[loss]} and has no use for shares'
    if is_a(model.get('head'), 'ArcFaceClsHead', scope=scope):
        return ('model.head is ArcFaceClsHead, whose margin belongs to one class, and a mixture '
                'has two')
    return ''


def _install(cfg: dict[str, Any], now: Augments | None, alpha: float, params: Any) -> list[str]:
    """Puts the augment in, and what it needs; returns what the plan says of it."""
    model, found = cfg['model'], preprocessor(cfg)
    owner, key, path = (now.owner, now.key, now.path) if now else (model, 'train_cfg',
                                                                   'model.train_cfg')
    held = {'augments': [{'type': 'Mixup', 'alpha': float(alpha)}]}
    if params.prob != 1:
        held['probs'] = [params.prob]
    owner[key] = {**(owner[key] if now is None and isinstance(owner.get(key), dict) else {}),
                  **held}
    notes = [f'{path} mixes each batch with itself, alpha {alpha:g}' if params.prob == 1 else
             f'{path} mixes {params.prob:.0%} of the batches, alpha {alpha:g}']
    if now is not None:
        notes[0] += f', in the place of {" and ".join(type_name(one) for one in now.items)}'
    if now is None and found is not None and found.node.get('batch_augments', 0) is None:
        del found.node['batch_augments']  # which would stand before train_cfg
    if found is None:
        model['data_preprocessor'] = {'num_classes': num_classes(cfg)}
    elif found.node.get('num_classes') != num_classes(cfg):
        if found.node.get('num_classes'):  # without a mixture nothing reads it
            notes.append(f'{found.path}.num_classes was {found.node["num_classes"]}, and is the '
                         f"head's {num_classes(cfg)}")
        found.node['num_classes'] = num_classes(cfg)
    for where, node in walk(model, 'model'):
        if node.get('cal_acc') is True:
            node['cal_acc'] = False
            notes.append(f'{where}.cal_acc is off, as a mixture has no one right class')
    return notes


def _end(cfg: dict[str, Any], params: Any, hooks: list[dict[str, Any]]) -> list[str]:
    """Puts the hook in that ends the mixing, where it is to end; returns what the plan says."""
    fraction, epochs = _off(params)
    for hook in hooks:
        hook.update(off_fraction=fraction, off_epochs=epochs)
    if not hooks and (fraction or epochs):
        append_hook(cfg, dict(type=f'tricks_plugin.{_HOOK}', off_fraction=fraction,
                              off_epochs=epochs))
    ending = Ending.of(cfg, params, 'tricks.mixup', 0.0)
    return [str(ending)] if fraction or epochs else []
