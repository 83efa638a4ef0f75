"""A file that is read where it is sliced: one that is mapped kills the process when somebody else cuts it short."""

from runtime.file_piece import FilePiece


class FileView:
    """The bytes of a piece of a file, which is closed when nobody has the view any more."""

    def __init__(self, piece: FilePiece) -> None:
        self._piece = piece

    def __len__(self) -> int:
        return len(self._piece)

    def __getitem__(self, bounds: slice) -> bytes:
        start, stop, _ = bounds.indices(len(self._piece))
        return self._piece.read(self._piece.start + start, self._piece.start + max(start, stop))
