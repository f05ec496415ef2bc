"""Muon for convolution networks: Keras has it for matrices alone."""

import keras
from keras import ops

NEWTON_SCHULZ_STEPS = 3  # as airbench's; Keras' 5 cost time and gain nothing here
MOMENTUM = 0.8
ADAM_SHARE = 0.02  # of the learning rate: for everything that is not a convolution


@keras.saving.register_keras_serializable("cifar10-serve")
class ConvolutionMuon(keras.optimizers.Muon):  # type: ignore[misc]
    """Orthogonalised momentum for convolution kernels, Adam for all other variables.

    A kernel (height, width, in, out) is taken as the matrix (height * width * in, out). It is
    brought to the norm sqrt(out) before each step, so that the learning rate is relative to
    it and no weight decay is needed: batch normalisation follows each kernel, and its scale
    changes no answer. As in airbench (Jordan, 2024).
    """

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
        matrix = ops.reshape(ahead, (-1, filters))
        step = ops.reshape(self.zeropower_via_newtonschulz5(matrix, self.ns_steps), variable.shape)
        norm = ops.norm(ops.reshape(variable, (-1,)))
        self.assign(variable, variable * (filters**0.5 / norm) - lr * step)


@keras.saving.register_keras_serializable("cifar10-serve")
class Triangle(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Linear from nothing to the peak, and linear back to nothing."""

    def __init__(self, peak: float, warmup: int, total: int) -> None:
        """Take the highest rate, the steps up to it, and all steps."""
        super().__init__()
        self.peak, self.warmup, self.total = peak, warmup, total

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        """The rate of a step, counted from 0."""
        step = ops.cast(step, "float32") + 1
        rise = step / max(1, self.warmup)
        fall = (self.total + 1 - step) / max(1, self.total + 1 - self.warmup)
        return self.peak * ops.minimum(rise, fall)

    def get_config(self) -> dict[str, float]:
        """What `__init__` takes."""
        return {"peak": self.peak, "warmup": self.warmup, "total": self.total}


def optimizer(schedule: keras.optimizers.schedules.LearningRateSchedule) -> keras.Optimizer:
    """The optimiser with the settings that the presets were chosen with."""
    return ConvolutionMuon(
        schedule,
        momentum=MOMENTUM,
        ns_steps=NEWTON_SCHULZ_STEPS,
        adam_lr_ratio=ADAM_SHARE,
        weight_decay=None,
        adam_weight_decay=None,
    )
