"""Backups: content-addressed objects and signed manifests in a folder or a bucket, made while the service runs.

target.py, bucket_target.py   where backups lie: a folder, or a bucket
names.py                      names and keys in a target
signatures.py                 who made a backup
manifest.py, objects.py       what a backup consists of; its objects under their SHA-256
sources.py                    the files that belong to one
records_export.py             the records as one state, table by table
release_ids.py                what speaks, by its hashes
create.py, verify.py, retention.py, restore.py
"""
