"""AWS on loopback, by moto."""

import requests
from moto.server import ThreadedMotoServer


class AwsServer(ThreadedMotoServer):
    """A server on a free port that has nothing yet: moto keeps its state for the process, so it is emptied first."""

    def __init__(self) -> None:
        super().__init__(ip_address="127.0.0.1", port=0, verbose=False)

    def start(self) -> None:
        super().start()
        host, port = self.get_host_and_port()
        requests.post(f"http://{host}:{port}/moto-api/reset", timeout=60).raise_for_status()
