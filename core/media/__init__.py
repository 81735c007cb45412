"""Audio files: untrusted ones are decoded in a limited child process; our own speech is encoded.

It imports nothing: the child, which is started for every file, would load the settings and Redis with it.
"""
