"""Backups of a site, and a standby site that takes over from it: what `main.py backup|restore|standby|registry` run."""
