"""Several real instances of the service behind HAProxy, with the configuration that ships."""

import contextlib
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from service.settings import Settings
from tests.benchmark.loopback import free_port
from tests.e2e import web
from tests.e2e.balancer import Names, balancer
from tests.e2e.conftest import Server, kill, launch
from tests.e2e.load import Load, wait_until


class Instances:
    """Instances of the service behind a balancer, each with an address of its own.

    Attributes:
        url: address of the balancer, without a slash at the end.
        names: the name server that the balancer asks.
        servers: those that run, by their address.
    """

    def __init__(self, url: str, names: Names, folder: Path, settings: dict[str, object]) -> None:
        """Runs none yet.

        Args:
            url: address of the balancer.
            names: what it asks.
            folder: for the logs of the instances.
            settings: of all instances, the port among them.
        """
        self.url, self.names, self.servers = url, names, dict[str, Server]()
        self._folder, self._settings = folder, settings

    def add(self, *hosts: str) -> None:
        """Starts one at each address, which has its name from then on; waits until it is ready."""
        for host in hosts:
            log = self._folder / f"{host}.log"
            self.servers[host] = launch(log, {**self._settings, "host": host})
            self.names.addresses.append(host)
        for host in hosts:
            self.servers[host].wait_until_ready()

    def stop(self, host: str) -> int:
        """Stops one; as with an engine it keeps its name until it has ended. Returns its status."""
        status = self.servers.pop(host).stop()
        self.names.addresses.remove(host)
        return status

    def send(self, host: str, number: signal.Signals) -> None:
        """Sends a signal to all processes of one."""
        for process in self._processes(host):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill(self, host: str) -> None:
        """Kills all processes of one and waits for their end; then its name has no such address."""
        processes = self._processes(host)
        self.send(host, signal.SIGKILL)
        self.servers.pop(host).wait()
        psutil.wait_procs(processes)
        self.names.addresses.remove(host)

    def _processes(self, host: str) -> list[psutil.Process]:
        supervisor = psutil.Process(self.servers[host].process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def answers(self, host: str) -> float:
        """How many pictures one has classified, up to a second ago."""
        text = web.get(f"{self.servers[host].url}/metrics", timeout=30).text
        counts = re.findall(r"^classifier_predictions_total\{.*\} (\S+)$", text, re.MULTILINE)
        return sum(map(float, counts))

    def wait_for_all(self, picture: bytes) -> None:
        """Waits until each has classified one more picture, which is sent meanwhile."""
        before = {host: self.answers(host) for host in self.servers}
        with Load(self.url, picture):
            wait_until(lambda: all(self.answers(host) > before[host] for host in before))


@contextmanager
def balanced(folder: Path, hosts: Sequence[str], **settings: object) -> Iterator[Instances]:
    """Starts HAProxy, and an instance at each of some addresses of the loopback.

    Args:
        folder: an empty folder for all files.
        hosts: the addresses.
        settings: of the instances.
    """
    port = free_port()
    settings = {"port": port, "workers": 1, "drain_s": Settings().drain_s, **settings}
    with Names() as names, balancer(names, port, folder) as url:
        instances = Instances(url, names, folder, settings)
        try:
            instances.add(*hosts)
            yield instances
        finally:
            kill(list(instances.servers.values()))
