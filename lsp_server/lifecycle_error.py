"""Why there is no worker to be had."""


class LifecycleError(Exception):
    """A worker can be neither attached to nor started nor stopped. The text is one sentence, with the way out."""
