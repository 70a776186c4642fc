"""Weights in 8 bits (spec.loader.quantization: int8): a quarter of float32's memory, on a CPU.

Weights alone are rounded, row by row; they are spread out again for each use. Rounding the
pictures' own numbers too would be faster on some processors, but then a caption would depend on
the other pictures of its batch.
"""

from typing import Any

import torch
from torch import nn

_STEPS = 127


class Int8Linear(nn.Module):
    """A linear layer whose weight (outputs x inputs) is kept as int8 with one scale per output."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / _STEPS
        self.register_buffer("steps", torch.round(weight / scale).to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = bias if bias is None else nn.Parameter(bias, requires_grad=False)
        self.out_features, self.in_features = weight.shape
        self.nx, self.nf = self.in_features, self.out_features
        """As GPT-2's Conv1D names them."""

    @property
    def weight(self) -> torch.Tensor:
        """The weight in the model's own number format; some models look at their layers'."""
        scale: Any = self.scale
        steps: Any = self.steps
        spread: torch.Tensor = steps.to(scale.dtype) * scale
        return spread

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(inputs, self.weight, self.bias)


@torch.no_grad()
def to_int8(model: Any) -> int:
    """Round the weights of all linear layers in place; returns how many layers there were.

    Layers that share their weight with another part, such as a head with its embedding, stay.
    """
    shared = _shared(model)
    found = [
        (parent, name, layer)
        for parent in model.modules()
        for name, layer in parent.named_children()
        if (weight := _weight(layer)) is not None and id(layer.weight) not in shared
    ]
    for parent, name, layer in found:
        weight = _weight(layer)
        assert weight is not None, "only layers with a weight are found"
        setattr(parent, name, Int8Linear(weight, layer.bias))
    return len(found)


def _weight(layer: Any) -> torch.Tensor | None:
    """The weight (outputs x inputs) of a plain linear layer; None for any other."""
    # By exact type: what extends Linear often reads its weight in ways of its own.
    if type(layer) is nn.Linear:
        return layer.weight
    if type(layer).__name__ == "Conv1D" and type(layer).__module__.startswith("transformers."):
        return layer.weight.t().contiguous()  # type: ignore[no-any-return]
    return None


def _shared(model: Any) -> set[int]:
    seen: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                seen[id(parameter)] = seen.get(id(parameter), 0) + 1
    return {each for each, count in seen.items() if count > 1}
