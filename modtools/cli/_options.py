"""Options of the commands: each is declared once, as a field of a dataclass of options."""

import re
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import Field, dataclass, field, fields
from functools import partial
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import typer
from typer.models import ArgumentInfo

from modtools.exceptions import ModtoolsError

__all__ = ["Forward", "Run", "argument", "option", "takes_options", "words_of"]

_VALUE: Final = r'"[^"]*"|\{[^}]*\}|\w+'
_NO_WORD: Final = r"(?<![\w\"'./-])"


def takes_options(**texts: str | None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function whose arguments are dataclasses of options.

    typer reads one argument per option, so the command has the fields of all of them. Errors name
    options of the command line instead of Python arguments.

    Parameters
    ----------
    **texts : str or None
        Help of an option that differs in this command; None leaves the option out.
    """

    def decorate(run: Callable[..., None]) -> Callable[..., None]:
        groups = {
            name: {entry.name: entry for entry in fields(parameter.annotation)}
            for name, parameter in signature(run).parameters.items()
        }
        kinds = {name: group.annotation for name, group in signature(run).parameters.items()}
        options = [
            _parameter(entry, texts.get(name, ""))
            for group in groups.values()
            for name, entry in group.items()
            if texts.get(name, "") is not None
        ]

        def command(**given: Any) -> None:
            asked = {
                name: kinds[name](**{key: given[key] for key in group if key in given})
                for name, group in groups.items()
            }
            try:
                run(**asked)
            except ModtoolsError as error:
                raise ModtoolsError(_with_options(str(error), options)) from error

        command.__name__, command.__doc__ = run.__name__, run.__doc__
        command.__annotations__ = {option.name: option.annotation for option in options}
        command.__dict__["__signature__"] = Signature(options)
        return command

    return decorate


def _parameter(entry: "Field[Any]", text: str | None) -> Parameter:
    """Return a field as the argument that typer reads, with this help text if one is given."""
    info = copy(entry.metadata["info"])
    info.help = text or info.help
    if entry.type is bool:
        info.metavar = ""  # a flag has no value, whatever typer would print beside it
    default = Parameter.empty if entry.default is ... else entry.default
    annotation: Any = Annotated[entry.type, info]
    return Parameter(entry.name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def option(text: str, *words: str, default: Any = None, **how: Any) -> Any:
    """Return a field of a dataclass that is an option of commands.

    Parameters
    ----------
    text : str
        Help text.
    *words : str
        Names of the option; by default the name of the field.
    default
        Default value; ``...`` where the option is required.
    **how
        Further arguments of `typer.Option`.
    """
    return field(default=default, metadata={"info": typer.Option(*words, help=text, **how)})


def argument(text: str, *, default: Any = None, **how: Any) -> Any:
    """Return the same for a positional argument."""
    return field(default=default, metadata={"info": typer.Argument(help=text, **how)})


def _with_options(message: str, options: Sequence[Parameter]) -> str:
    """Return a message with names of options in place of names of Python arguments."""
    for option in options:
        _, info = get_args(option.annotation)
        if isinstance(info, ArgumentInfo):
            continue
        # typer keeps the first name as the default until it reads the annotation.
        word = info.default if isinstance(info.default, str) else None
        word = word or f"--{option.name.replace('_', '-')}"
        message = re.sub(_argument(option.name), partial(_given, word), message)
        # A name without an underscore may be a word of the sentence.
        name = (
            rf"{option.name}(?![\w\"'./(-])"
            if "_" in option.name
            else f"^{option.name}(?= (must|lacks) )"
        )
        message = re.sub(rf"{_NO_WORD}{name}", word, message)
    return message


def _argument(name: str) -> str:
    """Return the pattern of an argument with its value; calls with other arguments stay."""
    alone = rf"\b\w+\({name}=(?P<alone>{_VALUE})?\)"
    given = rf"{name}=(?!\d)" if len(name) == 1 else f"{name}="  # n=20 is a count in a message
    return rf"{alone}|(?P<call>\w\([^()]*\))|{_NO_WORD}{given}(?P<value>{_VALUE})?"


def _given(word: str, argument: re.Match[str]) -> str:
    """Return an argument with its value as it is written on a command line."""
    if argument["call"]:
        return argument[0]
    value = (argument["alone"] or argument["value"] or "").strip('"')
    if value == "None":
        return f"no {word}"
    return word if value in ("", "True") else f"{word} {value}"


@dataclass(frozen=True, kw_only=True)
class Run:
    """The seed, and the device that networks run on."""

    seed: int = option("The same seed gives the same result.", default=0)
    device: str | None = option("Device that networks run on, such as cuda.")


@dataclass(frozen=True, kw_only=True)
class Forward(Run):
    """How networks run, and where their features are cached."""

    batch_size: int = option("Examples per forward pass.", default=64)
    cache: Path | None = option(
        "Cache features in this folder; the next run reads them.", metavar="DIR"
    )
    n_jobs: int | None = option("Modules scored in parallel; -1: all cores.")

    def options(self) -> dict[str, Any]:
        """Return the arguments of every function that runs networks."""
        return {"device": self.device, "batch_size": self.batch_size, "cache": self.cache}


def words_of(text: str | None) -> list[str]:
    """Return the words of a comma-separated list, each once.

    >>> words_of("knn, logme,knn")
    ['knn', 'logme']
    """
    return [] if text is None else list(dict.fromkeys(word.strip() for word in text.split(",")))
