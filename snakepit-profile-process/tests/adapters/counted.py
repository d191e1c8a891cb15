"""An adapter that counts its imports and fails in the way that `HOW` says."""

import os
import sys
import time

with open(os.environ["NOTES"], "a", encoding="utf-8") as file:
    file.write("import\n")

if os.environ["HOW"] == "exit":
    print("out of luck", file=sys.stderr, flush=True)
    os._exit(9)
if os.environ["HOW"] == "hang":
    time.sleep(1000)
raise RuntimeError("not today")
