"""A service that sees no GPU: it says so, or refuses to start where it must have one."""

from collections.abc import Iterator

from service.inference.engine import CPU, CUDA
from tests.benchmark.gpu.plan import Plan
from tests.benchmark.gpu.results import Figure, Finding, wrong_unless
from tests.benchmark.gpu.service import Service
from tests.benchmark.pictures import SMALL, make_pictures
from tests.benchmark.wire import form

EXPECTED = {"status": "degraded", "provider": CPU, "requested_provider": CUDA}
_HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}


def measure(plan: Plan) -> Iterator[Finding]:
    """Starts both kinds, with CUDA hidden from them."""
    insisting = Service(plan.settings, {"provider": "cuda", "require_cuda": True}, _HIDDEN)
    with insisting, Service(plan.settings, {"provider": "cuda"}, _HIDDEN) as service:
        health = service.wait_until_ready().health
        answer, _ = service.ask("/predict", form(make_pictures(())[SMALL][:1]))
        stated: dict[str, Figure] = {name: str(health.get(name)) for name in (*EXPECTED, "reason")}
        good = EXPECTED.items() <= stated.items() and answer == 200
        yield Finding("CUDA hidden", {**stated, "an answer": answer}, wrong_unless(good))
        status = insisting.wait()
        good = status == 1 and "CUDA cannot be used" in insisting.last_words
        figures: dict[str, Figure] = {"exit status": status, "it says": insisting.last_words}
        yield Finding("CUDA hidden and required", figures, wrong_unless(good))
