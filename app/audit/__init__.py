"""Who saw what: each access to patient data as a DICOM audit message (PS3.15 Section A.5).

Runs in the web processes.

middleware    after each view: what was asked for, by whom, and how it ended, as an event
event         that as a value, and the codes of PS3.15
message       an event as XML by the schema of Section A.5.1, or as JSON
queue         a bounded queue and the thread that writes, so that no web thread does
destinations  a file, syslog over TLS or UDP, standard output
configure     the trail that the settings ask for
"""
