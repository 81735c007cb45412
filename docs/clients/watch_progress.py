"""Progress by WebSocket: what a task, a stage or a task of the eleven steps does, until it ends.

    BASE=http://127.0.0.1:9880 KEY=... python watch_progress.py task-…
    BASE=http://127.0.0.1:9880 KEY=... python watch_progress.py exp-… sovits_train

A connection that breaks is opened again and goes on behind the last event. Needs websockets.
"""

import json
import os
import sys
import time

from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")
PAUSE_SECONDS = 1


def main(path: str) -> None:
    last = ""
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    url = BASE.replace("http", "ws", 1) + path
    while True:
        try:
            with connect(f"{url}?last_event_id={last}", additional_headers=headers) as connection:
                for text in connection:  # ends when the server closes after the last event
                    message = json.loads(text)
                    last = message["id"]
                    print(message["event"], json.dumps(message["data"], ensure_ascii=False))
                return
        except (ConnectionClosedError, OSError) as error:
            print(f"Connecting again: {error}", file=sys.stderr)
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(f"/api/v1/{'tasks' if sys.argv[1].startswith('task-') else 'task'}/{sys.argv[1]}/ws")
    elif len(sys.argv) == 3:
        main(f"/api/v1/experiments/{sys.argv[1]}/stages/{sys.argv[2]}/ws")
    else:
        sys.exit(__doc__)
