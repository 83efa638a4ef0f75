"""The web console at `/console`: pages for people, made on the server. Runs in the web processes.

routes         the parts with their blueprints, and the navigation
console        what all parts are given: the services, pages, paths
frame          refusals as pages, headers of all pages
forms          tokens against forged requests (CSRF)
texts          every word that a person reads
worklist       the list of studies: `study_filter` is its form, `study_list` its rows
study          a study, its series and instances: `study_parts` has the rows, `attribute_tree` the attributes
upload         files to store; without scripts they come in a form, which `form_files` reads
jobs           the queues of the service: `job_lists` has the rows, `job_actions` what operators do with them
operator_reach what an operator may see and change
status         how the service does: `status_facts` has the rows, `status_charts` the charts
access         AE titles and rules, users, tokens and links: `access_parts`, `logins` and `shared` have the rows
audit          the search of the audit trail
readings       names, dates, times and sizes as people read them
static_files   style, scripts and icon, under a path with their version
templates/     one page each; `base.html` is the frame of all

Every page works without scripts. Rights are those of the API, and the gate (`app/auth/middleware.py`) checks them.
"""
