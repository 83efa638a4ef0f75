"""The folder of the viewer is made of one known package, whole or not at all, and changed where it must be."""

import gzip
import io
import json
import subprocess
import sys
import tarfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from backports.zstd import decompress

from app.viewer.folder import MARK, ViewerFolder

ROOT = Path(__file__).parents[1]

PACKAGE = {
    "package/LICENSE": b"MIT License",
    "package/README.md": b"not of the viewer",
    "package/dist/index.html": (
        b'<link href="/a.css"><script>x="/"</script><script src="/app-config.js"></script>'
        b'<script type="module" src="/init-service-worker.js"></script>'
        b'<meta name="msapplication-config" content="/assets/browserconfig.xml">'
        b'<link rel="yandex-tableau-widget" href="/assets/yandex-browser-manifest.json">'
    ),
    "package/dist/app.bundle.0f6159c501addfe9.js": (
        b"/*! a library, licence BSD */ /* a remark */\n" + b'__webpack_require__.p = "/"; ' * 8
        + b"browserImportFunction('/dicom-microscopy-viewer/x.js');" + b" " * 2000
        + b"if (!referenceImagePositionPatient || !ImageOrientationPatient) { return instances; }"
    ),
    "package/dist/app.bundle.css": b"url(/a.woff2)" * 5,
    "package/dist/manifest.json": b'"/assets/a.png"' * 9,
    "package/dist/app.bundle.0f6159c501addfe9.js.map": b"{}",
    "package/dist/ort/model.wasm": b"\0asm",
    "package/dist/app-config.js": b"window.config = {}",
    "package/dist/../../escaped.js": b"outside",
}  # fmt: skip


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, for which the small package is the right one."""
    spec = spec_from_file_location("make_viewer", ROOT / "script" / "make_viewer.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_viewer", module)
    spec.loader.exec_module(module)
    places = PACKAGE["package/dist/index.html"].count(b'="/')
    changes = [module.Change(*(*vars(one).values(),)[:3], places if one.times == 35 else one.times)
               for one in module.CHANGES]  # fmt: skip
    monkeypatch.setattr(module, "CHANGES", changes)
    return module


@pytest.fixture
def archive(tmp_path: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = packed(tmp_path / "package.tgz", PACKAGE)
    monkeypatch.setattr(script, "INTEGRITY", script.integrity_of(path))
    return path


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as package:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            package.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("package/dist/link.js")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        package.addfile(link)
    return path


def test_it_has_what_a_page_loads_and_nothing_else(tmp_path: Path, script: ModuleType, archive: Path) -> None:
    folder = tmp_path / "made" / "viewer"
    assert script.make(folder, archive)
    release = folder / json.loads((folder / MARK).read_text())["release"]
    bundle = "app.bundle.0f6159c501addfe9.js"
    assert {path.name for path in folder.iterdir()} == {"index.html", "LICENSES.txt", "viewer.json", release.name}
    names = {path.name for path in release.rglob("*")}
    assert names == {bundle, f"{bundle}.gz", f"{bundle}.zst", "app.bundle.css", "manifest.json"}
    assert not list(tmp_path.rglob("escaped.js"))
    text = (release / bundle).read_bytes()
    assert text.count(b"self.PUBLIC_URL || ") == 8
    assert b"window.PUBLIC_URL + 'dicom-microscopy-viewer/x.js'" in text
    assert gzip.decompress((release / f"{bundle}.gz").read_bytes()) == text
    assert decompress((release / f"{bundle}.zst").read_bytes()) == text
    page = (folder / "index.html").read_text()
    assert (page.count("/viewer/"), page.count(f"/viewer/{release.name}/")) == (3, 2)
    assert '<script src="/viewer/app-config.js">' in page
    assert (release / "app.bundle.css").read_text() == "url(a.woff2)" * 5
    licences = (folder / "LICENSES.txt").read_text()
    assert "MIT License" in licences and "a library, licence BSD" in licences and "a remark" not in licences


def test_browsers_keep_the_files_of_a_release_and_another_one_has_other_names(
    tmp_path: Path, script: ModuleType, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set()
    for integrity in (script.INTEGRITY, "sha512-other"):
        monkeypatch.setattr(script, "INTEGRITY", integrity)
        monkeypatch.setattr(script, "integrity_of", lambda _archive, same=integrity: same)
        script.make(tmp_path / "viewer", archive)
        viewer = ViewerFolder(tmp_path / "viewer")
        release = json.loads((tmp_path / "viewer" / MARK).read_text())["release"]
        names.add(release)
        kept = [viewer.find(f"{release}/{name}") for name in ("app.bundle.0f6159c501addfe9.js", "app.bundle.css")]
        assert all(file and file.is_immutable for file in kept)
        page = viewer.find("index.html")
        assert page and not page.is_immutable
    assert len(names) == 2


def test_it_is_made_once_and_again_when_it_is_not_whole(tmp_path: Path, script: ModuleType, archive: Path) -> None:
    folder = tmp_path / "viewer"
    assert script.make(folder, archive)
    assert not script.make(folder, archive)
    (folder / "viewer.json").unlink()
    (tmp_path / ".viewer.being-made.killed" / "made").mkdir(parents=True)
    assert script.make(folder, archive)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["package.tgz", "viewer", "viewer.lock"]


def test_another_package_is_refused_and_the_folder_stays(tmp_path: Path, script: ModuleType, archive: Path) -> None:
    folder = tmp_path / "viewer"
    script.make(folder, archive)
    (folder / "viewer.json").write_text("{}")
    other = packed(tmp_path / "other.tgz", {**PACKAGE, "package/dist/app.bundle.css": b""})
    with pytest.raises(script.NotMade, match="its SHA-512 is another one"):
        script.make(folder, other)
    assert (folder / "index.html").exists()


def test_what_is_no_viewer_is_not_deleted(tmp_path: Path, script: ModuleType, archive: Path) -> None:
    """Neither the folder that is named, nor one beside it whose name begins like it."""
    own = [tmp_path / "dicom" / "ct.dcm", tmp_path / "dicom.original" / "ct.dcm", tmp_path / "dicom.old" / "ct.dcm"]
    for path in own:
        path.parent.mkdir()
        path.write_bytes(b"mine")
    with pytest.raises(script.NotMade, match="has something else in it"):
        script.make(tmp_path / "dicom", archive)
    (tmp_path / "empty").mkdir()
    assert script.make(tmp_path / "empty", archive)
    assert [path.read_bytes() for path in own] == [b"mine"] * 3


def test_a_place_that_is_missing_is_told(
    tmp_path: Path, script: ModuleType, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = packed(tmp_path / "other.tgz", {**PACKAGE, "package/dist/app.bundle.css": b"url(/a)"})
    monkeypatch.setattr(script, "INTEGRITY", script.integrity_of(other))
    with pytest.raises(script.NotMade, match=r"url\(/ was found 1 times, and not 5"):
        script.make(tmp_path / "viewer", other)
    assert not (tmp_path / "viewer").exists()


def test_a_failure_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file.tgz").write_text("no package")
    made, archive = str(tmp_path / "viewer"), str(tmp_path / "file.tgz")
    command = [sys.executable, str(ROOT / "script" / "make_viewer.py"), made, "--archive", archive]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "viewer: file.tgz is not @ohif/app@3.13.2: its SHA-512 is another one\n"
