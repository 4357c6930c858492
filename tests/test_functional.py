"""The flat namespace: its list, its examples, its old names, and the loop in the docs."""

from __future__ import annotations

import doctest
import importlib
import pickle
import re
import types
import warnings

import numpy as np
import pytest
import torch

import tricks_plugin.functional as T

FUNCTIONS = [name for name in T.__all__ if isinstance(getattr(T, name), types.FunctionType)]
FUNCTIONS.append('WeightAverage')


def test_the_namespace_is_the_list():
    assert sorted(T.__all__) == dir(T) and {'mixup_batch', 'WeightAverage'} < set(T.__all__)


def test_what_the_rooms_call_public_is_in_the_namespace(root):
    for path in sorted((root / 'tricks_plugin' / 'tricks').glob('*/functional.py')):
        room = importlib.import_module(f'tricks_plugin.tricks.{path.parent.name}.functional')
        for name in room.__all__:
            assert getattr(T, name) is getattr(room, name), (path.parent.name, name)


@pytest.mark.parametrize('name', FUNCTIONS)
def test_every_function_has_an_example_that_runs(name):
    known = {**{other: getattr(T, other) for other in T.__all__}, 'np': np, 'torch': torch}
    tests = doctest.DocTestFinder(recurse=False).find(getattr(T, name), name, globs=known)
    examples = [test for test in tests if test.examples]
    assert examples, f'{name} has no example'
    output: list[str] = []
    runner = doctest.DocTestRunner()
    with warnings.catch_warnings():
        warnings.simplefilter('error', DeprecationWarning)
        for test in examples:
            runner.run(test, out=output.append)
    assert runner.failures == 0, ''.join(output)


@pytest.mark.parametrize(('old', 'new'), [
    ('targets', 'smoothing_targets'), ('MIN_SIZE', 'MIN_TRAINING_SIZE'),
    ('VARIANTS', 'SMOOTHING_VARIANTS'), ('Variant', 'SmoothingVariant'),
    ('default_variant', 'default_smoothing_variant'), ('fixed_size', 'fixed_pipeline_size'),
])
def test_an_old_name_works_and_its_warning_names_the_new_one(old, new):
    with pytest.warns(DeprecationWarning, match=rf'functional\.{old} is called {new} now'):
        assert getattr(T, old) is getattr(T, new)


def test_the_old_softmax_loss_still_gives_a_loss_per_row():
    with pytest.warns(DeprecationWarning, match='smoothed_cross_entropy'):
        old = T.smoothed_softmax_cross_entropy
    # log Z - 0.9 * 2 - (0.1 / 3) * (1 + 0 - 1), log Z = 2.4401897
    rows = old(torch.tensor([[2.0, 1.0, 0.0, -1.0]] * 2), torch.tensor([0, -100]))
    assert rows.tolist() == pytest.approx([0.6401897, 0.0], abs=1e-6)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        T.nonsense  # noqa: B018


def test_the_factor_is_the_schedule_per_unit_of_lr_and_survives_a_pickle():
    factor = pickle.loads(pickle.dumps(T.warmup_cosine_factor(4, 13, eta_min_share=0.0625)))
    for step in (0, 3, 4, 9, 13, 20):
        assert 0.08 * factor(step) == pytest.approx(T.warmup_cosine(step, 0.08, 4, 13, 0.005))
    with pytest.raises(ValueError, match='warmup must be shorter than the run'):
        T.warmup_cosine_factor(9, 9)
    with pytest.raises(ValueError, match=r'eta_min_share must be in \[0, 1\], got 2'):
        T.warmup_cosine_factor(1, 9, 2)


def test_the_loop_in_the_docs_runs(root):
    page = (root / 'docs' / 'functional.md').read_text(encoding='utf-8')
    [loop] = re.findall(r'```python\n(.*?)```', page, flags=re.DOTALL)
    space: dict[str, object] = {'__name__': 'loop'}
    with warnings.catch_warnings():
        warnings.simplefilter('error', DeprecationWarning)
        exec(compile(loop, 'docs/functional.md', 'exec'), space)
    assert space['zeroed'] == 1
    # 3 epochs of 64 / 8 batches
    assert space['updates'] == 24 and int(space['averaged'].n_averaged) == 24
    assert space['lr'] == pytest.approx(0.1 * 8 / 256)
    assert bool(torch.isfinite(space['loss']))
    decays = [group['weight_decay'] for group in space['optimizer'].param_groups]
    assert decays == [5e-4, 0.0]
    # after the last update the schedule has come to its end
    assert space['optimizer'].param_groups[0]['lr'] == pytest.approx(0, abs=1e-12)
