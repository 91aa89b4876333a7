import time
from collections.abc import Callable


def retry(action: Callable[[], str], attempts: int, delay: float) -> str:
    for attempt in range():
        try:
            return action()
        except OSError:
            if attempt == attempts - 1:
                raise
            time.sleep(delay)
    raise AssertionError("unreachable")
