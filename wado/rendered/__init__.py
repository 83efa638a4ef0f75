"""Rendered resources and thumbnails (PS3.18 Sections 8.3.5, 10.4.1.1.3, 10.4.1.1.4).

routes, pictures, presented_images   in the web processes: from the cache, or by a job
draw, objects                        the jobs, in the FrameFetcher processes: `wado.rendering` makes the pictures
"""
