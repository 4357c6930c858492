"""What `tricks` may say, and what it must not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from mmengine.config import Config

import tricks_plugin
from tricks_plugin.plan import TRICKS
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.plan.recipes import as_mapping, load_recipe, recipe, recipe_names, select


def wanted_of(tricks):
    """The parameters asked for, defaults included, by trick."""
    return {trick.name: dataclasses.asdict(trick.params) for trick in select(tricks).tricks}


def defaults(name, **own):
    """All parameters of a trick with some changed."""
    return dataclasses.asdict(TRICKS.get(name).from_dict(own).params)


def test_a_recipe_is_a_config_fragment_of_two_keys():
    for name in recipe_names():
        cfg = Config.fromfile(recipe(name))
        assert set(cfg.keys()) == {'runner_type', 'tricks'}
        assert cfg.runner_type == 'tricks_plugin.TricksRunner'


def test_a_recipe_stands_beside_any_base_and_a_child_overrides_it(zoo, tmp_path):
    child = tmp_path / 'child.py'
    child.write_text(
        f"_base_ = [{str(zoo / 'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py')!r},\n"
        "          __import__('tricks_plugin').recipe('bag_of_freebies')]\n"
        'tricks = dict(cosine_warmup=dict(eta_min=1e-5), label_smoothing=False)\n')
    wanted = wanted_of(Config.fromfile(child).to_dict()['tricks'])
    assert wanted['cosine_warmup'] == defaults('cosine_warmup', eta_min=1e-5, fitted_flat=0.7)
    assert 'label_smoothing' not in wanted
    assert set(wanted) == set(load_recipe('bag_of_freebies')) - {'label_smoothing'}


def test_a_name_a_list_and_the_recipe_key_ask_for_the_same():
    by_name = wanted_of('bag_of_freebies')
    assert by_name == {name: defaults(name, **values)
                       for name, values in load_recipe('bag_of_freebies').items()}
    assert wanted_of(['bag_of_freebies']) == by_name
    assert wanted_of({'recipe': 'bag_of_freebies'}) == by_name


def test_parameters_beside_a_recipe_win_wherever_they_stand():
    own = {'cosine_warmup': {'eta_min': 1e-5}}
    for tricks in (['bag_of_freebies', own], [own, 'bag_of_freebies'],
                   {**own, 'recipe': 'bag_of_freebies'}):
        assert wanted_of(tricks)['cosine_warmup'] == defaults(
            'cosine_warmup', eta_min=1e-5, fitted_flat=0.7)


def test_a_bare_name_may_have_parameters_beside_it(toy):
    assert wanted_of(['toy', {'toy': {'factor': 3.0}}]) == {'toy': defaults('toy', factor=3.0)}
    assert wanted_of({'toy': True}) == {'toy': defaults('toy')}
    assert wanted_of({'toy': False}) == {} and wanted_of(None) == {}
    assert wanted_of('toy,mixup') == {'toy': defaults('toy'), 'mixup': defaults('mixup')}


def test_strict_is_read_beside_the_tricks():
    assert select({'mixup': True, 'strict': True}).strict is True
    assert select('mixup').strict is False


def test_what_the_user_names_is_told_from_what_a_recipe_brings():
    chosen = select(['bag_of_freebies', {'mixup': {'alpha': 1.0}, 'ema': True, 'sync_bn': False}])
    assert chosen.named == {'mixup', 'ema'}
    names = [trick.name for trick in chosen.tricks]
    assert 'sync_bn' not in names and {'linear_lr', 'mixup', 'ema'} <= set(names)
    assert names == [trick.name for trick in TRICKS.in_order() if trick.name in names]


@pytest.mark.parametrize('tricks, words', [
    ('miksup', "tricks: unknown trick or recipe 'miksup'; did you mean 'mixup'?"),
    ('bag_of_freebees', "did you mean 'bag_of_freebies'?"),
    ({'label_smothing': {}}, "label_smothing: unknown trick; did you mean 'label_smoothing'?"),
    ({'recipe': 'bag'}, "tricks.recipe: unknown recipe 'bag'"),
    ({'recipe': 3}, 'tricks.recipe must be the name of a recipe, got 3'),
    ({'mixup': 3}, 'tricks.mixup must be a dict of parameters, True or False, got 3'),
    ({'mixup': None}, 'tricks.mixup must be a dict of parameters, True or False, got None'),
    ({'strict': 1}, 'tricks.strict must be True or False, got 1'),
    (['mixup', 'mixup'], "tricks[1]: 'mixup' is given twice, first at tricks[0]"),
    ('mixup,mixup', "'mixup' is given twice"),
    ([{'mixup': {}}, {'mixup': {}}], "tricks[1].mixup: 'mixup' is given twice"),
    (['bag_of_freebies', {'recipe': 'bag_of_freebies'}], "'bag_of_freebies' is given twice"),
    ([3], 'tricks[0] must be a name or a dict, got 3'),
    (3.5, 'tricks must be the name of a recipe or trick, a dict, or a list of these, got 3.5'),
    ([], 'or a list of these, got []'),
    ('', "tricks: unknown trick or recipe ''"),
    ({3: {}}, 'tricks.3: unknown trick'),
])
def test_a_wrong_wish_is_one_line_that_names_the_place(tricks, words):
    with pytest.raises(TrickError) as error:
        select(tricks)
    assert words in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('values, words', [
    ({'factr': 1.0}, "tricks.toy.factr: unknown parameter; did you mean 'factor'?"),
    ({'factor': 0}, 'tricks.toy.factor must be > 0, got 0'),
    ({'factor': 11}, 'tricks.toy.factor must be <= 10, got 11'),
    ({'factor': '2'}, "tricks.toy.factor must be of type float, got '2'"),
    ({'factor': True}, 'tricks.toy.factor must be of type float, got True'),
    ({'factor': float('nan')}, 'tricks.toy.factor must be finite, got nan'),
    ({'mode': 'none'}, "tricks.toy.mode must be one of ('plain', 'fancy'), got 'none'"),
    ({'count': 0}, 'tricks.toy.count must be >= 1, got 0'),
    ({'count': 1.5}, 'tricks.toy.count must be of type int | None, got 1.5'),
])
def test_a_wrong_parameter_names_the_bound_and_the_value(toy, values, words):
    with pytest.raises(TrickError) as error:
        tricks_plugin.apply_tricks(Config({'number': 3}), {'toy': values})
    assert words in str(error.value)


def test_a_recipe_path_lies_in_the_installed_package():
    assert Path(tricks_plugin.recipe('bag_of_freebies')).is_file()
    with pytest.raises(TrickError, match='unknown recipe'):
        tricks_plugin.recipe('bag_of_freebie')


def test_every_trick_of_a_recipe_exists_with_valid_parameters():
    for name in recipe_names():
        for trick, values in load_recipe(name).items():
            TRICKS.get(trick).from_dict(values)


def test_what_a_config_inherits_is_the_recipe_s_until_it_says_otherwise(tmp_path):
    def named(text):
        child = tmp_path / 'child.py'
        child.write_text("_base_ = [__import__('tricks_plugin').recipe('bag_of_freebies')]\n"
                         + text)
        chosen = select(Config.fromfile(child).to_dict()['tricks'])
        return chosen.named, {trick.name: trick.params for trick in chosen.tricks}

    recipe_own = set(load_recipe('bag_of_freebies'))
    assert 'from_recipe' not in recipe_own
    for text in ('', 'tricks = dict(cosine_warmup=dict())\n'):
        names, params = named(text)
        assert names == frozenset() and set(params) == recipe_own
    names, params = named('tricks = dict(cosine_warmup=True, ema=dict(), sync_bn=False)\n')
    assert names == {'cosine_warmup', 'ema'} and set(params) == recipe_own - {'sync_bn'} | {'ema'}
    assert params['cosine_warmup'].fitted_flat == 0.7
    names, params = named('tricks = dict(cosine_warmup=dict(eta_min=1e-5))\n')
    schedule = params['cosine_warmup']
    assert names == {'cosine_warmup'} and (schedule.eta_min, schedule.fitted_flat) == (1e-5, 0.7)


def test_a_wish_as_one_dict_keeps_advice_and_orders_apart():
    inherited = {'from_recipe': 'bag_of_freebies', **load_recipe('bag_of_freebies'),
                 'sync_bn': False, 'random_shapes': True, 'ema': {}}
    for wish in (inherited, ['bag_of_freebies', 'random_shapes', {'ema': True, 'sync_bn': False}]):
        chosen, again = select(wish), select(as_mapping(wish))
        assert again.named == chosen.named == {'random_shapes', 'ema'}
        assert [(one.name, one.params) for one in again.tricks] == [
            (one.name, one.params) for one in chosen.tricks]
        without = select({**as_mapping(wish), 'mixup': False})
        assert {one.name for one in chosen.tricks} - {one.name for one in without.tricks} == {
            'mixup'}


def test_a_mark_of_no_recipe_is_refused():
    with pytest.raises(TrickError, match="tricks.from_recipe must be the name of a recipe, got 3"):
        select({'from_recipe': 3, 'mixup': {}})
