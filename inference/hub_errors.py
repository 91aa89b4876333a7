"""What can go wrong between here and the Hugging Face hub, each as one sentence."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from inference.errors import EngineError
from inference.hub_cache import cache_folder


@contextmanager
def hub_errors(repo: str, revision: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into one sentence."""
    from huggingface_hub import constants, errors

    at = constants.ENDPOINT
    try:
        yield
    except errors.GatedRepoError:
        raise EngineError(f"{repo} has terms to accept: do so at {at}/{repo}, then log in: hf auth login") from None
    except errors.RevisionNotFoundError:
        raise EngineError(f"{repo} has no revision {revision!r}; leave --revision out for its main branch") from None
    except errors.RepositoryNotFoundError:
        raise EngineError(f"there is no model {repo} at {at}; if it is private, log in: hf auth login") from None
    except errors.HFValidationError:
        raise EngineError(f"{repo!r} is no hub id; one looks like google/diffusiongemma-26B-A4B-it") from None
    except errors.OfflineModeIsEnabled:
        raise EngineError("the environment says HF_HUB_OFFLINE: nothing can be fetched; unset it") from None
    except errors.HfHubHTTPError as error:
        raise EngineError(f"the hub at {at} answered {error.response.status_code}; try again later") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise EngineError(f"the disk of {cache_folder()} is full; free some and pull again") from error
        if isinstance(error, ConnectionError | TimeoutError) or error.errno is None:
            raise EngineError(f"the hub at {at} cannot be reached ({error}); see the network and try again") from error
        raise EngineError(f"{repo} cannot be written to {cache_folder()} ({error})") from error
    except Exception as error:
        if not type(error).__module__.startswith("httpx"):
            raise
        what = str(error) or type(error).__name__
        raise EngineError(f"the hub at {at} cannot be reached ({what}); see the network and try again") from error
