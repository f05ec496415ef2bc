"""Two replicas of the service on a Ray cluster of this machine alone.

    python -m tests.benchmark.ray_replicas

`on_ray` runs it, in Ray's environment.
"""

import os
import signal
import sys

import ray
from ray import serve

from service.cluster.ray import Replica

if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])})
    two = Replica.options(num_replicas=2, autoscaling_config=None)  # type: ignore[attr-defined]
    serve.run(two.bind(), route_prefix="/")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # which ends Ray
    signal.pause()
