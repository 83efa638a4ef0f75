"""Rendered resources and thumbnails (PS3.18 Sections 8.3.5, 10.4.1.1.3, 10.4.1.1.4).

routes → parameters (parse) → drawn (from the cache, or) → draw (the job: one picture, in a fetcher)
    draw: groups (what is said of the frame) → grey | colour → overlay → geometry → annotate → encode

presentation  presentation states, applied to the images that they are for
values        attributes of data sets that may be wrong in any way
report*       structured reports and key objects as text and HTML
"""
