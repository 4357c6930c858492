"""The Plan is the difference between two configs."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tricks_plugin.mm.config_edit import copy_plain
from tricks_plugin.plan import Plan, TrickPlan, compare


def as_rows(changes):
    return [(c.path, *(c.to_dict()[key] for key in ('before', 'after'))) for c in changes]


def test_an_inserted_transform_is_one_change():
    before = {'a': [{'type': 'Load'}, {'type': 'Flip', 'prob': 0.5}, {'type': 'PackDetInputs'}]}
    after = copy_plain(before)
    after['a'].insert(2, {'type': 'MixUp', 'alpha': 1.5})
    assert as_rows(compare(before, after)) == [('a[2]', None, {'type': 'MixUp', 'alpha': 1.5})]


def test_a_renamed_packer_beside_an_insertion_stays_paired():
    before = [{'type': 'Load'}, {'type': 'PackDetInputs'}]
    after = [{'type': 'Load'}, {'type': 'tricks_plugin.GeometryPreservingMixUp', 'alpha': 1.5},
             {'type': 'tricks_plugin.PackWeightedDetInputs'}]
    assert [row[0] for row in as_rows(compare(before, after, 'p'))] == ['p[1]', 'p[2]']
    assert as_rows(compare(before, after, 'p'))[1][1] == {'type': 'PackDetInputs'}


def test_a_removed_item_counts_in_the_list_before():
    before, after = [1, 2, 3], [1, 3]
    assert as_rows(compare(before, after, 'x')) == [('x[1]', 2, None)]


def test_nested_values_are_reported_at_their_own_path():
    before = {'optim': {'type': 'SGD', 'lr': 0.001}, 'gone': 1}
    after = {'optim': {'type': 'SGD', 'lr': 0.002, 'wd': None}}
    assert as_rows(compare(before, after)) == [
        ('optim.lr', 0.001, 0.002), ('optim.wd', None, None), ('gone', 1, None)]


def test_an_int_for_a_float_and_a_list_for_a_tuple_are_changes():
    assert as_rows(compare({'a': 1, 'b': (1,)}, {'a': 1.0, 'b': [1]})) == [
        ('a', 1, 1.0), ('b', [1], [1])]
    assert compare({'a': float('nan')}, {'a': float('nan')}) == []


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(0.5, 3) | st.text('ab', max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text('abc', min_size=1, max_size=2), inner, max_size=4),
    max_leaves=12)


@settings(max_examples=150, deadline=None)
@given(values, values)
def test_no_difference_goes_unreported(before, after):
    changes = compare(before, after)
    assert compare(before, copy_plain(before)) == []
    equal = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert equal == (not changes)


def test_the_json_form_has_the_fixed_keys_and_holds_any_value():
    changes = compare({'a': float('inf'), 'b': {1, 2}}, {'a': 1.0, 'c': object})
    plan = Plan('c.py', (TrickPlan('mixup', 'applied', '', tuple(changes)),))
    again = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
    assert set(again) == {'config', 'run', 'tricks'}
    assert set(again['tricks'][0]) == {'name', 'status', 'reason', 'changes'}
    assert set(again['tricks'][0]['changes'][0]) == {'path', 'before', 'after'}
    assert again['tricks'][0]['changes'][0]['before'] == 'inf'


def test_the_table_shows_every_trick_with_reason_and_change():
    rows = (TrickPlan('mixup', 'applied', 'why', tuple(compare({'lr': 1}, {'lr': 2}))),
            TrickPlan('ema', 'present', 'EMAHook is there'))
    text = Plan('c.py', rows, {'lr': 1}, {'lr': 2}).table()
    for words in ('mixup', 'why', 'lr: 1 -> 2', 'ema', 'present', 'EMAHook is there'):
        assert words in text


def test_the_diff_is_a_unified_diff():
    text = Plan('c.py', (), {'lr': 1, 'x': 3}, {'lr': 2, 'x': 3}).diff()
    assert text.startswith('--- before\n+++ after\n@@')
    assert "-{'lr': 1, 'x': 3}\n" in text and "+{'lr': 2, 'x': 3}\n" in text
