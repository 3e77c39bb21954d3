"""`FraudService.BacktestFraudRules`: compile the given rules, run the back-test apart, tell."""

import threading
from dataclasses import asdict
from pathlib import Path
from typing import Final

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.problems import Problems
from instanter.catalogue.yaml_sections import Sections, find_sections
from instanter.catalogue.yaml_tree import Mapping, parse_yaml
from instanter.clock import Clock
from instanter.errors import (
    CatalogueInvalidError,
    CatalogueMissingError,
    ExhaustedError,
    InvalidFieldError,
)
from instanter.fraud.simulation import RuleSetFigures, SimulationResult
from instanter.keeper.backtest_process import run_backtest_apart
from instanter.keeper.compiler import CatalogueCompiler
from instanter.keeper.published import PublishedCatalogue
from instanter.limits import CATALOGUE_FILE_SIZE_BYTES_MAX
from instanter.rpc.front import CallContext, Sink, StreamedMethod
from instanter.rpc.timestamps import make_timestamp, read_time_ns
from instanter.store.transaction import Readable
from instanter.v1 import fraud_service_pb2 as messages

GIVEN_PATH: Final = "fraud_yaml.yaml"
"""What the given rules are called in errors."""

_SECTION: Final = "fraud"
_FOREVER_NS: Final = 2**63 - 1
_ROOM_S: Final = 60.0
"""Time that a reader of progress has to take some, so that there is room for the result."""


class BacktestDesk:
    """Answers `BacktestFraudRules`, one call at a time in each process.

    Parameters
    ----------
    store
        The store that is read.
    folder
        The data folder.
    compiler
        Compiles the given rules.
    published
        Knows the catalogue in force.
    clock
        Tells when the rules are compiled.
    """

    def __init__(
        self,
        store: Readable,
        folder: Path,
        *,
        compiler: CatalogueCompiler,
        published: PublishedCatalogue,
        clock: Clock,
    ) -> None:
        self._store = store
        self._folder = folder
        self._compiler = compiler
        self._published = published
        self._clock = clock
        self._busy = threading.Lock()

    def describe(self) -> StreamedMethod:
        """Return the method as fronts serve it."""
        return StreamedMethod(
            "BacktestFraudRules",
            messages.BacktestFraudRulesRequest,
            messages.BacktestFraudRulesResponse,
            self.backtest,
        )

    def backtest(
        self, request: messages.BacktestFraudRulesRequest, context: CallContext, sink: Sink
    ) -> None:
        """Begin a back-test; the sink is told how far it is, and what it found.

        Raises
        ------
        InvalidFieldError
            The rules are too long, or a time is none. The sink is told what else is wrong with
            them: to read a long text takes seconds, which are not the event loop's.
        CatalogueMissingError
            No catalogue has been published.
        ExhaustedError
            Another back-test is running; reason BACKTEST_RUNNING.
        """
        del context
        _check_size(request.fraud_yaml)
        start_ns = _read_end(request, "start_time", 0)
        end_ns = _read_end(request, "end_time", _FOREVER_NS)
        with self._store.read() as transaction:
            catalogue = self._published.load(transaction)
        if catalogue is None:
            raise CatalogueMissingError
        if not self._busy.acquire(blocking=False):
            raise ExhaustedError(
                "another back-test is running; it takes a processor for minutes, so there is one "
                "at a time: retry when it has ended",
                reason="BACKTEST_RUNNING",
            )
        threading.Thread(
            target=self._run,
            args=(request.fraud_yaml, catalogue, start_ns, end_ns, sink),
            name="backtest",
            daemon=True,
        ).start()

    def _run(
        self,
        given: str,
        catalogue: CompiledCatalogue,
        start_ns: int,
        end_ns: int,
        sink: Sink,
    ) -> None:
        def report(done: int, count: int) -> bool:
            # Progress that finds no room is of no use later.
            sink.offer(
                messages.BacktestFraudRulesResponse(
                    progress=messages.BacktestProgress(
                        transaction_count=done, done_rate=done / count if count else 1.0
                    )
                )
            )
            return not sink.ended

        error: Exception | None = None
        result = None
        try:
            # There, in a process of its own, it is searched for card numbers, too.
            compiled = self._compiler.compile(
                _replace_section(catalogue, _read_given(given)),
                None,
                revision=catalogue.revision,
                publish_time_ns=self._clock.now_ns(),
            )
            result = run_backtest_apart(
                self._folder, compiled.body, start_ns=start_ns, end_ns=end_ns, report=report
            )
        except Exception as raised:  # noqa: BLE001 - the stream's reader is told, or it is a bug
            error = raised
        finally:
            # Before the reader hears of the end, and asks again.
            self._busy.release()
        if error is not None:
            sink.fail(error)
        elif result is not None and sink.wait_for_room(_ROOM_S):
            sink.offer(_translate(result))
            sink.finish()


