"""The bag of tricks for image classification (arXiv 1812.01187) in Lightning, by plain functions.

python examples/lightning_classifier.py FOLDER [EPOCHS]
"""
import sys
from typing import Any

import lightning
import torch
from torchvision import datasets, models
from torchvision.transforms import v2

import tricks_plugin.functional as tricks


class Classifier(lightning.LightningModule):
    def __init__(self, network: Any, classes: int, batch_size: int) -> None:
        super().__init__()
        self.network, self.classes, self.batch_size = network, classes, batch_size
        tricks.zero_last_scales(network)  # before weights are loaded, which bring their own
        self.average = tricks.WeightAverage(network)  # is validated, and saved beside the network

    def on_fit_start(self) -> None:
        if self.trainer.world_size > 1:
            tricks.synchronize_batch_norms(self.network)

    def configure_optimizers(self) -> Any:
        trainer, updates = self.trainer, int(self.trainer.estimated_stepping_batches)
        batch = tricks.effective_batch_size(self.batch_size, trainer.world_size,
                                            trainer.accumulate_grad_batches)
        optimizer = torch.optim.SGD(tricks.param_groups(self.network, 1e-4), momentum=0.9,
                                    lr=tricks.linear_scaled_lr(0.1, batch, base_batch=256))
        self.average.momentum = tricks.ema_momentum(updates, horizon=0.1)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, tricks.warmup_cosine_factor(warmup=updates // 20, total=updates))
        return [optimizer], [{'scheduler': schedule, 'interval': 'step'}]

    def training_step(self, batch: Any, index: int) -> Any:
        images, labels = tricks.mixup_batch(batch[0], batch[1], self.classes, 0.2)
        return tricks.smoothed_cross_entropy(self.network(images), labels, eps=0.1)

    def on_train_batch_end(self, *args: Any) -> None:
        self.average.update_parameters(self.network)

    def validation_step(self, batch: Any, index: int) -> None:
        right = self.average(batch[0]).argmax(1) == batch[1]
        self.log('accuracy', right.float().mean(), prog_bar=True, sync_dist=True)


def main(folder: str, epochs: int = 120, batch_size: int = 64) -> None:
    crops = dict(train=[v2.RandomResizedCrop(224)], val=[v2.Resize(256), v2.CenterCrop(224)])
    ends = [v2.ToImage(), v2.ToDtype(torch.float32, True)]
    sets = [datasets.ImageFolder(f'{folder}/{one}', v2.Compose(crops[one] + ends)) for one in crops]
    loaders = [torch.utils.data.DataLoader(one, batch_size, shuffle=one is sets[0]) for one in sets]
    classes, trainer = len(sets[0].classes), lightning.Trainer(max_epochs=epochs)
    trainer.fit(Classifier(models.resnet50(num_classes=classes), classes, batch_size), *loaders)


if __name__ == '__main__':
    main(sys.argv[1], *map(int, sys.argv[2:]))
