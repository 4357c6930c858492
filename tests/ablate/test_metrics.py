"""Which metric counts, and whether more of it is better, by the names that libraries give."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tricks_plugin.ablate.metrics import default_metric, direction_of, greater_is_better
from tricks_plugin.plan.errors import TrickError

# What evaluators of mmdet, mmpretrain, mmseg, mmpose, mmaction2, mmdet3d, mmocr and mmagic, and
# timm's trainer, name so, and names that are common elsewhere.
SMALLER = """
    crowd_human/mMR motchallenge-metric/FP motchallenge-metric/FN motchallenge-metric/IDSW
    motchallenge-metric/Frag motchallenge-metric/ML motchallenge-metric/IDFP culane/FP_50
    loss val_loss top1_err top5_err regression/l1_distance abs_rel sq_rel rmse rmse_log silog log10
    NME EPE MPJPE P-MPJPE N-MPJPE MPJPE_all MRRPE retrieval/MdR retrieval/MnR
    pred_instances_3d_NuScenes/mATE pred_instances_3d_NuScenes/car_trans_err Fl recog/CER wer
    MAE SAD MattingMSE GradientError ConnectivityError LPIPS NIQE PPL FID-Full-50k/fid SWD/avg
    miss miss_rate MissRate missrate LAMR MR-2 miss_rate@0.1fppi fppi FPR@95TPR false_positive_rate
    minADE HD95 ECE brier_score perplexity 1-accuracy one_minus_ssim loss/total loss_map
"""
GREATER = """
    coco/bbox_mAP coco/bbox_mAP_50 coco/segm_mAP_s coco/AR@100 coco/AR_s@1000
    coco/person_precision crowd_human/JI crowd_human/mAP pascal_voc/mAP pascal_voc/AP50
    lvis/bbox_APr openimages/AP50 cityscapes/AP@50 motchallenge-metric/HOTA
    motchallenge-metric/MOTA motchallenge-metric/IDF1 reid-metric/R1 culane/F1
    refexp/precision@1 mIoU aAcc mDice mFscore accuracy/top1 top1 top5 eval_top1
    single-label/f1-score retrieval/Recall@1 retrieval/mAP@10 coco/AP PCK AUC acc/mean1
    pred_instances_3d_NuScenes/NDS car_AP_dist_0.5 PSNR SSIM recall@fppi=1 sensitivity_at_fppi
    mAP_L2 waymo/mAPH_L1 Recall_l2 ROUGE-L1_recall mIoU_fl acc_far AP_far ap_rel
    error_auc neg_mean_squared_error one_minus_ned 1-NED MAE/accuracy fp16_top1
"""
TWO = {'plain': {'value': 50.0}, 'mixup': {'value': 53.0}}
SILENT = ['coco_panoptic/quality', 'recog/1-N.E.D', 'motchallenge-metric/MOTP', 'd1', 'FPS', '']


@pytest.mark.parametrize('name', SMALLER.split())
def test_less_is_better(name):
    assert direction_of(name) is False and not greater_is_better(name)
    assert greater_is_better(name, asked=True)


@pytest.mark.parametrize('name', GREATER.split())
def test_more_is_better(name):
    assert direction_of(name) is True and greater_is_better(name)
    assert not greater_is_better(name, asked=False)


@pytest.mark.parametrize('name', SILENT)
def test_a_name_that_does_not_tell_is_taken_as_more(name):
    assert direction_of(name) is None and greater_is_better(name)


def test_the_default_is_no_metric_of_faults():
    assert default_metric(['crowd_human/mMR', 'crowd_human/JI']) == 'crowd_human/JI'
    assert default_metric(['loss', 'mmseg/mIoU', 'top1']) == 'mmseg/mIoU'
    assert default_metric(['loss', 'NME']) == 'loss'


def test_the_names_of_mmdets_own_evaluator_for_crowds():
    """They are what the list above says: a change of mMR would be read the wrong way around."""
    found = importlib.util.find_spec('mmdet')  # not imported, which takes long
    if found is None:
        pytest.skip('mmdet is not installed')
    path = Path(found.origin).parent / 'evaluation' / 'metrics' / 'crowdhuman_metric.py'
    text = path.read_text(encoding='utf-8')
    assert "default_prefix: Optional[str] = 'crowd_human'" in text
    assert all(f"eval_results['{name}']" in text for name in ('mAP', 'mMR', 'JI'))


def test_a_run_without_such_objects_is_in_no_mean_and_in_no_curve(toy):
    """As folders have it that an older version wrote."""
    assert toy.ablate({**TWO, 'mixup': {'absent': [1], 'value': 0.3},
                       'all': {'gives': 'coco/bbox_mAP_s'}}) == 1
    runs = {(run['rung'], run['seed']): run for run in toy.study()['runs']}
    assert runs['mixup', 1]['value'] is None and runs['mixup', 1]['curve'] == []
    found = json.loads((toy.out / 'ablation.json').read_text())
    (row,) = [one for one in found['rungs'] if one['rung'] == 'mixup']
    assert row['values'] == {'0': 30.0} and row['mean'] == 30.0
    assert any('seed 1: the validation has no objects of this kind' in one
               for one in found['warnings'])


def test_what_is_said_of_the_direction_holds_until_the_other_is_said(toy):
    wish = {name: {**one, 'gives': 'x/quality', 'value': value}
            for (name, one), value in zip(TWO.items(), (50.0, 53.0), strict=True)}
    assert toy.ablate(wish) == 0
    calls = len(toy.calls())
    said = 'does not tell whether more of it is better'
    assert toy.study()['greater'] and any(said in note for note in toy.study()['notes'])
    for words, greater in ((['--report-only', '--smaller-is-better'], False),
                           (['--report-only'], False), ([], False), (['--seeds', '3'], False),
                           (['--greater-is-better'], True), (['--report-only'], True)):
        assert toy.ablate(wish, *words) == 0
        assert toy.study()['greater'] is greater
        assert not any(said in note for note in toy.study()['notes'])
    assert calls == 4 and toy.calls() == ['plain 2', 'mixup 2']
    with pytest.raises(TrickError, match='--greater-is-better: not allowed with'):
        toy.ablate(wish, '--smaller-is-better', '--greater-is-better')
    with pytest.raises(TrickError, match='holds no ablation'):
        toy.ablate(wish, '--report-only', '--smaller-is-better', '--out', str(toy.out / 'no'))


def test_the_metrics_name_decides_what_a_gain_is(toy):
    names = {'all': {'gives': 'crowd_human/mMR'}}
    assert toy.ablate({**TWO, 'mixup': {'value': 45.0}, **names}) == 0
    assert not toy.study()['greater']
    assert 'lower is better' in (toy.out / 'ablation.md').read_text()
