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


def add_registry_commands(parser: argparse.ArgumentParser) -> None:
    """Add `registry show|check`."""
    commands = parser.add_subparsers(dest="registry_command", metavar="COMMAND", required=True)
    show = commands.add_parser("show", help="the release id of every voice, made of the hashes of all that speaks")
    check = commands.add_parser("check", help="compare with a backup, and name what differs")
    check.add_argument("name", metavar="NAME", nargs="?", default="latest", help="default: the newest")
    check.add_argument("--from", dest="source", default="", metavar="TARGET", help="default: BACKUP_URL")
    add_json(show, check)


def add_standby_commands(parser: argparse.ArgumentParser) -> None:
    """Add `standby watch|switch|return|drill|status|doctor|warm`, and what a return calls on the main site."""
    commands = parser.add_subparsers(dest="standby_command", metavar="COMMAND", required=True)
    watch = commands.add_parser("watch", help="probe the main site, fetch its backups ahead, alert, switch")
    watch.add_argument("--main", default="", metavar="URL", help="address of the main site (default: STANDBY_MAIN_URL)")
    watch.add_argument("--automatic", action="store_true", help="switch without asking (default: STANDBY_AUTOMATIC)")
    watch.add_argument("--rounds", type=int, default=0, metavar="N", help="end after N probes (default: never)")
    switch = commands.add_parser("switch", help="make this site the primary one, or go on with that")
    switch.add_argument("--confirm", action="store_true", help="do it")
    back = commands.add_parser("return", help="give the service back to the main site, in steps")
    back.add_argument("--to", default="", metavar="URL", help="address of the main site (default: STANDBY_MAIN_URL)")
    drill = commands.add_parser("drill", help="restore, start and speak in a scratch folder, and report")
    drill.add_argument("--without-speech", action="store_true", help="only restore and compare")
    status = commands.add_parser("status", help="role, epoch, newest backup, watch, switch and drill")
    doctor = commands.add_parser("doctor", help="what would keep this site from taking over")
    warm = commands.add_parser("warm", help="restore and start now; write once this site is the primary one")
    prefetch = commands.add_parser("prefetch", help="fetch the files of the newest backup")
    changes = commands.add_parser("changes", help="changes of the records that were never backed up")
    take_back = commands.add_parser("take-back", help="on the main site: stop, and restore the standby's backup")
    take_back.add_argument("name", metavar="NAME")
    identity = commands.add_parser("identity", help="the id of this site")
    start = commands.add_parser("start", help="start the service on this host")
    for command in (switch, back, take_back):
        command.add_argument("--accept-difference", action="store_true", help="although something differs; audited")
    add_json(watch, switch, back, drill, status, doctor, warm, prefetch, changes, take_back, identity, start)
