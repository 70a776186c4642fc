"""`captionfleet submit` as a whole, against a real api whose tasks nobody answers."""

import asyncio
from pathlib import Path

import pytest
from tests.api.doors import picture
from tests.api.test_program import environment, running
from tests.cli.installation import Ran, run_command, running_command

from captionfleet.client import Client

pytestmark = pytest.mark.services


async def test_presets_and_prompts_make_columns_of_which_resume_sends_what_is_missing(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    command = ("submit", str(tmp_path / "a.png"), "--models", "alpha,beta", "--name", "night")
    async with running(environment(tmp_path)) as api, Client(api.url) as client:

        async def submit(*more: str) -> Ran:
            return await run_command(*command, *more, home=tmp_path, CAPTIONFLEET_SERVER=api.url)

        async def columns(job: str) -> list[tuple[str, str, str]]:
            return [(c.model, c.prompt_name, c.prompt) for c in (await client.job(job)).columns]

        first = (await submit("--preset", "short")).out.split()
        assert [await columns(job) for job in first] == [
            [("alpha", "short", "Be brief."), ("beta", "short", "In short:")]
        ]
        both = ("--preset", "short", "--prompt", "Why?", "--resume")
        (fresh,) = {*(await submit(*both)).out.split()} - {*first}
        assert await columns(fresh) == [("alpha", "", "Why?"), ("beta", "", "Why?")]
        again = await submit(*both)
        assert {*again.out.split()} == {*first, fresh}
        assert "1 picture had nothing missing" in again.err


async def test_who_waits_for_pictures_that_nobody_captions_is_told_why(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    command = ("submit", str(tmp_path / "a.png"), "--models", "alpha", "--wait")
    async with (
        running(environment(tmp_path)) as api,
        running_command(*command, home=tmp_path, CAPTIONFLEET_SERVER=api.url) as waiting,
        asyncio.timeout(60),
    ):
        assert waiting.stderr
        while b"alpha waits: " not in (line := await waiting.stderr.readline()):
            assert line, "it ended without a reason"
    assert b"0 of 1 captioned; alpha waits: " in line
