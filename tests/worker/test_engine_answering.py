"""Batches, options and words, without a process: whatever one shot does, the others get theirs."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.worker.engines import plain

from captionfleet.resources.model import Generation, PipelineTag
from captionfleet_worker.engine.answering import Answering, Caption, is_out_of_memory
from captionfleet_worker.engine.generation import (
    OPTION_NAMES,
    BadOption,
    Habits,
    Settled,
    effective_generation,
    generate_arguments,
)
from captionfleet_worker.engine.protocol import LoadFailed, Shot
from captionfleet_worker.engine.smoke import smoke_test
from captionfleet_worker.engine.wording import echo_length, ending, tidy, with_prefix


class Recorded:
    """A captioner that writes a picture's color, after `check(colors)` had its say."""

    enough = None

    habits = Habits()

    def __init__(self, check: Callable[[list[int]], None] = lambda colors: None) -> None:
        self.batches: list[int] = []
        self._check = check

    def prompt_problem(self, prompt: str) -> str | None:
        return "no bells" if "bell" in prompt else None

    def prepare(self, images: list[Image.Image], prompt: str, generation: Generation) -> Any:
        colors = [image.getpixel((0, 0))[0] for image in images]  # type: ignore[index]
        return colors, prompt

    def generate(self, prepared: Any, cancelled: Callable[[int], bool]) -> list[Caption]:
        colors, prompt = prepared
        self.batches.append(len(colors))
        self._check(colors)
        return [Caption(f"{prompt}{color}") for color in colors]

    def describe(self, error: BaseException) -> str:
        return str(error)

    def unload(self) -> None: ...


def shots(*colors: int, prompt: str = "") -> list[Shot]:
    return [Shot(plain(f"rgb({color}, 0, 0)"), prompt) for color in colors]


def fails_above(count: int) -> Callable[[list[int]], None]:
    def check(colors: list[int]) -> None:
        if len(colors) > count:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    return check


def fails_on(bad: set[int]) -> Callable[[list[int]], None]:
    def check(colors: list[int]) -> None:
        if bad & set(colors):
            raise ValueError("cannot see this")

    return check


def test_short_memory_halves_the_batch_for_good() -> None:
    captioner = Recorded(fails_above(2))
    answering = Answering(captioner, Generation(), 8)
    answers = answering.answer(shots(*range(8)), {})
    assert [answer.text for answer in answers] == [str(color) for color in range(8)]
    assert captioner.batches[:2] == [8, 4] and answering.max_batch_size == 2
    captioner.batches.clear()
    answering.answer(shots(1, 2, 3), {})
    assert captioner.batches == [2, 1]


def test_one_picture_too_large_for_memory_is_told() -> None:
    [answer] = Answering(Recorded(fails_above(0)), Generation(), 8).answer(shots(1), {})
    assert answer.error_code == "out_of_memory"


@given(st.lists(st.integers(0, 255), max_size=9), st.sets(st.integers(0, 255)), st.integers(1, 4))
def test_only_the_guilty_fail_and_order_is_kept(
    colors: list[int], bad: set[int], size: int
) -> None:
    answers = Answering(Recorded(fails_on(bad)), Generation(), size).answer(shots(*colors), {})
    told = [None if color in bad else str(color) for color in colors]
    assert [answer.text for answer in answers] == told
    assert all(a.error_code == "model_error" for a in answers if a.text is None)


def test_shots_with_different_prompts_never_share_a_batch() -> None:
    captioner = Recorded()
    mixed = [*shots(1, prompt="a "), *shots(2, prompt="b "), *shots(3, prompt="a ")]
    answers = Answering(captioner, Generation(), 8).answer(mixed, {})
    assert [answer.text for answer in answers] == ["a1", "b2", "a3"]
    assert captioner.batches == [2, 1]


def test_a_refused_prompt_and_the_models_own_prompt() -> None:
    answering = Answering(Recorded(), Generation(prompt="own "), 8)
    bad, good = answering.answer([*shots(1, prompt="bell"), *shots(2)], {})
    assert (bad.error_code, bad.error_message) == ("bad_prompt", "no bells")
    assert good.text == "own2"


def test_text_that_no_database_takes_is_cleaned() -> None:
    answering = Answering(Recorded(), Generation(), 8)
    [answer] = answering.answer(shots(1, prompt="a\0b \ud800 "), {})
    assert answer.text == "ab ?1"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_tokens": 3}, "unknown option 'max_tokens'"),
        ({"maxNewTokens": 3}, "unknown option 'maxNewTokens'"),
        ({"prompt": "x"}, "unknown option 'prompt'"),
        ({"max_new_tokens": "3"}, "'max_new_tokens'.*integer"),
        ({"max_new_tokens": 0}, "'max_new_tokens'.*greater than or equal to 1"),
        ({"num_beams": True}, "'num_beams'.*integer"),
        ({"do_sample": 1}, "'do_sample'.*boolean"),
        ({"temperature": 0.5}, "'temperature' works with sampling only"),
        ({"length_penalty": 2.0}, "'length_penalty' works with beams only"),
        ({"min_new_tokens": 65}, "'min_new_tokens' .65. is above max_new_tokens .64."),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadOption, match=told):
        effective_generation(Settled(), options)


def test_options_win_over_the_models_defaults() -> None:
    defaults = Settled(max_new_tokens=30, repetition_penalty=1.5)
    chosen = effective_generation(defaults, {"max_new_tokens": 5, "num_beams": 2})
    assert generate_arguments(chosen) == {
        "max_new_tokens": 5, "num_beams": 2, "do_sample": False, "repetition_penalty": 1.5,
    }  # fmt: skip


