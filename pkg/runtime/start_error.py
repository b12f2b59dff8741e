"""Why a process cannot start, for the person who started it."""


class StartError(Exception):
    """One clear line a fault: what is wrong and what to do. Ends the start with exit code 1, without a traceback."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
