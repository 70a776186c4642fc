"""Which number format and which attention a model gets on the hardware that is there.

Decides on facts; `this_hardware` alone asks torch for them.
"""

from dataclasses import dataclass
from importlib.util import find_spec

from captionfleet.resources.model import Attention, DType, Loader, Quantization
from captionfleet_worker.engine.protocol import LoadFailed


@dataclass(frozen=True)
class Hardware:
    """What an engine computes on."""

    gpu: bool
    bfloat16: bool = False
    """The GPU computes in bfloat16 by itself; older ones imitate it, slowly."""
    flash: bool = False
    """The package flash-attn is installed."""


def this_hardware(device: str) -> Hardware:
    """The hardware behind "cpu" or "cuda:0"."""
    if device == "cpu":
        return Hardware(gpu=False)
    import torch

    return Hardware(
        gpu=True,
        bfloat16=torch.cuda.is_bf16_supported(including_emulation=False),
        flash=find_spec("flash_attn") is not None,
    )


def check_quantization(loader: Loader, hardware: Hardware) -> None:
    """Raises LoadFailed if the weights cannot be kept as the manifest wants them there."""
    if loader.quantization is Quantization.INT8 and hardware.gpu:
        raise LoadFailed(
            "UnsupportedQuantization",
            "spec.loader.quantization is int8, which is for CPUs, and this worker computes on a "
            "GPU: set it to none (weights are bfloat16 there), or set spec.requirements.device to "
            "CPU",
        )


def dtype_for(loader: Loader, hardware: Hardware, overflows: bool) -> DType:
    """The number format of the weights, never auto: transformers would take the checkpoint's.

    Raises LoadFailed for float16 where the model `overflows` it: captions would be noise.
    """
    if loader.dtype is DType.FLOAT16 and overflows:
        raise LoadFailed(
            "UnsupportedDtype",
            "spec.loader.dtype is float16, whose range this kind of model leaves, so that its "
            "captions turn to noise: set it to bfloat16 or float32",
        )
    if loader.dtype is not DType.AUTO:
        return loader.dtype
    if not hardware.gpu:
        return DType.FLOAT32
    if hardware.bfloat16:
        return DType.BFLOAT16
    return DType.FLOAT32 if overflows else DType.FLOAT16


def attention_for(loader: Loader, hardware: Hardware, dtype: DType) -> str | None:
    """As transformers names it; None lets it choose: sdpa where the model has it, else eager.

    Raises LoadFailed for one that this hardware lacks.
    """
    if loader.attention is Attention.FLASH_ATTENTION_2:
        lacks = [
            what
            for what, missing in (
                ("a GPU", not hardware.gpu),
                ("the package flash-attn in the worker's image", not hardware.flash),
                ("spec.loader.dtype bfloat16 or float16", dtype is DType.FLOAT32),
            )
            if missing
        ]
        if lacks:
            raise LoadFailed(
                "UnsupportedAttention",
                f"spec.loader.attention is flash_attention_2, which needs {', '.join(lacks)}: "
                "provide that, or set it to auto",
            )
    return None if loader.attention is Attention.AUTO else loader.attention.value
