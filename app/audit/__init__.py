"""The audit trail: each access to patient data as a DICOM audit message (PS3.15 Section A.5).

Runs in the web processes.

middleware    makes an event of each answer: the request, the user, the outcome
event         an event as a value, and the codes of PS3.15
message       an event as XML by the schema of Section A.5.1, or as JSON
queue         a bounded queue, and the one thread that writes
destinations  a file, syslog over TLS or UDP, standard output
record        a message that a file has, read back
trail_files   the files of the trail, read backwards
search        the messages of files that fit, step by step
configure     makes all of it from the settings
"""
