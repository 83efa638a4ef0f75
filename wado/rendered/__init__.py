"""Rendered resources and thumbnails (PS3.18 Sections 8.3.5, 10.4.1.1.3, 10.4.1.1.4).

In the web processes: routes → plan (with representative) → rendered_images (from the cache, or by a job)
    presented_images  the images of a presentation state
    documents         encapsulated documents
    charset           character sets of rendered text
In the FrameFetcher processes, as jobs that call `wado.rendering`: frame_jobs, object_jobs, presentation_jobs
"""
