"""The receiving side of the Store transaction: from the bytes of a request to instances that may be stored.

Runs in the web processes.

content_type  the Content-Type of a body or a part
body          the body of a request, written to a file of the spool as it comes in
file_bytes    bytes of that file, read in windows
multipart     the parts of a multipart body, as ranges of the file
part10        the head of a DICOM file (Part 10): UIDs, transfer syntax, and whether the file is whole
metadata      metadata in JSON or XML, whose bulk data come apart
assembly      DICOM files made of both
request       the head of a request: what is refused, and how the body is read
instances     what may be stored of a body, and why the rest may not
"""
