"""Slices of a file, read when they are used. A mapped file would kill the process when somebody else truncates it."""

from runtime.file_piece import FilePiece


class FileView:
    """The bytes of a piece of a file. The file is closed together with the last reference to the view."""

    def __init__(self, piece: FilePiece) -> None:
        self._piece = piece

    def __len__(self) -> int:
        return len(self._piece)

    def __getitem__(self, bounds: slice) -> bytes:
        start, stop, _ = bounds.indices(len(self._piece))
        return self._piece.read(self._piece.start + start, self._piece.start + max(start, stop))
