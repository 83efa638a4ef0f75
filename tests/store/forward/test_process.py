"""The name under which a forwarder takes leases stays that of its spool."""

import shutil
import socket
from pathlib import Path

import pytest

from store.forward.process import holder_name
from store.spool.spool import Spool


def opened(folder: Path) -> Spool:
    spool = Spool(folder)
    spool.open()
    return spool


def test_the_next_forwarder_of_a_spool_has_the_leases_of_the_one_before(tmp_path: Path) -> None:
    name = holder_name(opened(tmp_path / "spool"))
    assert holder_name(opened(tmp_path / "spool")) == name
    assert holder_name(opened(tmp_path / "other")) != name


def test_a_copy_of_a_spool_on_another_machine_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = holder_name(opened(tmp_path / "spool"))
    shutil.copytree(tmp_path / "spool", tmp_path / "copy")
    assert holder_name(opened(tmp_path / "copy")) == name, "on one machine, it may have been moved"
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert holder_name(opened(tmp_path / "copy")) != name
