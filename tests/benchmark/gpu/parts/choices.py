"""What other choices for ONNX Runtime would give: none of them is a setting of the service."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from service.errors import ServiceError
from tests.benchmark.gpu.parts.session import per_s
from tests.benchmark.gpu.plan import Plan
from tests.benchmark.gpu.results import Figure, Finding
from tests.benchmark.gpu.sessions import Sessions

CHOICES: dict[str, dict[str, str]] = {
    "as the service has it": {},
    "convolutions in NHWC": {"prefer_nhwc": "1"},
    "biases fused": {"fuse_conv_bias": "1"},
    "search EXHAUSTIVE": {"cudnn_conv_algo_search": "EXHAUSTIVE"},
    "search DEFAULT": {"cudnn_conv_algo_search": "DEFAULT"},
    "NHWC and CUDA graphs": {"prefer_nhwc": "1", "enable_cuda_graph": "1"},
}


def measure(plan: Plan) -> Iterator[Finding]:
    """Measures each, and how far its answers are from the first one's; all are options of CUDA."""
    size = plan.settings.max_batch
    images = plan.noise(size)
    usual = None
    for name, choice in CHOICES.items():
        if choice and not plan.is_cuda:
            continue
        try:
            engine = Sessions(choice).open(plan, plan.served_file, size)
            probabilities, _ = engine.run(images)
            rate = per_s(partial(engine.run, images), plan.cell_s) * size
        except ServiceError as error:
            yield Finding(name, {"failed": str(error)})
            continue
        usual = probabilities if usual is None else usual
        difference = float(np.abs(probabilities - usual).max())
        figures: dict[str, Figure] = {"pictures/s": rate, "largest difference": difference}
        yield Finding(f"{name}, batches of {size}", figures)
