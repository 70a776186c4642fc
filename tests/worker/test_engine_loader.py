"""What spec.loader does: each field has an effect, or is refused in words.

Tiny checkpoints in the test's own process; trained ones where the words must be right.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from tests.conftest import SHAPES
from tests.worker.engines import TRUTH, custom_spec, engine_of, normalized, order_for
from tests.worker.tiny_captioners import captioner_of, captions, every_size, habitual, loaded
from tests.worker.tiny_models import build

from captionfleet.resources.model import Attention, DType, Loader
from captionfleet_worker.engine.arguments import meant
from captionfleet_worker.engine.hardware import (
    Hardware,
    attention_for,
    check_quantization,
    dtype_for,
)
from captionfleet_worker.engine.loading import failure_of
from captionfleet_worker.engine.processors import lacking, with_settings
from captionfleet_worker.engine.protocol import LoadFailed, Shot
from captionfleet_worker.engine.quantization import Int8Linear, to_int8
from captionfleet_worker.engine.transformers_captioner import TransformersCaptioner

pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

CPU, OLD_GPU, GPU = Hardware(False), Hardware(True), Hardware(True, bfloat16=True, flash=True)
INT8 = Loader.model_validate({"quantization": "int8"})
NAMES = [name for name in sorted(TRUTH) if name.startswith("shapes-")][:10]


def loader(**fields: Any) -> Loader:
    return Loader.model_validate(fields)


def samples() -> list[Image.Image]:
    return [Image.open(io.BytesIO(normalized(name))) for name in NAMES]


def weight_bytes(captioner: TransformersCaptioner) -> int:
    parts = list(captioner._is.model.modules())
    small = sum(p.nx * p.nf for p in parts if isinstance(p, Int8Linear))
    return small + int(captioner._is.model.get_memory_footprint())


@pytest.mark.parametrize(
    ("folder", "kind", "sentence"),
    [
        ("shapes-basic", "plain", "{}"),
        ("shapes-blip", "plain", "{}"),
        ("shapes-chat", "full", "The image shows {}."),
    ],
)
def test_int8_says_the_same_with_a_fraction_of_the_memory(
    folder: str, kind: str, sentence: str
) -> None:
    whole = loaded(SHAPES / "models" / folder)
    small = loaded(SHAPES / "models" / folder, INT8)
    how = habitual(whole, max_new_tokens=32)
    before, after = captions(whole, samples(), how=how), captions(small, samples(), how=how)
    assert sum(a.text == b.text for a, b in zip(before, after, strict=True)) >= 9
    right = [sentence.format(TRUTH[name]["captions"][kind]) for name in NAMES]
    assert sum(a.text == b for a, b in zip(after, right, strict=True)) >= 9
    assert weight_bytes(small) < 0.5 * weight_bytes(whole)


@pytest.mark.parametrize("family", ["vision-encoder-decoder", "blip-2", "qwen2_vl", "gemma3"])
def test_int8_changes_no_caption_of_a_batch(family: str, tmp_path: Path) -> None:
    captioner = loaded(build(family, tmp_path), INT8)
    assert any(isinstance(part, Int8Linear) for part in captioner._is.model.modules())
    together = captions(captioner, every_size())
    assert together == [captions(captioner, [picture])[0] for picture in every_size()]


def test_int8_rounds_a_head_and_leaves_alone_the_embedding_that_shares_its_weight() -> None:
    net = torch.nn.ModuleDict({"in": torch.nn.Embedding(9, 4), "out": torch.nn.Linear(4, 9)})
    shared = net["out"].weight = net["in"].weight
    assert to_int8(net) == 1
    assert isinstance(net["out"], Int8Linear)
    assert net["in"].weight is shared


def test_int8_rounds_each_row_by_itself_whatever_its_size_and_company() -> None:
    layer = torch.nn.Linear(96, 40)
    small = Int8Linear(layer.weight, layer.bias)
    rows = torch.randn(5, 96) * torch.tensor([1e-6, 0.1, 1, 100, 1e6])[:, None]
    together = small(rows)
    assert torch.equal(together, torch.cat([small(row[None]) for row in rows]))
    exact = torch.nn.functional.linear(rows, layer.weight)
    assert ((together - layer.bias - exact).norm(dim=1) < 0.05 * exact.norm(dim=1)).all()
    assert torch.equal(small(torch.zeros(1, 96)), layer.bias[None])


def test_int8_is_within_half_a_step_of_the_weight() -> None:
    weight = torch.randn(7, 5)
    weight[3] = 0
    rounded = Int8Linear(weight, None).weight
    assert (rounded - weight).abs().max() <= weight.abs().max() / 127 / 2 + 1e-6


def test_int8_on_a_gpu_is_refused_with_two_ways_out() -> None:
    check_quantization(INT8, CPU)
    check_quantization(loader(), GPU)
    with pytest.raises(LoadFailed, match=r"set it to none.*spec\.requirements\.device") as failed:
        check_quantization(INT8, GPU)
    assert not failed.value.retriable


@pytest.mark.parametrize(
    ("wanted", "hardware", "overflows", "given"),
    [
        (DType.AUTO, CPU, False, DType.FLOAT32),
        (DType.AUTO, GPU, False, DType.BFLOAT16),
        (DType.AUTO, GPU, True, DType.BFLOAT16),
        (DType.AUTO, OLD_GPU, False, DType.FLOAT16),
        (DType.AUTO, OLD_GPU, True, DType.FLOAT32),
        (DType.FLOAT16, GPU, False, DType.FLOAT16),
        (DType.BFLOAT16, CPU, True, DType.BFLOAT16),
    ],
)
def test_the_number_format_follows_hardware_and_family(
    wanted: DType, hardware: Hardware, overflows: bool, given: DType
) -> None:
    assert dtype_for(loader(dtype=wanted), hardware, overflows) is given


def test_float16_is_refused_where_it_makes_noise(tmp_path: Path) -> None:
    folder = build("gemma3", tmp_path)
    with pytest.raises(LoadFailed, match=r"set it to bfloat16 or float32") as failed:
        loaded(folder, loader(dtype="float16"))
    assert failed.value.reason == "UnsupportedDtype"


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_is_computed_as_the_manifest_says(attention: str, tmp_path: Path) -> None:
    captioner = loaded(build("llava", tmp_path), loader(attention=attention))
    assert captioner._is.model.config._attn_implementation == attention
    assert captions(captioner, every_size()) == captions(captioner_of("llava"), every_size())


def test_flash_attention_needs_its_hardware_package_and_numbers() -> None:
    flash = loader(attention="flash_attention_2")
    assert attention_for(flash, GPU, DType.BFLOAT16) == "flash_attention_2"
    assert attention_for(loader(), GPU, DType.BFLOAT16) is None
    with pytest.raises(LoadFailed, match=r"a GPU, the package flash-attn .*bfloat16") as failed:
        attention_for(flash, CPU, DType.FLOAT32)
    assert failed.value.message.endswith("or set it to auto")
    assert Attention.FLASH_ATTENTION_2 in failed.value.message


def test_an_attention_that_a_model_lacks_is_refused(tmp_path: Path) -> None:
    folder = build("blip", tmp_path)
    with pytest.raises(LoadFailed, match="sdpa, which models of type blip do not have: set it to"):
        loaded(folder, loader(attention="sdpa"))


@pytest.mark.parametrize(
    ("settings", "most"), [({}, 1280 * 28 * 28), ({"max_pixels": "200704"}, 200704)]
)
def test_a_qwen_sees_no_more_pixels_than_it_bears(
    settings: dict[str, str], most: int, tmp_path: Path
) -> None:
    folder = build("qwen2_vl", tmp_path)
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (file := folder / name).is_file():  # as the checkpoints of its makers have it
            file.write_text(file.read_text().replace(str(112 * 112), "12845056"))
    captioner = loaded(folder, loader(processor=settings))
    assert captioner._is.image_processor.size["longest_edge"] == most
    seen = captioner._inputs([Image.new("RGB", (1536, 1536))], "", "")
    assert seen["pixel_values"].shape[0] * 14 * 14 <= most


@pytest.mark.parametrize(
    "kind", ["Qwen2VLImageProcessorPil", "Glm4vImageProcessorPil", "Glm46VImageProcessorPil"]
)
def test_processors_that_count_pixels_are_bounded(kind: str) -> None:
    unbounded = getattr(transformers, kind)()
    bounded = with_settings(unbounded, {}, 501760)
    assert bounded.size["longest_edge"] == 501760 < unbounded.size["longest_edge"]
    assert bounded.size["shortest_edge"] == unbounded.size["shortest_edge"]
    assert with_settings(unbounded, {}, None) is unbounded


def test_a_bound_that_a_checkpoint_sets_itself_stays() -> None:
    assert captioner_of("qwen2_vl")._is.image_processor.size["longest_edge"] == 112 * 112


def test_settings_of_the_processor_may_be_json(tmp_path: Path) -> None:
    size = {"size": '{"shortest_edge": 48}', "crop_size": '{"height": 32, "width": 32}'}
    captioner = loaded(build("git", tmp_path), loader(processor=size))
    assert captioner._is.image_processor.size["shortest_edge"] == 48
    assert captioner._is.processor.image_processor is captioner._is.image_processor
    seen, usual = (each._inputs(every_size(), "", "") for each in (captioner, captioner_of("git")))
    assert not torch.equal(seen["pixel_values"], usual["pixel_values"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pixels": "1"}, r"processor\.pixels: .* knows no 'pixels'; it knows .*size"),
        ({"size": "wide"}, r"spec\.loader\.processor.*refuses size"),
    ],
)  # fmt: skip
def test_a_setting_that_the_processor_would_ignore_is_refused(
    settings: dict[str, str], told: str, tmp_path: Path
) -> None:
    with pytest.raises(LoadFailed, match=told) as failed:
        loaded(build("git", tmp_path), loader(processor=settings))
    assert (failed.value.reason, failed.value.retriable) == ("InvalidSpec", False)


def thinking(place: Path) -> Path:
    folder = build("llava", place)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + "{% if enable_thinking %} blue{% endif %}")
    return folder


@pytest.mark.parametrize(
    ("variables", "thinks"), [({}, False), ({"enable_thinking": "true"}, True)]
)
def test_a_chat_template_is_told_whether_to_think(
    variables: dict[str, str], thinks: bool, tmp_path: Path
) -> None:
    captioner = loaded(thinking(tmp_path), loader(chatTemplate=variables))
    seen = captioner._inputs(every_size()[:1], "what", "")
    assert captioner._is.tokenizer.decode(seen["input_ids"][0]).endswith("blue") is thinks


def test_a_variable_that_the_template_lacks_is_refused(tmp_path: Path) -> None:
    folder = thinking(tmp_path)
    with pytest.raises(LoadFailed, match=r"chatTemplate\.thinks: .* it knows enable_thinking"):
        loaded(folder, loader(chatTemplate={"thinks": "true"}))


def test_variables_of_a_template_need_a_template(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="asked without one: remove it"):
        loaded(build("git", tmp_path), loader(chatTemplate={"enable_thinking": "true"}))


def test_text_in_a_manifest_means_what_json_means() -> None:
    text = {"a": "12", "b": "true", "c": '{"d": [1.5]}', "e": "anyres", "f": "NaN"}
    assert meant(text) == {"a": 12, "b": True, "c": {"d": [1.5]}, "e": "anyres", "f": "NaN"}


async def test_own_code_is_not_promised_what_transformers_does(tmp_path: Path) -> None:
    spec = custom_spec(tmp_path, "class Own: ...", loader={"quantization": "int8"})
    with pytest.raises(LoadFailed, match=r"spec\.loader\.quantization says how transformers"):
        async with engine_of(order_for(spec, tmp_path)):
            pass


Hide = Callable[[str], None]


@pytest.fixture
def hide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hide:
    """Keep engines, which are processes of their own, from importing a package."""

    def from_engines(package: str) -> None:
        start = tmp_path / "start"
        start.mkdir()
        (start / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n")
        monkeypatch.setenv("PYTHONPATH", str(start))

    return from_engines


@pytest.mark.parametrize("family", ["qwen2_vl", "internvl", "lfm2_vl", "llava_onevision"])
async def test_a_missing_torchvision_is_told_with_the_remedy(
    family: str, hide: Hide, tmp_path: Path
) -> None:
    hide("torchvision")
    spec = {"source": {"volume": {"path": str(build(family, tmp_path / family))}}}
    with pytest.raises(LoadFailed, match="need the Python package torchvision") as failed:
        async with engine_of(order_for(spec, tmp_path)):
            pass
    assert (failed.value.reason, failed.value.retriable) == ("MissingPackage", False)
    assert "pip install torchvision" in failed.value.message


async def test_what_needs_no_torchvision_captions_without_it(hide: Hide, tmp_path: Path) -> None:
    hide("torchvision")
    spec = {"source": {"volume": {"path": str(SHAPES / "models" / "shapes-chat")}}}
    async with engine_of(order_for(spec, tmp_path)) as engine:
        [answer] = await engine.run([Shot(normalized("shapes-01.png"), "")], {})
    assert answer.text == f"The image shows {TRUTH['shapes-01.png']['captions']['full']}."


async def test_a_missing_num2words_is_told_with_the_remedy(hide: Hide, tmp_path: Path) -> None:
    hide("num2words")
    spec = {"source": {"volume": {"path": str(build("smolvlm", tmp_path / "smolvlm"))}}}
    with pytest.raises(LoadFailed, match="smolvlm need the Python package num2words") as failed:
        async with engine_of(order_for(spec, tmp_path)):
            pass
    assert failed.value.reason == "MissingPackage"


@pytest.mark.parametrize(
    ("error", "package"),
    [
        (ImportError("NewVideoProcessor requires the Torchvision library"), "torchvision"),
        (AttributeError("VIDEO_PROCESSOR_MAPPING has no attribute"), "torchvision"),
        (ImportError("Package `num2words` is required"), "num2words"),
        (ModuleNotFoundError("No module named 'timm.layers'"), "timm"),
    ],
)
def test_a_package_that_nobody_listed_is_named_too(error: Exception, package: str) -> None:
    told = lacking(error, "new_vl")
    assert isinstance(told, LoadFailed) and f"package {package}," in told.message


def test_a_package_that_code_of_a_checkpoint_imports_is_told() -> None:
    failed = failure_of(ImportError("packages that were not found in your environment: einops"))
    assert (failed.reason, failed.retriable) == ("MissingPackage", False)
    assert "einops" in failed.message and "spec.image" in failed.message


def test_an_error_that_names_no_package_stays_as_it_is() -> None:
    error = AttributeError("nothing of the kind")
    assert lacking(error, "new_vl") is error
