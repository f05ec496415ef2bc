"""Who takes part: the service, the server that gives a constant answer, and the peers."""

import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmark.environments import ROOT
from tests.benchmark.servers import Probe, Server
from tests.benchmark.wire import Form, form, v2_binary, v2_json

HERE = Path(__file__).parent
SERVICE_REQUIREMENTS = ROOT / "docker" / "requirements-cpu.txt"

SERVICE = "cifar10-serve"
WITH_VIEWS = "with second views"
IN_FULL = "decoding in full"
CONSTANT = "constant answer"
PLAIN = "plain FastAPI"


@dataclass(frozen=True)
class Stage:
    """What all have in common.

    Attributes:
        scratch: a folder for their folders.
        python: the Python of the service's environment.
        probe: what each is asked at its start.
        model: the ONNX file that each serves; None stands for the service's choice.
    """

    scratch: Path
    python: Path
    probe: Probe
    model: Path | None


@dataclass(frozen=True)
class Peer:
    """Another way to serve the model.

    Attributes:
        name: its name.
        module: its file in `peers/`, and beside it its requirement file.
        package: the package whose version counts.
        path: where it takes pictures.
        form: how it takes them.
        framework: whether it is one of the five frameworks.
        environment: variables that it needs.
    """

    name: str
    module: str
    package: str
    path: str = "/predict"
    form: Form = form
    framework: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def requirements(self) -> Path:
        """Its requirement file."""
        return HERE / "peers" / f"{self.module}.txt"


_V2 = "/v2/models/cifar10/infer"

PEERS = (
    Peer("LitServe", "litserve", "litserve"),
    Peer("BentoML", "bentoml", "bentoml", environment={"BENTOML_DO_NOT_TRACK": "True"}),
    Peer(
        "Ray Serve",
        "ray_serve",
        "ray",
        environment={
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
            # Its documented settings for throughput.
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            # By default its replicas would come after wrk.
            "RAY_worker_niceness": "0",
        },
    ),
    Peer("MLServer", "mlserver", "mlserver", _V2, v2_json),
    Peer(
        "PyTriton",
        "pytriton",
        "nvidia-pytriton",
        _V2,
        v2_binary,
        # Its backend wants the library of this interpreter.
        environment={"LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR")},
    ),
    Peer(PLAIN, "plain_fastapi", "fastapi", framework=False),
)


def service(stage: Stage) -> Server:
    """The service with its default settings, on the CPU: with second views and closer looks."""
    return _service(stage, WITH_VIEWS, str(ROOT), second_view=True)


def service_of_one_view(stage: Stage) -> Server:
    """The service, but like its peers it computes each picture once."""
    return _service(stage, SERVICE, str(ROOT), second_view=False)


def service_in_full(stage: Stage) -> Server:
    """The service, but it decodes every JPEG in full size."""
    return _service(stage, IN_FULL, f"{ROOT}:{HERE / 'full_decoding'}", second_view=False)


def constant_answer(stage: Stage) -> Server:
    """The HTTP ceiling."""
    command = (stage.python, "-m", "tests.benchmark.constant")
    return Server(CONSTANT, command, stage.scratch / "constant", Probe(stage.probe.picture))


def peer_server(stage: Stage, peer: Peer, python: Path) -> Server:
    """A peer."""
    return Server(
        peer.name,
        (python, "-m", f"tests.benchmark.peers.{peer.module}"),
        stage.scratch / peer.module,
        stage.probe,
        {"BENCH_MODEL": str(stage.model), **peer.environment},
        peer.path,
        peer.form,
    )


def _service(stage: Stage, name: str, python_path: str, *, second_view: bool) -> Server:
    environment = {
        "PYTHONPATH": python_path,
        "CIFAR10_SECOND_VIEW": str(int(second_view)),
        "CIFAR10_PROVIDER": "cpu",
        "CIFAR10_MODELS": str(ROOT / "models"),
    }
    if stage.model:
        version = stage.model.parent
        environment |= {
            "CIFAR10_MODELS": str(version.parents[1]),
            "CIFAR10_MODEL": version.parent.name,
            "CIFAR10_MODEL_VERSION": version.name,
            "CIFAR10_VARIANT": stage.model.name,
        }
    command = (stage.python, "-m", "service")
    return Server(name, command, stage.scratch / name.replace(" ", "-"), stage.probe, environment)
