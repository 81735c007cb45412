#!/usr/bin/env bash
# Start the service. From any folder.
#
#   start_service.sh                          development: one API process, code read again when it changes, log on the screen
#   start_service.sh -m production [-w N]     production, with N API processes behind one port (default: 1)
#   start_service.sh --daemon                 goes to the background and returns once requests are answered
#
# Options combine: -m production -w 4 --daemon. The log of --daemon is logs/service.log. Settings: the environment, .env,
# config.yaml. HOST and PORT say where it listens; without them at 127.0.0.1:8000.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
mode=development workers="" daemon=""
fail() { echo "start_service.sh: $1" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    -m | --mode) [ $# -ge 2 ] || fail "$1 needs development or production."; mode=$2; shift ;;
    -w | --workers) [ $# -ge 2 ] || fail "$1 needs a number."; workers=$2; shift ;;
    -d | --daemon) daemon=yes ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) fail "$1 is no option; there are -m MODE, -w N, --daemon and -h." ;;
  esac
  shift
done
case $mode in development | production) ;; *) fail "$mode is no mode; there are development and production." ;; esac
[[ -z $workers || $workers =~ ^[1-9][0-9]?$ ]] || fail "-w is $workers; it is a number from 1 to 99."
[ "$mode" = production ] || [ -z "$workers" ] || [ "$workers" = 1 ] || fail "-w $workers goes with -m production: development has one API process."

python=$PWD/.venv/bin/python
[ -x "$python" ] || python=$(command -v python3)
run=$PWD/run pid_file=$PWD/run/service.pid log=$PWD/logs/service.log
mkdir -p "$run" "$(dirname "$log")"
if [ -s "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null; then
  echo "The service runs already (process $(cat "$pid_file")). stop_service.sh ends it."
  exit 0
fi
cores=$(nproc 2>/dev/null || echo 1)
if [ -n "$workers" ] && [ "$workers" -gt "$cores" ]; then
  echo "Note: $workers API processes on $cores cores; more than one a core makes nothing faster."
fi
# The training service's port, unless a setting names another one.
if [ -z "${PORT:-}${API_PORT:-}" ] && ! grep -qsE '^(API_)?PORT=' .env && ! grep -qsE '^ *port:' config.yaml config/config.yaml; then
  export PORT=8000
fi
if [ "$mode" = production ]; then
  command=("$python" main.py serve)
  [ -z "$workers" ] || command+=(--api-workers "$workers")
else
  address=$("$python" -c 'from core.settings import settings; print(settings().host, settings().port)')
  command=("$python" -m uvicorn server.training_service:app --host "${address% *}" --port "${address#* }" --reload)
  for folder in api core common supervisor roles server GPT_SoVITS; do command+=(--reload-dir "$folder"); done
fi
if [ -z "$daemon" ]; then
  echo $$ > "$pid_file"  # exec keeps the process
  exec "${command[@]}"
fi

setsid nohup "${command[@]}" >> "$log" 2>&1 < /dev/null &
pid=$!
echo "$pid" > "$pid_file"
for _ in $(seq 1 600); do
  if ! kill -0 "$pid" 2>/dev/null; then
    rm -f "$pid_file"
    echo "The service ended at its start. The end of $log:" >&2
    tail -n 15 "$log" >&2
    exit 1
  fi
  if url=$("$python" server/is_running.py 2>/dev/null); then
    echo "The service runs at $url (process $pid, log: $log)."
    exit 0
  fi
  sleep 0.2
done
echo "The service does not answer yet; $log says why. stop_service.sh ends it." >&2
exit 1
