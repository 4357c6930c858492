"""A switch and counts that copies, pickles and worker processes see at once."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tricks_plugin.common.shared_state import SharedState


class Counting(Dataset):
    """Counts each item, notes its number as a peak, and gives the switch."""

    def __init__(self):
        self.state = SharedState(('items', 'others'), ('largest',))

    def __len__(self):
        return 6

    def __getitem__(self, index):
        self.state.count('items')
        self.state.raise_to('largest', index)
        return self.state.enabled


@pytest.mark.slow
@pytest.mark.parametrize('workers, context', [(0, None), (2, 'fork'), (1, 'spawn')])
def test_what_workers_count_is_seen_here_and_the_switch_there(workers, context):
    dataset = Counting()
    loader = DataLoader(dataset, num_workers=workers, multiprocessing_context=context,
                        persistent_workers=workers > 0)
    assert all(bool(item) for item in loader)
    assert (dataset.state.total('items'), dataset.state.total('others')) == (6, 0)
    assert dataset.state.peak('largest') == 5
    dataset.state.enabled = False  # of workers that run already
    assert not any(bool(item) for item in loader)
    assert dataset.state.total('items') == 12


def test_a_copy_is_the_state_itself_and_a_pickle_keeps_its_numbers():
    state = SharedState(('items',), ('largest',))
    state.count('items')
    state.raise_to('largest', 7)
    state.raise_to('largest', 3)
    assert copy.deepcopy([state])[0] is state
    loaded = pickle.loads(pickle.dumps(state))
    assert (loaded.total('items'), loaded.peak('largest'), loaded.enabled) == (1, 7, True)
    assert loaded._numbers.is_shared() and torch.equal(loaded._numbers, state._numbers)
