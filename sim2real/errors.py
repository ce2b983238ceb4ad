"""The one error type that users are meant to read."""


class ShoalError(Exception):
    """A problem the user can fix: one sentence with the field, the value and what to do.

    Command lines print the sentence without a traceback and exit with status 2.
    """


class ContractMismatch(ShoalError):
    """Two sides of a hand-over disagree; the sentence names each field and both values."""
