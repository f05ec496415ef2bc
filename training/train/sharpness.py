"""Sharpness-aware minimisation: steps by the gradient at weights with a higher loss nearby."""

from typing import Any

import keras
from keras import ops

# Every second row of a batch tells where the loss is higher. That takes half the time of an ascent
# by the whole batch, and the noise in it does no harm.
ASCENT_ROWS = slice(None, None, 2)
TINY = 1e-12


@keras.saving.register_keras_serializable("cifar10-serve")
class SharpnessAwareModel(keras.Model):  # type: ignore[misc]
    """A model whose training steps can be sharpness-aware (Foret et al., 2021).

    Such a step perturbs the trainable weights along the gradient of a part of the batch, to where
    the loss is higher, takes an ordinary step of the optimiser there, and takes the perturbation
    back. It leads to flat minima, which generalise better. An optimiser whose step depends on the
    weights uses the perturbed ones: `ConvolutionMuon` then scales a kernel by their norm, which
    differs by less than one part in a hundred.

    Loss and accuracy that Keras reports are those at the perturbed weights; the moving statistics
    of batch normalisation are those at the weights themselves.

    Attributes:
        radius: Euclidean norm of the perturbation of all weights together; 0 for ordinary steps.
    """

    radius = 0.0

    def set_radius(self, radius: float) -> None:
        """Set `radius` for the steps that follow."""
        if radius != self.radius:
            self.radius = radius
            self.train_function = None  # it was compiled for the other

    def train_step(self, *arguments: Any) -> Any:  # noqa: ANN401
        """One step; the arguments and the result are those of the backend's own `train_step`."""
        if not self.radius:
            return super().train_step(*arguments)
        if keras.backend.backend() == "jax":
            return self._stateless_step(*arguments)
        return self._step(*arguments)

    def _step(self, data: Any) -> Any:  # noqa: ANN401
        perturbations = self._perturbations(_gradients(self, *_ascent_part(data)))
        own = [ops.copy(variable) for variable in self.non_trainable_variables]
        for variable, perturbation in zip(self.trainable_variables, perturbations, strict=True):
            variable.assign_add(perturbation)
        logs = super().train_step(data)
        for variable, perturbation in zip(self.trainable_variables, perturbations, strict=True):
            variable.assign_sub(perturbation)
        for variable, value in zip(self.non_trainable_variables, own, strict=True):
            variable.assign(value)
        return logs

    def _stateless_step(self, state: Any, data: Any) -> Any:  # noqa: ANN401
        import jax

        trainable, others, optimizer, metrics = state
        gradients, (_, _, others, _) = jax.grad(self.compute_loss_and_updates, has_aux=True)(
            trainable, others, metrics, *_ascent_part(data), None,
            training=True, optimizer_variables=optimizer,
        )  # fmt: skip
        perturbations = self._perturbations(gradients)
        trainable = [value + change for value, change in zip(trainable, perturbations, strict=True)]
        logs, (trainable, _, optimizer, metrics) = super().train_step(
            (trainable, others, optimizer, metrics), data
        )
        trainable = [value - change for value, change in zip(trainable, perturbations, strict=True)]
        return logs, (trainable, others, optimizer, metrics)

    def _perturbations(self, gradients: list[Any]) -> list[Any]:
        """What is added to each variable, to perturb all by `radius` along the gradients."""
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
        return [gradient * (self.radius / (norm + TINY)) for gradient in gradients]


def _ascent_part(data: Any) -> tuple[Any, Any]:  # noqa: ANN401
    pictures, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
    return pictures[ASCENT_ROWS], targets[ASCENT_ROWS]


def _gradients(model: keras.Model, pictures: Any, targets: Any) -> list[Any]:  # noqa: ANN401
    """Of the loss, for each trainable variable; outside of JAX."""
    variables = model.trainable_variables

    def loss() -> Any:  # noqa: ANN401
        answers = model(pictures, training=True)
        return model.compute_loss(pictures, targets, answers, training=True)

    if keras.backend.backend() == "torch":
        import torch

        return list(torch.autograd.grad(loss(), [variable.value for variable in variables]))
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss()
    return list(tape.gradient(value, variables))
