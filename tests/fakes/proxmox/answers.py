"""How the API says no, and the few answers that are more than data."""


class Refusal(Exception):
    """An error answer: its text goes into the reason phrase."""

    def __init__(self, status, text, errors=None, empty=False):
        super().__init__(text)
        self.status = status
        self.text = text
        self.errors = errors
        self.empty = empty  # such an answer has no body at all


class Failed(Refusal):
    """What Proxmox's own code dies with."""

    def __init__(self, text):
        super().__init__(500, text)


class Listing:
    """A list with the `total` that Proxmox puts next to its data."""

    def __init__(self, rows, total):
        self.rows = rows
        self.total = total


def bad_parameters(errors):
    """What the schema complains about, by parameter."""
    return Refusal(400, "Parameter verification failed.", errors)


def forbidden(detail=None):
    """A right that is missing."""
    text = "Permission check failed"
    return Refusal(403, f"{text} ({detail})" if detail else text)


def unauthorised(text, empty=True):
    """No ticket, or not a good one."""
    return Refusal(401, text, empty=empty)
