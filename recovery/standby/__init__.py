"""A standby site: it follows the backups of the main site, and takes over when that fails, never beside it.

epochs.py        which site is the primary one
site.py          what this site keeps about its role
audit_chain.py   what it did, each entry with the hash of the one before
probe.py, watch.py, procedure.py, switch.py, handover.py, drill.py, doctor.py
"""
