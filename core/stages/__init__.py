"""The stages between a recording and a voice.

`stage` is the catalog; `order` says what depends on what, `parameters` and `parameter_schema` what a stage takes,
`outputs` what it leaves, `presets` what is run together.
"""
