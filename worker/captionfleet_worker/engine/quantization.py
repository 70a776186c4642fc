"""Linear layers in 8 bits (spec.loader.quantization: int8): less memory and faster, on a CPU.

Weights are rounded once, output by output. What goes into a layer is rounded row by row, so that
a caption never depends on the other pictures of its batch; torch's own dynamic quantization takes
one scale for a whole batch.
"""

import warnings
from typing import Any

import torch
from torch import nn

_STEPS = 127
_INPUT_STEPS = 63
"""Seven bits: with eight, processors without VNNI overflow where they add two products in 16."""
_SMALLEST = 1e-12

available = bool({"x86", "fbgemm"} & set(torch.backends.quantized.supported_engines))
"""This processor has the arithmetic."""


class Int8Linear(nn.Module):
    """A linear layer whose weight (outputs x inputs) is kept as int8 with one scale per output."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.bias = bias if bias is None else nn.Parameter(bias, requires_grad=False)
        self.out_features, self.in_features = weight.shape
        self.nx, self.nf = self.in_features, self.out_features
        """As GPT-2's Conv1D names them."""
        self._dtype = weight.dtype
        self._packed: Any = torch.ops.quantized.linear_prepack(_rounded(weight.float()), None)

    @property
    def weight(self) -> torch.Tensor:
        """The weight in the model's own number format; some models look at their layers'."""
        weight, _ = torch.ops.quantized.linear_unpack(self._packed)
        spread: torch.Tensor = weight.dequantize().to(self._dtype)
        return spread

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows = inputs.reshape(-1, self.in_features).float()
        least, most = rows.aminmax(dim=1, keepdim=True)
        scale = torch.maximum(most, -least).clamp_(min=_SMALLEST)
        outputs: torch.Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows / scale, 1 / _INPUT_STEPS, _INPUT_STEPS + 1, self._packed
        )
        if self.bias is None:
            outputs = outputs.mul_(scale)
        else:
            outputs = torch.addcmul(self.bias.float(), outputs, scale)
        return outputs.to(inputs.dtype).view(*inputs.shape[:-1], self.out_features)


def _rounded(weight: torch.Tensor) -> torch.Tensor:
    scale = weight.abs().amax(1).clamp(min=_SMALLEST) / _STEPS
    zero = torch.zeros(len(weight), dtype=torch.long)
    with warnings.catch_warnings():
        # Torch announces the end of these tensors. What shall replace them is several times slower
        # for the few rows of a batch that writes word by word.
        warnings.filterwarnings("ignore", message="torch.quantize_per_tensor")
        rounded: torch.Tensor = torch.quantize_per_channel(
            weight, scale.double(), zero, 0, torch.qint8
        )
    return rounded


@torch.no_grad()
def to_int8(model: Any) -> int:
    """Round all linear layers in place; returns how many there were.

    A head that shares its weight with an embedding gets a rounded copy; the embedding stays.
    """
    found = [
        (parent, name, layer)
        for parent in model.modules()
        for name, layer in parent.named_children()
        if _weight(layer) is not None
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
