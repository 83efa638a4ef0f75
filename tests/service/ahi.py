"""AWS HealthImaging as the service sees it: the local data store as a server of its own."""

import os
import subprocess
import sys
from pathlib import Path

import requests

from tests.servers import free_port
from tests.service.process import ROOT
from tests.waiting import PATIENCE_SECONDS

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


class Ahi:
    """The data store as a server of its own, which can go and come back on the same port."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, **settings: str) -> dict[str, str]:
        """The variables of a service in front of it, with the index of the data store, and with these settings."""
        index = f"sqlite:///{self._root / 'index.sqlite'}"
        own = {"DATABASE_URL": index, "AWS_ENDPOINT_URL_MEDICAL_IMAGING": self.url}
        return {**CREDENTIALS, **own, **settings}

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "main.py", "datastore", "--port", str(self.port)],
            cwd=ROOT,
            env={**os.environ, "DATASTORE_ROOT": str(self._root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout
        assert self._process.stdout.readline().startswith(b"AWS_ENDPOINT_URL")

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.stdout
        self._process.stdout.close()
        self._process.wait(timeout=PATIENCE_SECONDS)

    def calls(self) -> dict[str, int]:
        """How many calls of each operation came since the last time that this was asked."""
        counted: dict[str, int] = requests.delete(f"{self.url}/calls", timeout=PATIENCE_SECONDS).json()
        return counted

    def faults(self, text: str) -> None:
        """Inject faults; none for an empty text."""
        answer = requests.put(f"{self.url}/faults", json={"faults": text}, timeout=PATIENCE_SECONDS)
        answer.raise_for_status()
