"""seekloop finds every image that shows an object, with a person in the loop."""

from seekloop import _torchvision

_torchvision.allow_cuda_build_under_cpu_torch()
