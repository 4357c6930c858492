"""The registry of tricks, and what becomes of a trick without a side."""

from __future__ import annotations

import pytest

from tricks_plugin.plan import Trick, Verdict, registry


def test_third_party_tricks_come_through_the_entry_point_group(toy, monkeypatch):
    loaded = []

    class Point:
        def load(self):
            loaded.append('their_package.tricks')

    trick_registry = registry.TrickRegistry()
    monkeypatch.setattr(registry.importlib.metadata, 'entry_points',
                        lambda group: [Point()] if group == 'tricks_plugin.tricks' else [])
    trick_registry.register(toy)
    assert trick_registry.get('toy') is toy and 'toy' in trick_registry
    assert loaded == ['their_package.tricks']


def test_a_trick_class_without_its_contract_is_refused():
    class Half(Trick):
        name = 'half'

        def apply(self, cfg):
            return Verdict.present('always')

    with pytest.raises(TypeError, match='Half lacks title, paper, order, evidence'):
        registry.TrickRegistry().register(Half)


def test_two_tricks_of_one_name_are_refused(toy):
    class Other(toy):
        pass

    with pytest.raises(KeyError, match="'toy' is registered already"):
        registry.TRICKS.register(Other)


def test_a_trick_of_one_module_without_a_side_says_so():
    class Bare(Trick):
        name, title, paper, order, evidence = 'bare', 'nothing', 'none', 1, 'nowhere:Nothing'

    bare = Bare.from_dict({})
    verdict = bare.apply({'anything': 1})
    assert verdict.status == 'not_applicable' and verdict.reason == 'bare has no side for mmengine'
    assert bare.timm_args({}) is None and bare.timm_note({}, {}) == ''
    assert Bare.timm_rules() == ('', ()) and Bare.timm_active({}) is False
    assert Bare.timm_promise({}) == {}


def test_a_room_lends_its_trick_both_sides():
    ema = registry.TRICKS.get('ema')
    assert ema.side('mm', 'Edit').__module__ == 'tricks_plugin.tricks.ema.mm'
    assert ema.timm_rules() == ('model_ema', ())
    assert ema.timm_active({'model_ema': True}) and not ema.timm_active({'model_ema': False})
    assert ema.timm_promise({'model_ema': False}) is None
