"""The server's limits on requests, and RequestError, which becomes an HTTP error response."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The server's limits. A request that exceeds one gets a 4xx status."""

    body_bytes: int = 8 << 20  # of a request
    instances: int = 64  # inputs in one request
    text_characters: int = 2000
    pixels: int = 16_000_000  # width times height, read from the header before the picture is decoded
    sound_seconds: float = 60.0
    answer_seconds: float = 30.0  # from the last byte of a request to its answer, and for its body to arrive
    queue: int = 256  # inputs waiting or being computed


class RequestError(Exception):
    """A refused request. The text goes into the response.

    Attributes:
      status: the HTTP status.
      headers: further headers of the response.
    """

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None):
        super().__init__(text)
        self.status = status
        self.headers = headers

    def for_input(self, i: int, count: int) -> "RequestError":
        """Returns the same error with the input that it concerns, the i-th (from 0) of `count`."""
        return RequestError(self.status, f"input {i + 1} of {count}: {self}", self.headers)
