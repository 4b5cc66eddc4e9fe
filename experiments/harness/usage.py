"""What whoever gave a command has to mend."""


class UsageError(Exception):
    """A request that cannot be carried out: its message is shown, and the exit status is 2."""
