"""The spool: store requests that were accepted and are not stored yet, as files on a disk that lasts.

    lock                     held by the one service that uses the spool
    forwarder.lock           held by the one forwarder that works: one that leaves still does, when the next one starts
    identity                 the name of this spool among others
    incoming/<name>          bodies that are being received, and files in the making; emptied at the start
    queue/<entry>            accepted: a body, and behind it the manifest, which says where in the body each instance is
    refused/<entry>          what the data store refused; it stays until an operator removes it
    refused/<entry>.outcomes.json    the reasons

An entry appears in `queue` by one rename, after its file is on disk. It leaves by one rename or deletion, so that it is
whole or not there, whenever a process is killed. What is in `queue` and is no entry is never deleted.

Several services may share a folder, in which each has a spool of its own (`shared`).

`layout` has the folders, `entry_file` the file of an entry, `manifest` the text form of its end, `spool` what web
processes, the forwarder and commands call.
"""
