"""A wrong call of the command line in one line: the thing, the nearest right one, where to look."""

from difflib import get_close_matches
from typing import Any

import typer

PLAIN = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "a valid number": "a number",
    "a valid integer": "a whole number",
}
"""Words of the check of types, and plainer ones."""


def usage_line(error: typer.TyperException, words: list[str]) -> str:
    """What is wrong with a call of `isoflop words…`."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else " ".join(["isoflop", *words[:1]])
    reason = " ".join(_reason(error, context, words).split()).rstrip(".")
    see = " See" if reason.endswith("?") else "; see"
    return f"{reason[0].lower()}{reason[1:]}{see} {path} --help"


def _reason(error: typer.TyperException, context: Any, words: list[str]) -> str:
    """The mistake, with the word that was probably meant."""
    name, parameter = getattr(error, "option_name", None), getattr(error, "param", None)
    if name and context and hasattr(error, "possibilities"):
        if not name.startswith("--"):  # of -json only -j was read
            name = next(word for word in words if word.startswith(name))
        options = [one for item in context.command.params for one in _names(item)]
        return f"{context.command.name} has no option {name}{_meant(name, options)}"
    if parameter is not None and error.__cause__ is not None:
        return _wrong_value(error, parameter)
    if parameter is not None:
        return f"{parameter.param_type_name} {_shown(parameter)} is missing: {parameter.help}"
    message = error.format_message()
    if "extra argument" in message:
        extra = message.rpartition("(")[2].rstrip(")")
        return f"{context.command.name} cannot use {extra!r}; put a value with spaces in quotes"
    if "No such command" in message:
        wrong = message.split("'")[1]
        known = list(context.command.commands)
        meant = _meant(wrong, known) or f"; choose among {', '.join(known)}"
        return f"no command {wrong!r}{meant}"
    return message


def _wrong_value(error: typer.TyperException, parameter: Any) -> str:
    """The value and its bound, which the check of the type knows."""
    checked = getattr(error.__cause__, "errors", None)
    if checked is None:
        return error.format_message()
    fault = checked()[0]
    bound = str(fault["msg"]).removeprefix("Input should be ").split(",")[0]
    for word, plain in PLAIN.items():
        bound = bound.replace(word, plain)
    return f"{_shown(parameter)} is {fault['input']!r}; it must be {bound}"


def _shown(parameter: Any) -> str:
    """An argument by its name in capitals, an option as it is written."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    return str(min(parameter.opts, key=len))


def _names(parameter: Any) -> list[str]:
    """The names of an option, its negation among them; none of an argument."""
    own = [*parameter.opts, *parameter.secondary_opts]
    return [] if parameter.param_type_name == "argument" else own


def _meant(wrong: str, known: list[str]) -> str:
    near = get_close_matches(wrong, known, n=1, cutoff=0.5) if len(wrong) > 2 else []
    return f"; did you mean {near[0]}?" if near else ""
