"""Models behind the ``Denoiser`` Protocol."""
