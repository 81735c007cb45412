#!/usr/bin/env bash
# Stop the service that start_service.sh started. From any folder.
#
#   stop_service.sh               SIGTERM, and wait until speech and trainings have been brought to an end
#   stop_service.sh -f            SIGKILL after five seconds for what is left
#   stop_service.sh --cleanup     stop, and remove temporary files: scratch of tasks, pid file, sockets; never uploads,
#                                 voices or records
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
force="" cleanup=""
while [ $# -gt 0 ]; do
  case $1 in
    -f | --force) force=yes ;;
    --cleanup) cleanup=yes ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) echo "stop_service.sh: $1 is no option; there are -f, --cleanup and -h." >&2; exit 2 ;;
  esac
  shift
done
python=$PWD/.venv/bin/python
[ -x "$python" ] || python=$(command -v python3)
pid_file=$PWD/run/service.pid
pid=$(cat "$pid_file" 2>/dev/null || true)

descendants() { for child in $(pgrep -P "$1" || true); do echo "$child"; descendants "$child"; done; }
runs() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null && [ "$(ps -o stat= -p "$1" | cut -c1)" != Z ]; }

if ! runs "$pid"; then
  echo "The service does not run."
else
  all="$pid $(descendants "$pid")"
  kill -TERM "$pid"
  if [ -n "$force" ]; then
    for _ in $(seq 1 50); do runs "$pid" || break; sleep 0.1; done
    # shellcheck disable=SC2086  # a list of process ids
    runs "$pid" && kill -KILL $all 2>/dev/null || true
  fi
  while runs "$pid"; do sleep 0.1; done
  echo "The service has stopped."
fi
rm -f "$pid_file"
if [ -n "$cleanup" ]; then
  "$python" server/clean_up.py
fi
