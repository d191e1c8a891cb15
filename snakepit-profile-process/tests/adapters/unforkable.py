"""An adapter that does at import what `HOW` says, and cannot be forked after that."""

import asyncio
import os
import socket
import threading

from snakepit import tool

match os.environ["HOW"]:
    case "thread":
        threading.Thread(target=threading.Event().wait, name="pacer", daemon=True).start()
    case "connection":
        CONNECTION = socket.socketpair()
    case "loop":
        LOOP = asyncio.new_event_loop()


@tool
def parent() -> int:
    return os.getppid()
