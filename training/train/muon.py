"""Muon for convolution networks; the Muon of Keras handles matrices only."""

from typing import Any

import keras
from keras import ops

NEWTON_SCHULZ_STEPS = 3  # as in airbench; the 5 of Keras take longer and give the same accuracy
MOMENTUM = 0.8
TINY = 1e-7
ADAM_SHARE = 0.02  # of the learning rate, for all variables that are not kernels of convolutions


@keras.saving.register_keras_serializable("cifar10-serve")
class ConvolutionMuon(keras.optimizers.Muon):  # type: ignore[misc]
    """Orthogonalised momentum for convolution kernels, Adam for all other variables.

    A kernel (height, width, in, out) is treated as the matrix (height * width * in, out). Before
    each step it is scaled to the norm sqrt(out), so that the learning rate is relative to it and
    no weight decay is needed. The scale changes no answer, because batch normalisation follows
    each kernel. As in airbench (Jordan, 2024).
    """

    def __init__(self, *args: Any, precision: str = "float32", **kwargs: Any) -> None:  # noqa: ANN401
        """Create the optimiser.

        Args:
            args: see `keras.optimizers.Muon`.
            precision: dtype of the matrix products that orthogonalise a step.
            kwargs: see `keras.optimizers.Muon`.
        """
        super().__init__(*args, **kwargs)
        self.precision = precision

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "precision": self.precision}

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        return len(variable.shape) != 4

    def _muon_update_step(
        self,
        gradient: keras.KerasTensor,
        variable: keras.Variable,
        lr: keras.KerasTensor,
        momentum: keras.Variable,
    ) -> None:
        self.assign(momentum, self.momentum * momentum + gradient)
        ahead = gradient + self.momentum * momentum  # Nesterov
        filters = variable.shape[-1]
        step = ops.reshape(self._orthogonal(ops.reshape(ahead, (-1, filters))), variable.shape)
        norm = ops.norm(ops.reshape(variable, (-1,)))
        self.assign(variable, variable * (filters**0.5 / norm) - lr * step)

    def _orthogonal(self, matrix: keras.KerasTensor) -> keras.KerasTensor:
        """The matrix with singular values near 1, in its own dtype."""
        if self.precision != matrix.dtype:
            # Scaled before it is rounded: a sum of squares needs more digits than bfloat16 has.
            matrix = ops.cast(matrix / (ops.norm(matrix) + TINY), self.precision)
        step = self.zeropower_via_newtonschulz5(matrix, self.ns_steps)
        return ops.cast(step, "float32")


@keras.saving.register_keras_serializable("cifar10-serve")
class Triangle(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Linear from zero to the peak, then linear back to zero."""

    def __init__(self, peak: float, warmup: int, total: int) -> None:
        """Set the schedule.

        Args:
            peak: the highest learning rate.
            warmup: steps up to the peak.
            total: all steps.
        """
        super().__init__()
        self.peak, self.warmup, self.total = peak, warmup, total

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        """The learning rate of a step, counted from 0."""
        step = ops.cast(step, "float32") + 1
        rise = step / max(1, self.warmup)
        fall = (self.total + 1 - step) / max(1, self.total + 1 - self.warmup)
        return self.peak * ops.minimum(rise, fall)

    def get_config(self) -> dict[str, float]:
        """The arguments of `__init__`."""
        return {"peak": self.peak, "warmup": self.warmup, "total": self.total}


def optimizer(
    schedule: keras.optimizers.schedules.LearningRateSchedule, precision: str = "float32"
) -> keras.Optimizer:
    """The optimiser with the settings of the presets; `precision` is that of its products."""
    return ConvolutionMuon(
        schedule,
        precision=precision,
        momentum=MOMENTUM,
        ns_steps=NEWTON_SCHULZ_STEPS,
        adam_lr_ratio=ADAM_SHARE,
        weight_decay=None,
        adam_weight_decay=None,
    )