def _check_size(text: str) -> None:
    if len(text.encode()) > CATALOGUE_FILE_SIZE_BYTES_MAX:
        raise InvalidFieldError(
            "fraud_yaml",
            f"{len(text):,} characters",
            f"at most {CATALOGUE_FILE_SIZE_BYTES_MAX:,} bytes",
            reason="CATALOGUE_TOO_LARGE",
        )


def _read_given(text: str) -> str:
    """Return the text with nothing but its `fraud` section, each line where it was.

    Raises
    ------
    InvalidFieldError
        It is no YAML with such a section.
    """
    sections = _find_sections(text, "fraud_yaml")
    if sections is None or _SECTION not in sections.spans:
        raise InvalidFieldError(
            "fraud_yaml",
            f"{len(text):,} characters",
            "YAML with a section `fraud:`, as in a catalogue",
            reason="FRAUD_NOT_DECLARED",
        )
    return sections.take(_SECTION)


def _replace_section(catalogue: CompiledCatalogue, given: str) -> dict[str, str]:
    """Return the files in force with the given section in the place of theirs.

    A file with no other section is left out: one that holds nothing is a mistake in a catalogue.
    """
    files = {}
    for path, text in catalogue.files.items():
        sections = _find_sections(text, path)
        if sections is None or _SECTION not in sections.spans:
            files[path] = text
        elif len(sections.spans) > 1:
            files[path] = sections.leave_out(_SECTION)
    path = GIVEN_PATH
    while path in files:
        # It is a name that a file in force may have, too.
        path = f"given_{path}"
    return {**files, path: given}


def _find_sections(text: str, name: str) -> Sections | None:
    """Return the top-level sections of a text, None when it is no mapping.

    Raises
    ------
    InvalidFieldError
        It is no YAML, or more than plain YAML.
    """
    problems = Problems()
    root = parse_yaml(name, text, problems)
    try:
        problems.check()
    except CatalogueInvalidError as error:
        problem = error.problems[0]
        raise InvalidFieldError(
            name, f"line {problem.line}", f"YAML; it {problem.message}", reason="CATALOGUE_INVALID"
        ) from None
    return find_sections(text) if isinstance(root, Mapping) else None


def _read_end(request: messages.BacktestFraudRulesRequest, field: str, default_ns: int) -> int:
    if not request.HasField(field):  # type: ignore[arg-type] # one of the two
        return default_ns
    return read_time_ns(
        getattr(request, field),
        field,
        expected="a time since 1970",
        reason="BACKTEST_TIME_INVALID",
        seconds_max=(1 << 33) - 1,
    )


def _translate(result: SimulationResult) -> messages.BacktestFraudRulesResponse:
    message = messages.BacktestResult(
        live=_translate_figures(result.live),
        given=_translate_figures(result.given),
        rules=[messages.BacktestRule(**asdict(rule)) for rule in result.rules],
        newly_stopped_count=result.newly_stopped_count,
        newly_caught_count=result.newly_caught_count,
        released_count=result.released_count,
        newly_missed_count=result.newly_missed_count,
        misfit_count=result.misfit_count,
    )
    if result.start_ns:
        message.start_time.CopyFrom(make_timestamp(result.start_ns))
        message.end_time.CopyFrom(make_timestamp(result.end_ns))
    return messages.BacktestFraudRulesResponse(result=message)


def _translate_figures(figures: RuleSetFigures) -> messages.BacktestFigures:
    return messages.BacktestFigures(**asdict(figures))
