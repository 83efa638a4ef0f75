"""Authentication, and what each caller may see. Runs in the web processes.

gate          one question before each request: who is it, and which scope is theirs
principal     who it is, and the credentials they gave
basic, bearer, oidc, alb    one way each to prove it
claims        from the claims of a token to a principal
keys          public keys that sign tokens, fetched and kept
access_rules  from a principal to what they may see
links         signed URLs that show one study to whoever has them
"""
