"""The web server: granian, in a process that has imported the portal before it forks its workers.

`python -m portal.serving` takes granian's own arguments. The workers share what was imported, and one that is started
again begins to answer at once. New code needs a restart, not a reload: the process that forks keeps what it has.
"""

import sys

from granian.cli import entrypoint

# How long a thread may compute while others wait for their turn. Pages compute for some milliseconds and wait for the
# database in between: Python's own 5 ms cut most of them in two, which in a flood of log-ins cost the shop a third
# of its tail (`make bench`, 55 to 43 ms). Half a millisecond made it 85, a tenth of a second nothing better.
_TURN_SECONDS = 0.02

if __name__ == "__main__":
    sys.setswitchinterval(_TURN_SECONDS)
    entrypoint()  # type: ignore[no-untyped-call]  # its decorator hides the types
