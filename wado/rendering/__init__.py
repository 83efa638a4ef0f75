"""Rendering: pixels and data sets in, pictures and documents out. Runs in the FrameFetcher processes.

functional_groups (what is said of the frame) → grey | colour → overlay → geometry → annotate → encode

presentation  presentation states, applied to the images that they are for
values        attributes of data sets that may be wrong in any way
report*       structured reports and key objects as text and HTML
"""
