"""Settings of the audit that cannot work stop the start, and are named."""

from pathlib import Path

import pytest

from app.audit.configure import announce, check_audit
from app.audit.event import EventKind
from app.settings import Settings, SettingsError
from tests.app.audit.messages import read


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"AUDIT": "file"}, "AUDIT_FILE is not set"),
        ({"AUDIT": "file", "AUDIT_FILE": "/nowhere/audit"}, "AUDIT_FILE /nowhere/audit: No such file or directory"),
        ({"AUDIT": "syslog"}, "AUDIT_SYSLOG is not set"),
        ({"AUDIT": "syslog", "AUDIT_SYSLOG": "http://x"}, "AUDIT_SYSLOG is not like tls://"),
        ({"AUDIT": "syslog", "AUDIT_SYSLOG": "tls://x", "AUDIT_SYSLOG_CA": "/nowhere"}, "AUDIT_SYSLOG_CA"),
        ({"AUDIT": "paper"}, "AUDIT is none of none, file, syslog, stdout, cloudwatch"),
        ({"AUDIT_FAILURE": "hope"}, "AUDIT_FAILURE is none of continue, refuse"),
    ],
)
def test_an_audit_that_cannot_work_stops_the_start(environment: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        check_audit(Settings.from_env(environment))


def test_the_start_is_in_the_file_and_that_a_stop_cannot_be_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "audit"
    settings = Settings.from_env({"AUDIT": "file", "AUDIT_FILE": str(path)})
    announce(settings, EventKind.START)
    assert read(path.read_bytes()).type == "110120"
    path.unlink()
    (tmp_path / "folder").rmdir()
    announce(settings, EventKind.STOP)
    assert "audit cannot be written" in caplog.text


@pytest.mark.parametrize("scheme", ["tls", "udp"])
def test_a_receiver_that_is_away_does_not_stop_the_start(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.from_env({"AUDIT": "syslog", "AUDIT_SYSLOG": f"{scheme}://no-such-host.invalid"})
    check_audit(settings)
    announce(settings, EventKind.START)
    assert "audit cannot be written" in caplog.text
