"""Other people's models, over HTTPS.

Import `pull`, `push` and `huggingface` when they are first needed: the HTTP client costs the server 13 MB.
"""
