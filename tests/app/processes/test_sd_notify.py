"""Who started the service is told how it is; that nobody listens, or takes anything, is no reason to stop."""

import socket
from pathlib import Path

import pytest

from app.processes.sd_notify import READY, WATCHDOG, feed_watchdog, notify


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    path = tmp_path / "notify"
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.bind(str(path))
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    return end


def test_who_started_the_service_is_told(systemd: socket.socket) -> None:
    with systemd:
        notify(READY)
        feed_watchdog()
        assert [systemd.recv(100).decode() for _ in range(2)] == [READY, WATCHDOG]


def test_that_nobody_listens_is_told_in_the_log(systemd: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    systemd.close()
    notify(READY)
    assert "systemd cannot be told state=READY=1 reason=Connection refused" in caplog.text


def test_one_that_takes_nothing_is_not_waited_for(systemd: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    with systemd:
        for _ in range(5000):
            notify(READY)
            if caplog.text:
                break
        assert "systemd cannot be told" in caplog.text
