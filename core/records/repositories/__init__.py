"""One repository per kind of record; `core.records.Records` holds one of each."""