def test_sampling_options_reach_generate_only_with_sampling() -> None:
    sampling = effective_generation(Settled(), {"do_sample": True, "top_k": 5, "seed": 1})
    arguments = generate_arguments(sampling)
    assert arguments["top_k"] == 5 and arguments["temperature"] == 1.0
    assert "seed" not in arguments and "seed" in OPTION_NAMES


def test_an_echoed_prompt_is_found_in_every_form() -> None:
    asked = [[1, 5, 6, 2]]
    assert echo_length([[1, 5, 6, 2, 9, 9]], asked, {1}) == 4
    assert echo_length([[7, 5, 6, 9, 9]], asked, {1}) == 3
    assert echo_length([[1, 9, 9]], asked, {1}) == 1
    assert echo_length([[9, 9]], None, {1}) == 0
    assert echo_length([], None, {1}) == 0


def test_a_caption_ends_by_itself_or_at_its_limit() -> None:
    assert ending([5, 6, 2, 0, 0], {2}, 5) == ("stop", 2)
    assert ending([5, 6, 7], {2}, 3) == ("length", 3)
    assert ending([5, 6], {2}, 3) == ("stop", 2)


@given(st.text())
def test_tidied_text_stays_tidy(text: str) -> None:
    tidied = tidy(text)
    assert tidy(tidied) == tidied and "\n" not in tidied and not tidied.startswith((",", "."))


def test_a_prefix_is_put_back_as_written() -> None:
    assert with_prefix("A Dog", "a dog runs", "a dog", "runs") == "A Dog runs"
    assert with_prefix("a dog", "a dogs run", "a dog", "s run") == "a dogs run"
    assert with_prefix("Zebra", "runs", "", "runs") == "Zebra runs"
    assert with_prefix("a , b", "a, b c", "a , b", "c") == "a , b c"


def test_short_memory_is_recognized_however_it_is_told() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(type("OutOfMemoryError", (RuntimeError,), {})("CUDA"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"))
    assert is_out_of_memory(RuntimeError("can't start new thread"))
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not is_out_of_memory(RuntimeError("could not create a primitive descriptor for a conv"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))


@pytest.mark.parametrize("found", [True, False])
def test_a_picture_alone_is_tried_again_where_memory_may_be_found(found: bool) -> None:
    room: list[int] = []

    def check(colors: list[int]) -> None:
        if not (room and found):
            raise MemoryError

    recorded = Recorded(check)
    answering = Answering(recorded, Generation(), 8, 1, lambda: room.append(1))
    [answer] = answering.answer(shots(7), {})
    assert (answer.text, answer.error_code) == (("7", None) if found else (None, "out_of_memory"))
    assert (recorded.batches, len(room)) == ([1, 1], 1)


def test_memory_that_is_short_while_pictures_are_decoded_is_not_their_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room: list[int] = []

    def convert(image: Image.Image, mode: str) -> Image.Image:
        if not room:
            raise MemoryError
        return whole(image, mode)

    whole = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", convert)
    answering = Answering(Recorded(), Generation(), 8, 1, lambda: room.append(1))
    [answer] = answering.answer(shots(7), {})
    assert (answer.text, answer.error_code) == ("7", None)


def test_a_failed_smoke_test_names_the_tag_that_may_be_its_reason() -> None:
    def fail(colors: list[int]) -> None:
        raise RuntimeError("no such input")

    answering = Answering(Recorded(fail), Generation(), 1)
    with pytest.raises(LoadFailed, match=r"spec\.pipelineTag says \(image-to-text\)"):
        smoke_test(answering, PipelineTag.IMAGE_TO_TEXT)
    with pytest.raises(LoadFailed) as failed:
        smoke_test(answering)
    assert failed.value.reason == "SmokeTestFailed" and "pipelineTag" not in failed.value.message


def test_the_next_batch_is_prepared_while_the_device_works() -> None:
    busy, prepared = threading.Event(), threading.Event()

    def work(colors: list[int]) -> None:
        busy.set()
        assert prepared.wait(10), "the other batch was not prepared meanwhile"

    answering = Answering(Recorded(work), Generation(), 8)
    with ThreadPoolExecutor(1) as device:
        running = device.submit(answering.answer, shots(1, 2), {})
        assert busy.wait(10)
        batch = answering.prepare(shots(3), {})
        prepared.set()
        assert [answer.text for answer in running.result()] == ["1", "2"]
        assert [answer.text for answer in answering.finish(batch)] == ["3"]


def test_a_batch_prepared_before_memory_was_short_is_cut() -> None:
    captioner = Recorded(fails_above(2))
    answering = Answering(captioner, Generation(), 4)
    ahead = answering.prepare(shots(1, 2, 3, 4), {})
    answering.answer(shots(*range(4)), {})
    captioner.batches.clear()
    assert [answer.text for answer in answering.finish(ahead)] == ["1", "2", "3", "4"]
    assert captioner.batches == [2, 2]


def test_a_cancelled_picture_is_answered_so_and_its_mate_as_ever() -> None:
    answering = Answering(Recorded(), Generation(), 4)
    batch = answering.prepare(tokened(200, 100), {})
    gone, there = answering.finish(batch, {"200"})
    assert (gone.text, gone.finish, there.text) == ("", "cancelled", "100")


def test_a_batch_of_cancelled_pictures_costs_nothing() -> None:
    captioner = Recorded()
    answering = Answering(captioner, Generation(), 4)
    answers = answering.finish(answering.prepare(tokened(200, 100), {}), {"100", "200"})
    assert [each.finish for each in answers] == ["cancelled"] * 2
    assert captioner.batches == []


def tokened(*colors: int) -> list[Shot]:
    """Each with its color for a token."""
    return [replace(shot, token=str(c)) for shot, c in zip(shots(*colors), colors, strict=True)]
