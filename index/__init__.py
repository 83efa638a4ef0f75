"""The index of our own: filled from AHI, followed, and compared. `writing/` turns metadata of image sets into rows."""
