"""Why a process cannot start, for the person who started it."""


class StartError(Exception):
    """One clear line a fault: what is wrong and what to do. Ends the process with code 1, without more."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
