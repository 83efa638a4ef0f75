"""Finding and reading: image sets by study and series, and frames, from the cache or through the FrameFetchers.

Runs in the web processes; `located_image_sets`, `frames` and `deletion_recheck` also in the prefetch process.
`ahi.image_sets` has the format of image sets; this room decides which of them a request reads, and from where.
"""
