"""One source for the recipes' files, the printer and ``--tricks``."""

from __future__ import annotations

import pytest
import yaml

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm import flags
from tricks_plugin.timm.__main__ import main
from tricks_plugin.timm.checks import check_settings
from tricks_plugin.timm.plan import plan_tricks
from tricks_plugin.timm.recipe import Options, recipe_path, write_recipe
from tricks_plugin.timm.script import find_script

pytestmark = pytest.mark.slow

NAMES = ('bag_of_tricks', 'bag_of_tricks_fast', 'baseline_step')
EPOCHS = (*range(1, 13), 60, 120, 300)


def printed(name, **options):
    return write_recipe(name, find_script(version='1.0.31'), Options(**options))


@pytest.mark.parametrize('name', NAMES)
def test_the_files_are_what_the_command_prints(name, capsys):
    # python -m tricks_plugin.timm recipe NAME --timm-version 1.0.31 -o configs/timm/NAME.yaml
    assert main(['recipe', name, '--timm-version', '1.0.31']) == 0
    assert capsys.readouterr().out == recipe_path(name).read_text(encoding='utf-8')


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('classes, size, batch', [(10, 96, 40), (2, 32, 33), (1000, 224, 128),
                                                  (1, 75, 1)])
def test_the_recipe_and_the_trainer_take_the_same_settings_or_refuse_alike(
        name, classes, size, batch, tmp_path):
    path = tmp_path / 'recipe.yaml'
    refused = 0
    for epochs in EPOCHS:
        words = [f'--num-classes={classes}', f'--img-size={size}', f'--batch-size={batch}',
                 f'--epochs={epochs}', '--device=cpu']
        try:
            path.write_text(printed(name, num_classes=classes, img_size=size, batch_size=batch,
                                    epochs=epochs, device='cpu').text)
            by_recipe = vars(flags.parse(['-c', str(path)]).args)
        except TrickError as error:
            by_recipe, refused = str(error), refused + 1
        settings = flags.parse(words)
        try:
            by_tricks = plan_tricks(settings.args, settings.given, name)[0]
            check_settings(by_tricks, settings.given)
            by_tricks = vars(by_tricks)
        except TrickError as error:
            by_tricks = str(error)
        assert by_recipe == by_tricks, epochs
    # An odd batch cannot be mixed; steps at each quarter need four epochs.
    assert refused == (3 if name == 'baseline_step' else len(EPOCHS) if batch % 2 else 0)


def test_another_model_is_planned_for_and_named():
    values = yaml.safe_load(printed('baseline_step', model='efficientnet_b0').text)
    assert values['model'] == 'efficientnet_b0' and 'model_kwargs' not in values
    fixed = printed('bag_of_tricks', model='vit_tiny_patch16_224')
    assert 'train_img_sizes' not in yaml.safe_load(fixed.text)
    assert 'random_shapes: vit_tiny_patch16_224 takes images of one size only' in fixed.notes
