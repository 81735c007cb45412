"""Tasks and experiments: their stages from a recording to a voice. `service` has the entry point."""
