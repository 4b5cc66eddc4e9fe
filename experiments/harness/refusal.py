"""What is the user's to mend."""


class Refusal(Exception):
    """A request that cannot be carried out: its message is shown, and the exit status is 2."""
