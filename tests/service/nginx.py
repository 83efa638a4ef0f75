"""Debian's nginx with the configuration that the project shows, between a client and a service on this machine."""

import os
import shutil
import socket
import subprocess
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.servers import Process, free_port

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "nginx" / "ahi-dicomweb-proxy.conf"

_AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    sendfile on;
    tcp_nopush on;
    ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;
    ssl_prefer_server_ciphers on;
    access_log {folder}/access.log;
    gzip on;
    gzip_types application/json application/dicom+json application/octet-stream;
    include {folder}/site.conf;
}}
"""
"""What /etc/nginx/nginx.conf of Debian has around it, on files of ours."""


class Nginx:
    """A running nginx that answers as `localhost` with a certificate of its own."""

    def __init__(self, service_port: int) -> None:
        """In front of what listens, or will listen, on that port."""
        self.port, self.plain_port = free_port(), free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="test-nginx-"))
        self._folder.chmod(0o711)  # the workers are another user where we are root
        self.certificate = self._folder / "certificate.pem"
        key = self._folder / "key.pem"
        _certify("localhost", self.certificate, key)
        text = CONFIGURATION.read_text()
        for shown, ours in (
            ("listen 80;", f"listen 127.0.0.1:{self.plain_port};"),
            ("listen 443 ", f"listen 127.0.0.1:{self.port} "),
            ("server 127.0.0.1:8080;", f"server 127.0.0.1:{service_port};"),
            ("/etc/ssl/certs/dicom.example.org.pem", str(self.certificate)),
            ("/etc/ssl/private/dicom.example.org.key", str(key)),
            ("/var/log/nginx", str(self._folder)),
            ("dicom.example.org;", "localhost;"),
        ):
            assert shown in text
            text = text.replace(shown, ours)
        (self._folder / "site.conf").write_text(text)
        configuration = self._folder / "nginx.conf"
        configuration.write_text(_AROUND.format(folder=self._folder))
        nginx = shutil.which("nginx", path=f"/usr/sbin:{os.environ['PATH']}")
        assert nginx, "nginx is missing: apt-get install nginx"
        command = [nginx, "-e", str(self._folder / "error.log"), "-c", str(configuration)]
        understood = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert understood.returncode == 0, understood.stderr
        self._process = Process(self._folder, command, self._answers)
        for name in ("body", "proxy"):  # what is to be written to a file from here on is an error
            (self._folder / name).rmdir()

    def _answers(self) -> None:
        socket.create_connection(("127.0.0.1", self.port)).close()

    @property
    def origin(self) -> str:
        """What URLs begin with."""
        return f"https://localhost:{self.port}"

    @property
    def root(self) -> str:
        """The service root, as a client is configured."""
        return f"{self.origin}/aetitle"

    @property
    def logged(self) -> str:
        """All that it wrote to any log."""
        return "".join(path.read_text() for path in self._folder.glob("*.log"))

    def close(self) -> None:
        """End it and remove its folder."""
        self._process.close()


def _certify(name: str, certificate: Path, key: Path) -> None:
    """Write a private key and a certificate for `name` that it signs itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    key.touch(mode=0o600)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
