"""AHI's wire protocol over the image sets of a folder, and its faults. Runs in the process of the data store."""
