"""One object's method with something around it, and a torch function watched for a while."""

from __future__ import annotations

import copy
import functools
import pickle

import torch

from tricks_plugin.common.wrapped import During, Wrapped


class Owner:
    """Has a method, and a number that it gives."""

    def __init__(self, number):
        self.number = number

    def value(self, more=0):
        return self.number + more


class Doubling:
    """State of its own, as an adapter has."""

    def __init__(self):
        self.calls = 0

    def around(self, call, *args, **kwargs):
        self.calls += 1
        return 2 * call(*args, **kwargs)


def plus(amount, call, *args, **kwargs):
    return call(*args, **kwargs) + amount


def test_only_the_one_object_s_method_is_wrapped_and_given_back():
    owner, other, doubling = Owner(3), Owner(3), Doubling()
    wrapped = Wrapped(owner, 'value', doubling.around)
    assert (owner.value(), owner.value(more=4), other.value()) == (6, 14, 3)
    assert doubling.calls == 2
    wrapped.remove()
    assert owner.value() == 3 and vars(owner) == dict(number=3)


def test_wraps_lie_around_each_other_and_around_a_function_set_on_the_object():
    owner = Owner(3)
    owner.value = own = lambda: 10
    inner = Wrapped(owner, 'value', functools.partial(plus, 1))
    outer = Wrapped(owner, 'value', Doubling().around)
    assert owner.value() == 22
    outer.remove()
    assert owner.value() == 11
    inner.remove()
    assert owner.value is own


def test_copies_and_pickles_call_their_own_method_and_keep_their_own_state():
    owner, doubling = Owner(3), Doubling()
    Wrapped(owner, 'value', functools.partial(plus, 1))
    Wrapped(owner, 'value', doubling.around)
    for twin in (copy.deepcopy(owner), pickle.loads(pickle.dumps(owner))):
        twin.number = 5
        assert (twin.value(), owner.value()) == (12, 8)
        assert vars(twin)['value'].around.__self__.calls == 1
    assert doubling.calls == 2


def test_a_module_s_forward_is_wrapped_without_a_word_in_its_state_dict():
    module = torch.nn.Linear(2, 1)
    keys, x = list(module.state_dict()), torch.ones(1, 2)
    want = 2 * module(x)
    wrapped = Wrapped(module, 'forward', Doubling().around)
    assert torch.equal(module(x), want) and list(module.state_dict()) == keys
    wrapped.remove()
    assert torch.equal(2 * module(x), want)


def test_a_torch_function_s_result_is_seen_and_replaced_only_while_entered():
    seen = []

    def after(args, kwargs, result):
        seen.append((args[0].tolist(), kwargs))
        return result + 1

    x = torch.tensor([3., 1.])
    with During(torch.Tensor.cumsum, after):
        assert x.cumsum(dim=0).tolist() == [4, 5]
        assert x.sum().item() == 4  # another function
    assert seen == [([3, 1], dict(dim=0))]
    assert x.cumsum(0).tolist() == [3, 4] and len(seen) == 1
