"""The index filler: image-set metadata to rows of the metadata index. Runs in the process of an import."""
