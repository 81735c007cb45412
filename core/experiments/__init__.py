"""Tasks and experiments: their stages from a recording to a voice.

`service` is the entry point and names its components. `lifecycle` has the rules by which runs begin and end, on the
records of one experiment; the components apply them in transactions and tell queue and watchers.
"""
