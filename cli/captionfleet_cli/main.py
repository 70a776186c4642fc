"""The command `captionfleet`: its commands, and how each failure becomes words and an exit code."""

import os
import sys

import typer
from pydantic import ValidationError

from captionfleet_cli.apply import add, apply
from captionfleet_cli.doctor import doctor
from captionfleet_cli.logs import logs
from captionfleet_cli.overrides import download, evict, load, release, unload
from captionfleet_cli.resources import delete, describe, get
from captionfleet_cli.results.command import results
from captionfleet_cli.submit.command import submit
from captionfleet_cli.trial.command import test
from captionfleet_cli.trouble import Exit, Trouble
from captionfleet_cli.up.command import up
from captionfleet_cli.upload import upload
from captionfleet_cli.worker import worker

app = typer.Typer(
    name="captionfleet",
    help="Show pictures to many captioning models at once, side by side.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    up, submit, results, get, describe, add, apply, upload, delete, logs, test, doctor, worker,
    download, load, unload, evict, release,
):  # fmt: skip
    app.command()(command)


def main() -> None:
    """Exit codes: see Exit. Never a traceback, but for debugging."""
    try:
        app()
    except Trouble as trouble:
        _end(str(trouble), trouble.code)
    except ValidationError as error:
        _end("\n".join(_setting_in_words(each) for each in error.errors()), Exit.USAGE)
    except BrokenPipeError:  # the reader of our output, for example `head`, had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.FINE)
    except Exception as error:
        if os.environ.get("CAPTIONFLEET_LOG_LEVEL", "").lower() == "debug":
            raise
        _end(
            f"unexpected {type(error).__name__}: {error}. This is a bug; "
            "CAPTIONFLEET_LOG_LEVEL=debug shows where.",
            Exit.FAILED,
        )


def _end(message: str, code: Exit) -> None:
    print(f"captionfleet: {message}", file=sys.stderr)
    sys.exit(code)


def _setting_in_words(error: object) -> str:
    assert isinstance(error, dict)
    name = str(error["loc"][-1]).upper() if error["loc"] else ""
    variable = name if name.startswith(("RABBITMQ", "CAPTIONFLEET")) else f"CAPTIONFLEET_{name}"
    return f"the setting {variable} is wrong: {error['msg']}"
