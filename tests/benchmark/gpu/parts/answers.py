"""Whether the provider really computes, and answers as the CPU does with the float32 file."""

import io
import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from service.errors import ServiceError
from service.hardware import available_cpus
from service.inference.card import MODEL_FILE
from service.inference.engine import CPU, OnnxEngine
from service.inference.engine_cuda import Floats, Images
from service.inference.engine_provider import open_engine
from tests.benchmark.gpu.plan import Plan
from tests.benchmark.gpu.results import Figure, Finding, wrong_unless
from tests.benchmark.gpu.sessions import Sessions
from tests.benchmark.pictures import SMALL, make_pictures

_BATCH = 32
# What must be computed there; ONNX Runtime may leave operators that only look at shapes to the CPU.
_HEAVY = {"Conv", "FusedConv", "QLinearConv", "MatMul", "Gemm"}
# As in front of a device, where the batch of one is copied while that of the other is computed.
_THREADS = 2
# Of a probability, and of the first classes. A GPU multiplies float32 in TF32, with the 10 bits of
# mantissa that float16 has.
_TOLERANCES = {"float32": (0.01, 0.002), "float16": (0.05, 0.01), "int8": (0.5, 0.03)}


def measure(plan: Plan) -> Iterator[Finding]:
    """Compares each file that the provider may be given, on CUDA with and without graphs."""
    images = pictures(plan)
    expected = _run_on_cpu(plan, images)
    yield Finding("pictures", {"": len(images), "classes": len(set(expected[0].argmax(1)))})
    for file, listed in plan.stored.card.files.items():
        if plan.is_cuda and listed.precision == "int8":  # never chosen on CUDA
            continue
        engine, nodes = _open(plan, file)
        elsewhere = sorted(operator for provider, operator in nodes if provider != engine.provider)
        is_proven = engine.provider == plan.execution_provider
        is_proven &= not set(elsewhere) & _HEAVY
        yield Finding(
            f"{file}, an inference ran on",
            {"": engine.provider, "elsewhere": " ".join(elsewhere) or None},
            wrong_unless(is_proven),
        )
        name = f"{file} against {MODEL_FILE} on the CPU"
        yield _compare(name, _run(engine, images, _THREADS), expected, listed.precision)
        if not plan.is_cuda:
            continue
        name = f"{file}, CUDA graphs, against {MODEL_FILE} on the CPU"
        try:
            engine = Sessions().open(plan, file, _BATCH, graphs=True)
            yield _compare(name, _run(engine, images, _THREADS), expected, listed.precision)
        except ServiceError as error:
            yield Finding(name, {"failed": str(error)}, wrong_unless(False))


def pictures(plan: Plan) -> Images:
    """Pictures of the model's size: those of the tests, mirrored, shifted, lighter and darker."""
    random = np.random.default_rng(0)
    size = plan.stored.card.input
    originals = [
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((size.width, size.height)))
        for data in make_pictures(())[SMALL]
    ]
    made = []
    for number in range(plan.pictures):
        picture = originals[number % len(originals)][:, :: random.choice((-1, 1))]
        shifted = np.roll(picture, random.integers(-4, 5, 2), (0, 1))
        light = shifted * random.uniform(0.6, 1.4) + random.normal(0, 6, shifted.shape)
        made.append(light.clip(0, 255).astype(np.uint8))
    return np.stack(made)


def _open(plan: Plan, file: str) -> tuple[OnnxEngine, set[tuple[str, str]]]:
    """Opens a file as the service does; returns provider and operator of its nodes, too.

    Raises:
        StartupError: it cannot be computed.
    """
    with tempfile.TemporaryDirectory() as folder:
        sessions = Sessions(profile=Path(folder) / "profile")
        engine = sessions.open(plan, file, _BATCH)
        events = json.loads(Path(sessions.session.end_profiling()).read_text())
    kernels = (event["args"] for event in events if event["name"].endswith("_kernel_time"))
    return engine, {(kernel["provider"], kernel["op_name"]) for kernel in kernels}


def _compare(
    name: str, actual: tuple[Floats, Floats], expected: tuple[Floats, Floats], precision: str
) -> Finding:
    largest, of_energy = (
        float(np.abs(one - other).max()) for one, other in zip(actual, expected, strict=True)
    )
    different = int((actual[0].argmax(1) != expected[0].argmax(1)).sum())
    figures: dict[str, Figure] = {
        "largest difference of a probability": largest,
        "of an energy": of_energy,
        "first classes that differ": different,
    }
    tolerance, share = _TOLERANCES[precision]
    good = largest <= tolerance and different <= share * len(actual[0])
    return Finding(name, figures, wrong_unless(good))


def _run_on_cpu(plan: Plan, images: Images) -> tuple[Floats, Floats]:
    engine = open_engine(lambda _: plan.read(MODEL_FILE), provider="cpu")
    assert engine.provider == CPU
    return _run(engine, images, available_cpus())


def _run(engine: OnnxEngine, images: Images, threads: int = 1) -> tuple[Floats, Floats]:
    batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    with ThreadPoolExecutor(threads) as pool:
        probabilities, energies = zip(*pool.map(engine.run, batches), strict=True)
    return np.concatenate(probabilities), np.concatenate(energies)
