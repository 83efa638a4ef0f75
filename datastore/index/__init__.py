"""The index filler: rows of the metadata index from image-set metadata. Runs in the process of an import."""
