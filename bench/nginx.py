"""A private nginx that serves bodies of answers as static files: the limit of this machine (apt: nginx-light)."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import free_port

_CONFIGURATION = """
daemon off;
{user}
worker_processes auto;
pid {folder}/pid;
error_log {folder}/log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    open_file_cache max=10000;
    client_body_temp_path {folder}/temp; proxy_temp_path {folder}/temp; fastcgi_temp_path {folder}/temp;
    uwsgi_temp_path {folder}/temp; scgi_temp_path {folder}/temp;
    server {{ listen 127.0.0.1:{port}; root {folder}/files; }}
}}
"""
_START_SECONDS = 10


class Nginx:
    """A running nginx; `root` is the URL of the folder `files`."""

    def __init__(self, root: str, files: Path, pid: int) -> None:
        self.root = root
        self.pid = pid
        self._files = files

    def put(self, path: str, body: bytes) -> None:
        """Serve a body under a path."""
        file = self._files / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)


@contextmanager
def running_nginx(folder: Path) -> Iterator[Nginx]:
    """An nginx without files, in a temporary folder."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if not program:
        raise FileNotFoundError("nginx is missing: apt-get install nginx-light")
    port, files = free_port(), folder / "files"
    files.mkdir(parents=True)
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(_CONFIGURATION.format(folder=folder, port=port, user=user))
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "log")]
    process = subprocess.Popen(command)
    try:
        give_up = time.monotonic() + _START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"nginx did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield Nginx(f"http://127.0.0.1:{port}", files, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=_START_SECONDS)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
