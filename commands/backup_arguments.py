"""The options of the commands that make, restore and stand by with backups."""

from __future__ import annotations

import argparse


def add_backup_commands(parser: argparse.ArgumentParser) -> None:
    """Add `backup now|list|verify|prune`."""
    commands = parser.add_subparsers(dest="backup_command", metavar="COMMAND", required=True)
    now = commands.add_parser("now", help="make a backup, also while the service runs")
    now.add_argument("--to", default="", metavar="TARGET", help="folder or bucket (default: BACKUP_URL)")
    now.add_argument("--check-all", action="store_true", help="read back what is there already, and replace damage")
    now.add_argument("--without-speech", action="store_true", help="do not note how each voice speaks a sentence")
    now.add_argument("--prune", action="store_true", help="delete old backups afterwards")
    listing = commands.add_parser("list", help="all backups, newest first")
    verify = commands.add_parser("verify", help="read every object of a backup, open its records, count its voices")
    verify.add_argument("name", metavar="NAME", nargs="?", default="latest", help="default: the newest")
    prune = commands.add_parser("prune", help="delete backups beyond BACKUP_KEEP_DAYS and BACKUP_KEEP_COUNT")
    for command in (listing, verify, prune):
        command.add_argument("--from", dest="source", default="", metavar="TARGET", help="default: BACKUP_URL")
    add_json(now, listing, verify, prune)


def add_restore_command(parser: argparse.ArgumentParser) -> None:
    """Add the options of `restore`."""
    parser.add_argument("name", metavar="NAME", help="name of a backup, or latest")
    parser.add_argument(
        "--from", dest="source", default="", metavar="TARGET", help="folder, bucket or tar.gz (default: BACKUP_URL)"
    )
    parser.add_argument("--data-path", required=True, metavar="EMPTY", help="the data folder to fill")
    parser.add_argument("--force", action="store_true", help="move aside what is in the folder")
    parser.add_argument("--accept-difference", action="store_true", help="although keys or voices differ")
    parser.add_argument("--without-speech", action="store_true", help="do not have the voices speak")
    parser.add_argument(
        "--changes-until", type=int, metavar="NUMBER", help="last batch of changes to apply; 0 for none (default: all)"
    )
    add_json(parser)


def add_json(*parsers: argparse.ArgumentParser) -> None:
    """Add `--json` to commands that print steps."""
    for parser in parsers:
        parser.add_argument("--json", action="store_true", help="as JSON, one object a line")
