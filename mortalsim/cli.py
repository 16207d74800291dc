"""The command line: ``mortalsim NAME [--field value]``, one command for every experiment, its options made from its fields.

Help must answer at once, so nothing that computes is imported before a command is chosen.
"""

from __future__ import annotations

import inspect
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, get_args, get_origin

import typer

import mortalsim
from mortalsim.registry import Registry

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from rich.console import Console

    from mortalsim.experiments import Experiment
    from mortalsim.report.results import Results

BAD_INPUT, INTERRUPTED = 2, 130


class _Terminated(BaseException):
    """Somebody asked this process to end, by the signal given."""


def main() -> None:
    """Run the command that the program's arguments name."""
    try:
        _hear_signals()
        build(sys.argv[1:])()
    except (KeyboardInterrupt, _Terminated) as error:
        _stop_early(error)


def _hear_signals() -> None:
    """Let the signals that end a process raise instead, so that hidden folders are removed and workers ended."""

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not disturb the clearing up
        raise _Terminated(number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup has SIGHUP ignored
            signal.signal(number, end)


def build(arguments: list[str]) -> typer.Typer:
    """Return the application; of the experiments only the one that ``arguments`` name is imported."""
    app = typer.Typer(
        help=mortalsim.__doc__,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # panels would take as long to import as all else together
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    app.callback()(_options)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in Registry("mortalsim.experiments", object).summaries().items():
        if name == chosen:
            _add_chosen(app, name, summary)
        else:
            app.command(name, help=summary)(_placeholder)
    app.command(
        "list", help="Name the designs, devices, patterns, learners, data sets and whatever else is a file of its own."
    )(_list)
    app.command("resume", help="Go on with a run that was cut off; of a finished one, print the table.")(_resume)
    app.command("status", help="Say what of a run is done, what runs, and when it will end.")(_status)
    app.command("show", help="Print the netlist of a design, its timetable and its costs, and draw a picture of it.")(_show)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mortalsim {mortalsim.__version__}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and stop.")
]


def _options(version: _Version = False) -> None:
    """Hold the options that come before a command."""


def _placeholder() -> None:
    """Stand for a command that was not chosen, in the list of commands."""


def _add_chosen(app: typer.Typer, name: str, summary: str) -> None:
    """Add the command of an experiment; if its file cannot be used, one that says so, whatever it is asked."""
    from mortalsim.checks import DesignError

    try:
        app.command(name, help=summary)(_command(name))
    except DesignError as error:
        message = str(error)
        anything = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
        app.command(name, help=summary, context_settings=anything)(lambda: _stop(message, BAD_INPUT))


def _command(name: str) -> Callable[..., None]:
    """Return a function with one keyword option for each field of the experiment called ``name``."""
    from mortalsim.experiments import EXPERIMENTS, Experiment

    kind = EXPERIMENTS.get(name)
    # An experiment's own fields first, then those that all experiments have.
    ordered = sorted(kind.model_fields.items(), key=lambda item: item[0] in Experiment.model_fields)
    parameters = [_parameter(field_name, field) for field_name, field in ordered]

    def command(**given: str | list[str] | None) -> None:
        _guarded(lambda: _run(kind, {key: value for key, value in given.items() if value not in (None, [], False)}))

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = sys.modules[kind.__module__].__doc__
    return command


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """Return a field as an option that takes text: the experiment itself turns it into numbers and complains."""
    default = field.get_default(call_default_factory=True)
    many = get_origin(field.annotation) is tuple
    shown = ", ".join(map(str, default)) if many else default
    described = f"{field.description}" + ("" if shown in (None, "") else f" (default: {shown})")
    if isinstance(default, bool):
        choice: Any = typer.Option(f"--{name.replace('_', '-')}", help=field.description, show_default=False)
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, choice])
    if _is_argument(field):
        words = get_args(field.annotation)
        argument = typer.Argument(metavar=name.upper(), help=f"{field.description}: {', '.join(words)}", show_default=False)
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, argument])
    option = typer.Option(
        f"--{name.replace('_', '-')}", help=described, metavar="A,B,..." if many else "VALUE", show_default=False
    )
    annotation: Any = Annotated[list[str] | None if many else str | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _run(kind: type[Experiment], given: dict[str, Any]) -> None:
    from pydantic import ValidationError

    from mortalsim.experiments import execute

    for key, value in given.items():
        if value == "":
            _stop(f"--{key.replace('_', '-')}: expected a value, found an empty text; leave the option out", BAD_INPUT)
    fields = {key: _split(value) if isinstance(value, list) else value for key, value in given.items()}
    for key, value in fields.items():
        if value == []:
            _stop(f"--{key.replace('_', '-')}: expected a value, found none; leave the option out", BAD_INPUT)
    try:
        experiment = kind(**fields)
    except ValidationError as error:
        _stop(_explain(error, kind), BAD_INPUT)
    results, folder = execute(experiment, tell=_tell)
    _show_results(kind, results, folder)


def _show_results(kind: type[Experiment], results: Results, folder: Path) -> None:
    from mortalsim.report.table import print_table

    console = _console()
    try:
        print_table(results, f"{kind.name()}: {kind.question()}", console)
        for warning in results.warnings:
            console.print(f"Warning: {warning}", markup=False, highlight=False)
        for note in results.notes:
            console.print(note, markup=False, highlight=False)
        end = f"Everything is in {folder}, to be read in {folder / 'report.html'}"
        console.print(end, markup=False, highlight=False, soft_wrap=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _stop(f"the table cannot be printed ({error.strerror}), but everything is in {folder}", BAD_INPUT)


def _tell(sentence: str) -> None:
    typer.echo(f"mortalsim: {sentence}", err=True)


def _resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="run folder, finished or not")],
    jobs: Annotated[
        int | None, typer.Option(help="worker processes (default: as many as before)", show_default=False)
    ] = None,
    anyway: Annotated[
        bool,
        typer.Option("--anyway", help="go on also with other versions or on another kind of processor", show_default=False),
    ] = False,
) -> None:
    def body() -> None:
        from mortalsim.experiments import resume

        experiment, results, place = resume(folder, jobs=jobs, anyway=anyway, tell=_tell)
        _show_results(type(experiment), results, place)

    _guarded(body)


