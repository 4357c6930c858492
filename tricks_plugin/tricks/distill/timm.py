"""Distillation as timm's flags."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...plan import TimmFlags

__all__ = ['Flags']

_WEIGHT = 1.0  # BoT's


class Flags(TimmFlags):
    """timm's distillation of class scores; its loss stands beside the labels' own to the end."""

    main = 'kd_model_name'
    unused = ('off_fraction', 'off_epochs')

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Names the teacher, its weights, the temperature and the factor of its loss.

        Raises:
            TrickError: If timm does not know the teacher, or its weights do not fit.
        """
        params = self.params
        if not params.teacher:
            return "no teacher is named: distill.teacher is a model's name"
        from ...timm.teacher import check_teacher
        check_teacher(params.teacher, params.checkpoint, args,
                      ('distill.teacher', 'distill.checkpoint'))
        wanted = {'kd_model_name': params.teacher, 'kd_temperature': params.temperature,
                  'distill_loss_weight': params.weight or _WEIGHT}
        return {**wanted, 'kd_checkpoint': params.checkpoint} if params.checkpoint else wanted

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Names the cost."""
        size = after.get('input_size') or (3, 224, 224)
        adds = [_multiply_adds(after.get(name), kwargs, tuple(size)) for name, kwargs in (
            ('kd_model_name', {}), ('model', after.get('model_kwargs') or {}))]
        if None in adds:
            return "the teacher's multiply-adds are not known before the run"
        teacher, student = (f'{one / 1e9:.3g} G' for one in adds if one is not None)
        return (f'the teacher adds {teacher} multiply-adds forward to the {student} of the '
                f'student, for an image of {size[1]} x {size[2]} px')

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """A teacher, where the flags name one."""
        return {} if args.get('kd_model_name') else None

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """With ``kd_model_name``."""
        return bool(args.get('kd_model_name'))


def _multiply_adds(name: Any, kwargs: dict[str, Any], size: tuple[int, ...]) -> int | None:
    """Those of a model for one image, counted on the meta device; None where that cannot be."""
    import timm
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    try:
        with torch.device('meta'), torch.no_grad():
            model = timm.create_model(name, in_chans=size[0], **kwargs).eval()
            with FlopCounterMode(display=False) as counter:
                model(torch.zeros(1, *size))
    except Exception:  # the run will say what is wrong
        return None
    return counter.get_total_flops() // 2
