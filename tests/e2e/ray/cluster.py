"""A Ray cluster on the loopback: a head, and nodes that come and go. It runs in Ray's environment.

    python -m tests.e2e.ray.cluster [--dashboard]

It prints the URLs of Ray's dashboard, which runs only if it is asked for, and of Ray's exporters on
the head and on the first node, and answers each line of the standard input by one: `add` starts a
node, `remove` kills the last one with all of its processes, `status` is what Ray says of the
service, and anything else is a configuration in JSON, which is deployed as `serve run` does. It
ends with the input.

Each node has two processors in the eyes of Ray, and one in fact where there are as many: the first
is the head's, the second the others'.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import ray
from ray import serve
from ray._private.node import Node
from ray.cluster_utils import Cluster
from ray.serve._private.api import serve_start
from ray.serve.schema import ServeDeploySchema

# Ray takes 127.0.0.1 for the address that other machines know this one by.
HOST = "127.0.0.2"
APPLICATION, DEPLOYMENT = "cifar10", "Replica"


def main() -> None:
    """Starts the head and one node, and follows the orders."""
    # Ray prints, too.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    dashboard, agent, *exporters = _free_ports(4)
    options = {
        "num_cpus": 2,
        "node_ip_address": HOST,
        "include_dashboard": "--dashboard" in sys.argv,
        "dashboard_host": HOST,
        "dashboard_port": dashboard,
        "dashboard_agent_listen_port": agent,
        "metrics_export_port": exporters[0],
    }
    cores = sorted(os.sched_getaffinity(0))
    cluster = Cluster(initialize_head=True, head_node_args=options)
    _pin(cluster.head_node, cores[0])
    ray.init(cluster.address, _node_ip_address=HOST, namespace="serve", log_to_driver=False)
    nodes = [_add(cluster, cores[-1], metrics_export_port=exporters[1])]
    urls = [f"http://{HOST}:{port}/metrics" for port in exporters]
    print(f"http://{HOST}:{dashboard}", *urls, file=answers)
    for order in map(str.strip, sys.stdin):
        if order == "add":
            nodes.append(_add(cluster, cores[-1]))
        elif order == "remove":
            _remove(cluster, nodes.pop())
        elif order != "status":
            _deploy(json.loads(order))
        print(json.dumps(_status()), file=answers)
    ray.shutdown()
    cluster.shutdown()


def _add(cluster: Cluster, core: int, **options: int) -> Node:
    node = cluster.add_node(num_cpus=2, node_ip_address=HOST, **options)
    _pin(node, core)
    return node


def _remove(cluster: Cluster, node: Node) -> None:
    """Kills a node and its workers at once, as the end of its machine does."""
    for thread in list(_threads_of(node)):
        # A thread that is no process of its own has gone with its process.
        with suppress(ProcessLookupError):
            os.kill(thread, signal.SIGKILL)
    cluster.remove_node(node, allow_graceful=False)


def _pin(node: Node, core: int) -> None:
    """Keeps a node, and all workers that it starts from now on, to one core.

    It starts on all of them: Ray ends a node whose parts take longer than 15 s to start.
    """
    for thread in _threads_of(node):
        with suppress(ProcessLookupError):
            os.sched_setaffinity(thread, {core})


def _threads_of(node: Node) -> Iterator[int]:
    """The threads of all processes of a node."""
    for started in node.all_processes.values():
        for it in started:
            yield from _threads(it.process.pid)


def _threads(pid: int) -> Iterator[int]:
    """The threads of a process and of all that it has started."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        yield int(thread.name)
        for child in (thread / "children").read_text().split():
            yield from _threads(int(child))


def _deploy(config: dict[str, object]) -> None:
    schema = ServeDeploySchema.model_validate(config)
    client = serve_start(
        http_options=schema.http_options.model_dump(), proxy_location=schema.proxy_location
    )
    client.deploy_apps(schema, _blocking=False)


def _status() -> dict[str, object]:
    found = serve.status().applications.get(APPLICATION)
    if found is None:
        return {}
    deployment = found.deployments.get(DEPLOYMENT)
    return {
        "status": found.status,
        "message": f"{found.message} {deployment.message if deployment else ''}",
        "replicas": deployment.replica_states.get("RUNNING", 0) if deployment else 0,
    }


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports: list[int] = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


if __name__ == "__main__":
    main()
