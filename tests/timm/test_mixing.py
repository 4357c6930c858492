"""timm's mixup with a switch that reaches persistent workers, and equal to timm's otherwise."""

from __future__ import annotations

import copy
import pickle
import random
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from timm.data import FastCollateMixup, Mixup
from torch.utils.data import DataLoader, Dataset

from tricks_plugin.timm.mixing import SwitchableCollateMixup, SwitchableMixup, build_mixup

OPTIONS = dict(mixup_alpha=0.4, cutmix_alpha=0.0, prob=1.0, mode='elem', label_smoothing=0.1,
               num_classes=5)


class Pictures(Dataset):
    """Image ``i`` is of one grey level, in the form that timm's prefetcher collates."""

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return np.full((3, 4, 4), 10 * index, dtype=np.uint8), index % 5

    def __len__(self) -> int:
        return 16


def mixed_rows(loader: DataLoader) -> int:
    """Samples of an epoch whose targets name two classes beside the smoothing."""
    return sum(int(((targets > 0.0201).sum(dim=1) > 1).sum()) for _, targets in loader)


def persistent(collate: FastCollateMixup) -> DataLoader:
    return DataLoader(Pictures(), batch_size=4, num_workers=2, collate_fn=collate,
                      persistent_workers=True)


def test_switching_off_reaches_persistent_workers_at_once_and_back() -> None:
    collate = SwitchableCollateMixup(**OPTIONS)
    loader = persistent(collate)
    assert mixed_rows(loader) >= 8
    collate.mixup_enabled = False
    assert mixed_rows(loader) == 0
    assert mixed_rows(loader) == 0
    collate.mixup_enabled = True
    assert mixed_rows(loader) >= 8


def test_a_copy_sent_to_a_spawned_process_shares_the_switch() -> None:
    collate = SwitchableCollateMixup(**OPTIONS)
    sent = pickle.loads(bytes(ForkingPickler.dumps(collate)))
    collate.mixup_enabled = False
    assert sent.mixup_enabled is False
    assert sent.mixup_alpha == 0.4


def test_timms_own_switch_does_not_reach_them() -> None:
    """The reason for the class; once this fails, timm has mended it."""
    collate = FastCollateMixup(**OPTIONS)
    loader = persistent(collate)
    mixed_rows(loader)
    collate.mixup_enabled = False
    assert mixed_rows(loader) >= 8


@pytest.mark.parametrize('mode', ['batch', 'pair', 'elem'])
@pytest.mark.parametrize('cutmix', [0.0, 1.0])
def test_collated_batches_equal_timms_to_the_bit(mode: str, cutmix: float) -> None:
    options = {**OPTIONS, 'mode': mode, 'cutmix_alpha': cutmix}
    samples = [Pictures()[index] for index in (3, 8, 11, 14)]
    found = []
    for kind in (FastCollateMixup, SwitchableCollateMixup):
        np.random.seed(3)
        random.seed(3)
        found.append(kind(**options)(copy.deepcopy(samples)))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=0)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=0, atol=0)


def test_batches_mixed_on_the_device_equal_timms_to_the_bit() -> None:
    images = torch.arange(4 * 3 * 2 * 2, dtype=torch.float32).view(4, 3, 2, 2)
    targets = torch.tensor([0, 3, 4, 1])
    found = []
    for kind in (Mixup, SwitchableMixup):
        np.random.seed(5)
        found.append(kind(**OPTIONS)(images.clone(), targets))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


def test_a_mixed_target_has_the_shares_worked_out_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """K = 5, s = 0.1: off 0.02, on 0.92; lam = 0.3 of class 1 and 0.7 of class 4."""
    mixup = SwitchableMixup(**{**OPTIONS, 'mode': 'batch'})
    monkeypatch.setattr(mixup, '_params_per_batch', lambda: (0.3, False))
    images, targets = mixup(torch.tensor([10.0, 110.0]).view(2, 1, 1, 1), torch.tensor([1, 4]))
    # 0.3 * 10 + 0.7 * 110 = 80 and 0.3 * 110 + 0.7 * 10 = 40
    torch.testing.assert_close(images.flatten(), torch.tensor([80.0, 40.0]))
    # 0.3 * 0.92 + 0.7 * 0.02 = 0.29 and 0.3 * 0.02 + 0.7 * 0.92 = 0.65
    torch.testing.assert_close(targets[0], torch.tensor([0.02, 0.29, 0.02, 0.02, 0.65]))


def test_the_flags_decide_what_mixes(settings) -> None:  # noqa: ANN001
    assert build_mixup(settings()) is None
    assert isinstance(build_mixup(settings('--mixup', '0.2')), SwitchableCollateMixup)
    assert isinstance(build_mixup(settings('--mixup', '0.2', '--no-prefetcher')), SwitchableMixup)
    found = build_mixup(settings('--cutmix', '1.0', '--smoothing', '0.05', '--mixup-prob', '0.7'))
    assert (found.cutmix_alpha, found.mixup_alpha, found.mix_prob) == (1.0, 0.0, 0.7)
    assert found.label_smoothing == 0.05 and found.num_classes == 3
