"""A folder that services share, on a network file system: each has a spool of its own below it, `0`, `1` and so on.

A service takes the first spool that no other one uses. What a service leaves when it ends for good, another one takes
over: a task of ECS that ends never comes back under its own name.
"""

from pathlib import Path

from store.spool.layout import Layout, SpoolInUse, SpoolLock, is_entry_name

_MOST = 1000


def layouts_in(root: Path) -> list[Layout]:
    """The spools below a folder, in the order of their numbers; OSError."""
    numbers = sorted(int(path.name) for path in root.iterdir() if path.name.isascii() and path.name.isdigit())
    return [Layout(root / str(number)) for number in numbers]


def take_spool(root: Path) -> SpoolLock:
    """Lock a spool that no other service uses, and make it if there is none; OSError, or SpoolInUse if all are used."""
    for number in range(_MOST):
        layout = Layout(root / str(number))
        layout.make()
        try:
            return SpoolLock(layout, wait_seconds=0)
        except SpoolInUse:
            continue
    raise SpoolInUse(f"{_MOST} services use it")


def take_over(own: Layout) -> list[str]:
    """Move the entries of the spools beside `own` that no service uses into `own`. Returns their names; OSError."""
    taken: list[str] = []
    for layout in layouts_in(own.root.parent):
        if layout.root != own.root and _entries(layout):
            try:
                lock = SpoolLock(layout, wait_seconds=0)
            except SpoolInUse:
                continue
            try:
                taken += _move_all(layout, own)
            finally:
                lock.close()
    return taken


def _entries(layout: Layout) -> list[Path]:
    folders = [folder for folder in (layout.queue, layout.refused) if folder.is_dir()]
    return [path for folder in folders for path in folder.iterdir() if is_entry_name(path.name)]


def _move_all(source: Layout, target: Layout) -> list[str]:
    source.empty_incoming()
    entries = _entries(source)
    for entry in entries:
        target.adopt(entry)
    return [entry.name for entry in entries]
