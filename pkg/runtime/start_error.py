"""Why a process cannot start, for the person who started it."""

import sys


class StartError(Exception):
    """One clear line a fault: what is wrong and what to do. Ends the process with code 1, without more."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def tell(process: str, *faults: str) -> None:
    """Each fault as a line on standard error: the log is for machines, and may not be there yet."""
    for fault in faults:
        sys.stderr.write(f"{process}: {fault}\n")
    sys.stderr.flush()
