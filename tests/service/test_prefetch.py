"""What was ordered to be loaded is there when it is asked for, and AHI is not asked again."""

import signal
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import update

from db.schema import study
from tests.servers import engine_of
from tests.service.ahi import Ahi
from tests.service.archive import Sample
from tests.service.process import Service
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def index(datastore_root: Path, tmp_path: Path) -> str:
    """An index of its own."""
    copied = tmp_path / "index.sqlite"
    copied.write_bytes((datastore_root / "index.sqlite").read_bytes())
    return f"sqlite:///{copied}"


def _service(folder: Path, index: str, ahi: Ahi, **more: str) -> Service:
    return Service(folder, ahi.environment(DATABASE_URL=index, **more))


def _wait(service: Service, done: int) -> dict[str, int]:
    url = f"{service.root}/prefetch"

    def finished() -> bool:
        status = requests.get(url, timeout=PATIENCE_SECONDS).json()
        return bool(status["done"] + status["failed"] >= done and not status["waiting"])

    service.wait(finished)
    status: dict[str, int] = requests.get(url, timeout=PATIENCE_SECONDS).json()
    return status


def test_an_order_is_accepted_worked_on_and_told_about(
    samples: dict[str, Sample], ahi: Ahi, index: str, tmp_path: Path
) -> None:
    service = _service(tmp_path, index, ahi)
    ct, mr = samples["CT_small.dcm"], samples["emri_small_jpeg_2k_lossless.dcm"]
    frames = 1 + int(mr.read().NumberOfFrames)
    ahi.calls()
    series = {"study": mr.study_instance_uid, "series": mr.series_instance_uid}
    body: Any = {"studies": [ct.study_instance_uid, "1.2.3.4.5.6"], "series": [series]}
    answer = requests.post(f"{service.root}/prefetch", json=body, timeout=PATIENCE_SECONDS)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 3)
    assert _wait(service, 3) == {"waiting": 0, "done": 2, "failed": 1, "frames": frames}
    assert ahi.calls()["GetImageFrame"] == frames
    for sample in (ct, mr):
        study_uid, series_uid, instance_uid = sample.uids
        path = f"/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}"
        assert service.status(f"{path}/frames/1") == service.status(f"{path}/metadata") == 200
    assert ahi.calls() == {}
    plain = requests.post(f"{service.root}/prefetch", data="{}", timeout=PATIENCE_SECONDS)
    large = requests.post(f"{service.root}/prefetch", json={"studies": ["1" * 300_000]}, timeout=PATIENCE_SECONDS)
    assert (plain.status_code, large.status_code) == (400, 400)
    assert service.stop() == 0


def test_priors_of_a_patient_of_today_are_loaded_by_a_rule(
    samples: dict[str, Sample], ahi: Ahi, index: str, tmp_path: Path
) -> None:
    prior, current = samples["CT_small.dcm"], samples["MR_small.dcm"]
    with engine_of(index) as engine, engine.begin() as connection:
        connection.execute(update(study).values(studydate=None))
        uid = study.c.studyinstanceuid
        today, before = date.today(), date.today() - timedelta(days=5)
        patient = connection.execute(study.select().where(uid == current.study_instance_uid)).one().patient_pkey
        connection.execute(update(study).where(uid == current.study_instance_uid).values(studydate=today))
        changed = {"studydate": before, "patient_pkey": patient}
        connection.execute(update(study).where(uid == prior.study_instance_uid).values(changed))
    ahi.calls()
    service = _service(tmp_path, index, ahi, PREFETCH="priors:30d@600m")
    assert _wait(service, 1) == {"waiting": 0, "done": 1, "failed": 0, "frames": 1}
    calls = ahi.calls()
    assert (calls["GetImageSetMetadata"], calls["GetImageFrame"]) == (1, 1)
    service.logs("prefetch rule evaluated studies=1")
    assert service.stop() == 0


def test_a_reload_takes_it_to_another_index(samples: dict[str, Sample], ahi: Ahi, index: str, tmp_path: Path) -> None:
    first, settings = tmp_path / "first.sqlite", tmp_path / "settings.env"
    first.write_bytes(Path(index.removeprefix("sqlite:///")).read_bytes())
    settings.touch()
    service = _service(tmp_path, f"sqlite:///{first}", ahi, SETTINGS_FILE=str(settings))
    ct = {"studies": [samples["CT_small.dcm"].study_instance_uid]}

    def reload(*lines: str) -> None:
        settings.write_text("\n".join(lines))
        before = service.log.count("[Reload] - new web processes take over")
        service.process.send_signal(signal.SIGHUP)
        service.wait(lambda: service.log.count("[Reload] - new web processes take over") > before)

    old = service.all_named("prefetch", 1)
    reload("LOG_LEVEL=DEBUG")
    assert service.named("prefetch") == old
    reload(f"DATABASE_URL={index}")
    service.wait(lambda: not set(old) & set(service.named("prefetch")))
    first.unlink()
    assert requests.post(f"{service.root}/prefetch", json=ct, timeout=PATIENCE_SECONDS).status_code == 202
    status = _wait(service, 1)
    assert (status["done"], status["failed"], status["frames"]) == (1, 0, 1)
    assert service.stop() == 0


def test_a_process_that_is_replaced_hands_its_orders_on(
    samples: dict[str, Sample], ahi: Ahi, index: str, tmp_path: Path
) -> None:
    settings, studies = tmp_path / "settings.env", sorted({one.study_instance_uid for one in samples.values()})
    (tmp_path / "second.sqlite").write_bytes(Path(index.removeprefix("sqlite:///")).read_bytes())
    settings.touch()
    service = _service(tmp_path, index, ahi, SETTINGS_FILE=str(settings))
    (old,) = service.all_named("prefetch", 1)
    ahi.faults("GetImageFrame:latency=10s")  # the old one may do one in that time
    try:
        assert (
            requests.post(f"{service.root}/prefetch", json={"studies": studies}, timeout=PATIENCE_SECONDS).status_code
            == 202
        )
        settings.write_text(f"DATABASE_URL=sqlite:///{tmp_path}/second.sqlite")
        service.process.send_signal(signal.SIGHUP)
        service.wait(lambda: old not in service.named("prefetch"))
    finally:
        ahi.faults("")
    status = _wait(service, 1)
    assert len(studies) - 3 <= status["done"] + status["failed"] <= len(studies)  # some the old one had done
    assert status["frames"] > len(studies) / 2
    assert service.stop() == 0


@pytest.mark.parametrize("way", ["rendered", "thumbnail", "uri"])
def test_who_goes_from_picture_to_picture_finds_the_next_frames_fetched(
    way: str, samples: dict[str, Sample], ahi: Ahi, index: str, tmp_path: Path
) -> None:
    service = _service(tmp_path, index, ahi, WEB_PROCESSES="2")
    mr = samples["emri_small_jpeg_2k_lossless.dcm"]
    frames = int(mr.read().NumberOfFrames)
    study, series, instance = mr.uids
    uri = f"/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}&frameNumber="
    path = f"/studies/{study}/series/{series}/instances/{instance}/frames/"

    def show(number: int) -> None:
        assert service.status(f"{uri}{number}" if way == "uri" else f"{path}{number}/{way}") == 200

    def fetched() -> int:
        return len(list((tmp_path / "cache").glob("*/frames/*/*.stored")))

    show(1)
    assert fetched() == 1
    show(2)
    show(3)  # one of the two web processes has seen two of them now
    service.wait(lambda: fetched() == frames)
    ahi.calls()
    for number in range(4, frames + 1):
        show(number)
    assert ahi.calls() == {}
    assert service.stop() == 0
