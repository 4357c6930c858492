"""From a wish for tricks to arms: what is in each, and what it is compared with."""

import pytest

from tricks_plugin.ablate.rungs import (
    arms_of,
    given_arms,
    named_arm,
    nested,
    with_parameters,
)
from tricks_plugin.ablate.setup import parse_options
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.plan.recipes import load_recipe, select

WISH = 'mixup,linear_lr,finite_guard,cosine_warmup'  # applied as linear_lr, cosine_warmup, mixup


def chosen(arm):
    return [trick.name for trick in select(arm.tricks).tricks]


def test_stack_adds_one_trick_after_the_other_in_the_order_of_application():
    arms = arms_of('stack', with_parameters(WISH, {}), 'all')
    assert [(arm.name, arm.reference) for arm in arms] == [
        ('plain', None), ('linear_lr', 'plain'), ('cosine_warmup', 'linear_lr'),
        ('mixup', 'cosine_warmup')]
    assert arms[0].tricks is None
    assert sorted(chosen(arms[2])) == ['cosine_warmup', 'finite_guard', 'linear_lr']
    assert sorted(chosen(arms[3])) == ['cosine_warmup', 'finite_guard', 'linear_lr', 'mixup']


def test_single_and_leave_one_out():
    single = arms_of('single', with_parameters(WISH, {}), 'all')
    assert [sorted(set(chosen(arm)) - {'finite_guard'}) for arm in single] == [
        [], ['linear_lr'], ['cosine_warmup'], ['mixup']]
    assert {arm.reference for arm in single[1:]} == {'plain'}
    left = arms_of('leave-one-out', with_parameters(WISH, {}), 'all')
    assert [(arm.name, arm.reference) for arm in left] == [
        ('plain', None), ('all', 'plain'), ('without_linear_lr', 'all'),
        ('without_cosine_warmup', 'all'), ('without_mixup', 'all')]
    assert sorted(chosen(left[-1])) == ['cosine_warmup', 'finite_guard', 'linear_lr']


def test_what_only_watches_is_no_rung_and_decides_no_result():
    whole = arms_of('whole', with_parameters('bag_of_freebies', {}), 'bag_of_freebies')[1]
    assert set(chosen(whole)) == set(load_recipe('bag_of_freebies'))
    bare = {trick.name for trick in select(whole.deciding()).tricks}
    assert bare == set(load_recipe('bag_of_freebies')) - {
        'finite_guard', 'data_monitor', 'sync_bn'}  # a run is one process
    with pytest.raises(TrickError, match='nothing to compare'):
        arms_of('single', with_parameters('finite_guard', {}), 'finite_guard')


def test_a_recipes_tricks_stay_advice_in_every_rung_and_a_parameter_makes_an_order():
    arms = arms_of('stack', with_parameters('bag_of_freebies', {'mixup': {'alpha': 1.0}}), 'bag')
    last = select(arms[-1].tricks)
    assert last.named == {'mixup'} and last.recipes == ('bag_of_freebies',)
    assert {one.name: one.params for one in last.tricks}['mixup'].alpha == 1.0


def test_an_arm_leaves_a_trick_of_a_recipe_out_and_has_settings_of_its_own():
    arm = named_arm('mild=bag_of_freebies,-random_shapes;tricks.mixup.alpha=0.2;train_cfg.x=3',
                    parse_options)
    assert arm.name == 'mild' and arm.options == {'train_cfg.x': 3}
    tricks = {one.name: one for one in select(arm.tricks).tricks}
    assert 'random_shapes' not in tricks and tricks['mixup'].params.alpha == 0.2
    only = named_arm('slow=;optim_wrapper.optimizer.lr=0.1', parse_options)
    assert only.tricks is None and only.options == {'optim_wrapper.optimizer.lr': 0.1}


@pytest.mark.parametrize(('text', 'words'), [
    ('mixup', 'NAME=TRICKS'), ('a/b=mixup', 'NAME=TRICKS'), ('plain=mixup', "not 'plain'"),
    ('a=mixp', "did you mean 'mixup'"), ('a=', 'neither'), ('a=mixup;alpha', '--arms'),
])
def test_a_wrong_arm_is_refused(text, words):
    with pytest.raises(TrickError, match=words):
        named_arm(text, parse_options)


def test_parameters_by_trick():
    assert nested({'mixup.alpha': 1, 'mixup.p': 2, 'ema': False}) == {
        'mixup': {'alpha': 1, 'p': 2}, 'ema': False}
    with pytest.raises(TrickError, match='tricks.mixup.a.b'):
        nested({'mixup.a.b': 1})


def test_arms_may_be_a_stack_whose_first_is_the_ground():
    mode, arms = given_arms(
        ['plain=step_decay;label=steps', 'a=cosine_warmup', 'b=cosine_warmup,mixup'],
        parse_options, {'mixup': {'alpha': 0.3}}, '--cfg-options tricks.', 'stack')
    assert mode == 'stack'
    assert [(arm.name, arm.label, arm.reference) for arm in arms] == [
        ('plain', 'steps', None), ('a', 'a', 'plain'), ('b', 'b', 'a')]
    assert chosen(arms[0]) == ['step_decay']
    assert {one.name: one.params for one in select(arms[2].tricks).tricks}['mixup'].alpha == 0.3
    mode, arms = given_arms(['a=ema', 'b=mixup'], parse_options, {}, '', None)
    assert mode == 'arms'
    assert [(arm.name, arm.reference) for arm in arms] == [
        ('plain', None), ('a', 'plain'), ('b', 'plain')]
    with pytest.raises(TrickError, match="'plain', which the first arm alone may have"):
        given_arms(['a=ema', 'plain=mixup'], parse_options, {}, '', None)


def test_an_arms_flags_are_words():
    arm = named_arm('a=;--smoothing 0 ;--model-kwargs "x=(1, 2)"', parse_options, flags=True)
    assert arm.words == ('--smoothing', '0', '--model-kwargs', 'x=(1, 2)') and not arm.options
