"""Authentication, and the access rules for each caller. Runs in the web processes.

middleware    the check before each view: principal and scope
gate          the authenticators and rules that the check uses
configure     makes the gate from the settings
principal     the caller, and the credentials of a request
basic, bearer, oidc, alb    one authenticator each
login_file    users and tokens of a file, as all processes know them
login_editor  changes of such a file, which people edit, too
claims        from the claims of a token to a principal
keys          public keys that sign tokens, fetched and cached
access_rules  from a principal to a scope
links         signed URLs that show one study
"""
