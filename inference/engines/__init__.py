"""What runs denoising: ``local`` (torch, in the worker); later ``mlx`` and ``vllm``."""
