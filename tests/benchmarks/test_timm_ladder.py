"""The ladder's images, and the command that it gives."""

from __future__ import annotations

import importlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tricks_plugin.plan.errors import TrickError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def ladder() -> Iterator[object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'benchmarks'))
        yield importlib.import_module('timm_ladder')


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    """Train and val with classes a (6, 4 images) and b (5, 4); each file's bytes tell which."""
    for split, counts in (('train', {'a': 6, 'b': 5}), ('val', {'a': 4, 'b': 4})):
        for label, count in counts.items():
            for number in range(count):
                path = tmp_path / 'images' / split / label / f'{number}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f'{split} {label} {number}')
    (tmp_path / 'images' / 'train' / 'a' / 'notes.txt').write_text('no image')
    return tmp_path / 'images'


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read().decode() for member in tar}


@pytest.mark.parametrize('packed', [False, True])
def test_a_subset_has_the_same_number_of_each_class_and_the_right_bytes(
        ladder, folder, tmp_path, packed):
    if packed:
        for split in ('train', 'val'):
            with tarfile.open(folder / f'{split}.tar', 'w') as tar:
                tar.add(folder / split, arcname='.')
    train, val = ladder.find_splits(str(folder), None)
    assert train.suffix == ('.tar' if packed else '')
    made, classes = ladder.prepare(train, val, 3, 0, tmp_path / 'out')
    assert classes == 2 and made.name.startswith('data-6-8-')
    images = contents(made / 'train.tar')
    assert sorted(images) == [f'{label}/00000{number}.png' for label in 'ab' for number in range(3)]
    assert all(text.startswith(f'train {name[0]} ') for name, text in images.items())
    assert len(set(images.values())) == 6
    assert sorted(contents(made / 'val.tar').values()) == [
        f'val {label} {number}' for label in 'ab' for number in range(4)]


def test_a_subset_is_made_once_and_leaves_no_draft(ladder, folder, tmp_path):
    places = (folder / 'train', folder / 'val')
    first, _ = ladder.prepare(*places, 3, 2, tmp_path / 'out')
    before = (first / 'train.tar').stat().st_mtime_ns
    again, _ = ladder.prepare(*places, 3, 2, tmp_path / 'out')
    other, _ = ladder.prepare(*places, 4, 2, tmp_path / 'out')
    assert again == first and (first / 'train.tar').stat().st_mtime_ns == before
    assert other != first
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {first.name, other.name}


def test_too_few_images_and_other_classes_are_refused(ladder, folder, tmp_path):
    with pytest.raises(TrickError, match="class 'b' has 5 images, fewer than the 6 asked for"):
        ladder.prepare(folder / 'train', folder / 'val', 6, 0, tmp_path / 'out')
    (folder / 'val' / 'b').rename(folder / 'val' / 'c')
    with pytest.raises(TrickError, match="other classes: 'b' is in one of them only"):
        ladder.prepare(folder / 'train', folder / 'val', 0, 0, tmp_path / 'out')


def test_images_without_class_folders_and_broken_tars_are_refused(ladder, tmp_path):
    (tmp_path / 'flat').mkdir()
    (tmp_path / 'flat' / '1.png').write_text('x')
    with pytest.raises(TrickError, match='holds no images .* in class folders'):
        ladder.Images(tmp_path / 'flat')
    (tmp_path / 'broken.tar').write_text('no tar at all')
    with pytest.raises(TrickError, match='broken.tar is no tar that can be read'):
        ladder.Images(tmp_path / 'broken.tar')


def test_paths_that_are_not_there_are_refused(ladder, folder, tmp_path):
    with pytest.raises(TrickError, match='DATA .*nowhere is not there'):
        ladder.find_splits(str(tmp_path / 'nowhere'), None)
    with pytest.raises(TrickError, match='--val .*nowhere is not there'):
        ladder.find_splits(str(folder / 'train'), str(tmp_path / 'nowhere'))
    with pytest.raises(TrickError, match=r'must hold train.tar or a folder train/'):
        ladder.find_splits(str(tmp_path), None)
    (tmp_path / 'train.tar').write_text('')
    with pytest.raises(TrickError, match='give the others by --val'):
        ladder.find_splits(str(tmp_path / 'train.tar'), None)


def planned(ladder, *words: str) -> list[tuple[str, str, dict]]:
    """Name, label and settings of every rung, as `tricks ablate timm` plans them."""
    from tricks_plugin.ablate.setup_timm import plan_timm
    from tricks_plugin.ablate.timm_settings import effective
    from tricks_plugin.cli.ablate import parse
    args, flags = parse(ladder.command(
        [*words, '--epochs', '40', '--warmup-epochs', '2', '--seeds', '6']))
    assert args.jobs == 2
    found = plan_timm(args, flags, 'the command')
    assert found.study.mode == 'stack' and found.study.seeds == tuple(range(6))
    (rungs,) = found.planned.values()
    names = [one.rung.name for one in rungs]
    assert [one.rung.reference for one in rungs] == [None, *names[:-1]]
    assert [one.rung.same_as for one in rungs] == [None] * len(rungs)
    contents = [json.loads(one.content) for one in rungs]
    return [(one.rung.name, one.rung.label,
             vars(effective(content['words'], content['ground'], content['tricks']).args))
            for one, content in zip(rungs, contents, strict=True)]


