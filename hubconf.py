"""Entry points of torch.hub: `torch.hub.load("path/to/this/repository", "densenet121", source="local")`."""

dependencies = ["torch", "numpy", "pydantic", "safetensors"]

from densenet_torch.variants import *  # noqa: E402, F403
