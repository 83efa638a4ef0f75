"""The spool: store requests that were accepted and are not stored yet, as folders on a disk that lasts.

    lock                     held by the one service that uses the spool
    forwarder.lock           held by the one forwarder that works: one that leaves still does, when the next one starts
    identity                 the name of this spool among others
    incoming/<name>          bodies that are being received, entries in the making or deleted; emptied at the start
    queue/<entry>/           accepted: `body`, and `manifest.json`, which says where in the body each instance is
    refused/<entry>/         what the data store refused, with `outcome.json`; it stays until an operator removes it

An entry appears in `queue` by one rename, after its files and its folder are on disk. It leaves by one rename, too, so
that it is whole or not there, whenever a process is killed. What is in `queue` and is no entry is never deleted.

Several services may share a folder, in which each has a spool of its own (`shared`).

`layout` has the folders, `manifest` the text form, `spool` what web processes, the forwarder and commands call.
"""