def test_each_rung_adds_one_trick_to_the_one_before(ladder, folder):
    rungs = planned(ladder, str(folder), '--images-per-class', '3', '--out',
                    str(folder.parent / 'out'))
    assert [name for name, _, _ in rungs] == ['plain', *ladder.RUNGS[1:]]
    assert [label for _, label, _ in rungs] == list(ladder.LABELS.values())
    first, cosine, decay, smooth, mixup = [settings for _, _, settings in rungs]
    # A tenth after 30, 60 and 90 % of 40 epochs; timm's steps fall one epoch before a milestone.
    assert first['sched'] == 'multistep' and list(first['decay_milestones']) == [13, 25, 37]
    assert (first['epochs'], first['warmup_epochs'], first['smoothing']) == (40, 0, 0)
    assert first['opt_kwargs'] == {'filter_bias_and_bn': False} == cosine['opt_kwargs']
    assert cosine['sched'] == 'cosine' and cosine['warmup_prefix'] and cosine['warmup_lr'] == 0
    assert (cosine['epochs'], cosine['warmup_epochs'], cosine['smoothing']) == (38, 2, 0)
    assert (decay['opt_kwargs'] or {}).get('filter_bias_and_bn') is not False
    assert decay['smoothing'] == 0
    # He's 0.1 for two classes is timm's 0.1 * 2 / 1.
    assert smooth['smoothing'] == pytest.approx(0.2) and not smooth['mixup']
    assert mixup['mixup'] == 0.2 and mixup['smoothing'] == pytest.approx(0.2)
    assert len({one['seed'] for one in (first, mixup)}) == 1 and first['num_classes'] == 2


def test_only_the_tables(ladder, tmp_path):
    from tricks_plugin.cli.ablate import parse
    args, flags = parse(ladder.command(['--report-only', '--out', str(tmp_path)]))
    assert args.report_only and args.out == tmp_path and flags == []
    with pytest.raises(TrickError, match='holds no ablation'):
        ladder.main(['--report-only', '--out', str(tmp_path)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('flags', 'message'), [
    (['x', '--epochs', '2'], '--epochs: a run of 2 is too short for steps'),
    (['x', '--warmup-epochs', '50', '--epochs', '50'], 'less than --epochs 50, got 50'),
    ([], 'DATA is missing')])
def test_wrong_settings_are_refused(ladder, flags, message):
    with pytest.raises(TrickError, match=message):
        ladder.parse(flags)


@pytest.mark.parametrize(('preset', 'given', 'kept'), [
    ('cpu', [], []), ('full', [], []),
    ('cpu', ['stem_type=deep'], ['stem_type=deep']),
    ('cpu', ['channels=(32,64,128,256)', 'stem_type=deep', 'stem_width=16'],
     ['channels=(32,64,128,256)', 'stem_type=deep', 'stem_width=16'])])
def test_a_chart_keeps_the_model_kwargs_that_are_given_alone(ladder, preset, given, kept):
    flags = ['x', '--preset', preset, '--models', 'resnet18']
    assert ladder.parse(flags + (['--model-kwargs', *given] if given else [])).model_kwargs == kept


def test_a_chart_has_each_model_without_and_with_the_recipe(ladder, folder):
    from tricks_plugin.ablate.setup_timm import plan_timm
    from tricks_plugin.cli.ablate import parse
    args, flags = parse(ladder.command(
        [str(folder), '--models', 'lcnet_050', 'resnet10t', '--images-per-class', '3',
         '--epochs', '40', '--out', str(folder.parent / 'out')]))
    assert args.models == ['lcnet_050', 'resnet10t'] and args.arms == [
        'plain=step_decay;label=without the bag;--opt-kwargs filter_bias_and_bn=False;'
        '--smoothing 0', 'bag=bag_of_tricks;label=bag_of_tricks;tricks.cosine_warmup.'
        'warmup_epochs=2']
    assert not {'--model', '--model-kwargs'} & set(flags)
    found = plan_timm(args, flags, 'the command')
    for subject in found.study.subjects:
        assert [(rung.name, rung.label, rung.same_as) for rung in subject.rungs] == [
            ('plain', 'without the bag', None), ('bag', 'bag_of_tricks', None)]
    assert [one.label for one in found.study.subjects] == args.models
    assert found.study.pairs  # which the report draws as a chart