def _status(folder: Annotated[Path, typer.Argument(metavar="DIR", help="run folder, finished or not")]) -> None:
    def body() -> None:
        from mortalsim.report.status import status

        for line in status(folder):
            _console().print(line, markup=False, highlight=False, soft_wrap=True)

    _guarded(body)


def _split(values: list[str]) -> list[str]:
    # Commas within brackets belong to one value: label_lines=[0,1].
    parts = (part.strip() for value in values for part in re.split(r",(?![^\[\]]*\])", value))
    return [part for part in parts if part]


def _list() -> None:
    _guarded(_print_lists)


def _print_lists() -> None:
    from rich.markup import escape
    from rich.table import Table

    from mortalsim.chips.design_file import design_summaries
    from mortalsim.data import DATASETS
    from mortalsim.learners import LEARNERS

    groups = {"designs": design_summaries()}
    rooms = {"devices": "devices", "wirings": "chips.wiring", "dynamics": "chips.dynamics", "stages": "circuits.stages"}
    rooms |= {"pairs": "devices.pairs", "patterns": "circuits.patterns", "experiments": "experiments"}
    groups |= {name: Registry(f"mortalsim.{room}", object).summaries() for name, room in rooms.items()}
    groups |= {"learners": LEARNERS.summaries(), "data sets": DATASETS.summaries()}
    table = Table(show_header=False, box=None, pad_edge=False)
    for group, members in groups.items():
        table.add_row(f"[bold]{group}[/bold]", "")
        for name, summary in members.items():
            table.add_row(escape(f"  {name}"), escape(summary))
    _console().print(table)


def _show(
    design: Annotated[str, typer.Argument(metavar="DESIGN", help="shipped name, or path of a file that ends in .toml")],
    out: Annotated[
        str | None,
        typer.Option(
            help="picture, a .png, .svg or .pdf file (default: DESIGN.png in the current folder)",
            metavar="PICTURE",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="write over a picture that exists", show_default=False)] = False,
) -> None:
    def body() -> None:
        from mortalsim.showing import show

        show(design, out, force, _console())

    _guarded(body)


def _console() -> Console:
    from rich.console import Console

    console = Console()
    # In a pipe or a file there is no window to fit into, and a cut-off table would be of no use.
    return console if console.is_terminal else Console(width=160)


def _guarded(body: Callable[[], None]) -> None:
    """Run ``body``; say what was wrong in one message and end with the fitting exit code."""
    try:
        body()
    except (KeyboardInterrupt, _Terminated) as error:
        _stop_early(error)
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        raise
    except MemoryError as error:
        _stop(" ".join(["there is not enough memory; use smaller arrays or fewer --jobs", *_notes(error)]), BAD_INPUT)
    except Exception as error:
        from mortalsim.checks import MortalsimError

        if not isinstance(error, MortalsimError | OSError):
            raise
        _stop(" ".join([*str(error).split("\n"), *_notes(error)]), BAD_INPUT)


def _notes(error: BaseException) -> list[str]:
    """Return what was added to an error on its way, such as where a run is kept."""
    return list(getattr(error, "__notes__", ()))


def _explain(error: ValidationError, kind: type[Experiment]) -> str:
    """Return what pydantic found wrong, option by option."""
    from mortalsim.fields import words_at

    complaints = []
    for problem in error.errors():
        option = written(kind, str(problem["loc"][0])) if problem["loc"] else "options"
        words = words_at(kind, problem["loc"])
        text = f"expected {words}" if words else problem["msg"].removeprefix("Value error, ")
        # Our own validators' messages say what was found; the others do not.
        own = problem["type"] == "value_error"
        complaints.append(
            f"{option}: "
            + (problem["msg"].removeprefix("Value error, ") if own else f"{text}, found {problem['input']!r:.100}")
        )
    return "; ".join(complaints)


def written(kind: type[Experiment], name: str) -> str:
    """Return what a field is called on the command line: an argument by its name in capitals, others as options."""
    return name.upper() if _is_argument(kind.model_fields.get(name)) else "--" + name.replace("_", "-")


def _is_argument(field: FieldInfo | None) -> bool:
    extra = None if field is None else field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("argument"))


def _stop_early(error: BaseException) -> NoReturn:
    """End after Ctrl-C or a signal, and say what remains."""
    kept = " ".join(_notes(error)) or "Nothing was begun."
    if isinstance(error, _Terminated):
        _stop(f"terminated. {kept}", 128 + int(error.args[0]))
    _stop(f"interrupted. {kept}", INTERRUPTED)


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(f"mortalsim: {message}", err=True)
    raise SystemExit(code)
