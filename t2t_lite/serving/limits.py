"""What a request may be: how large, how long, how many at once; and the error that says so."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the server takes in at most. What exceeds it is answered with a 4xx status."""

    body_bytes: int = 8 << 20  # of a request
    instances: int = 64  # inputs in one request
    text_characters: int = 2000
    pixels: int = 16_000_000  # rows times columns, read off the header before anything is decoded
    sound_seconds: float = 60.0
    answer_seconds: float = 30.0  # from the last byte of a request to its answer; also for its bytes to arrive
    queue: int = 256  # inputs that wait or are computed


class RequestError(Exception):
    """A request that is refused.

    Attributes:
      status: of HTTP.
      headers: further headers of the response.
    """

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None):
        super().__init__(text)
        self.status = status
        self.headers = headers

    def of_input(self, i: int, count: int) -> "RequestError":
        """The same refusal, which says that it is of the i-th of so many inputs."""
        return RequestError(self.status, f"input {i + 1} of {count}: {self}", self.headers)
