"""`FraudService.ListCases` and `UpdateCase`."""

from concurrent.futures import Future
from typing import Final, cast

from instanter.errors import InvalidFieldError
from instanter.fraud_limits import CASE_ASSIGNEE_SIZE_MAX, FRAUD_ID_SIZE_MAX
from instanter.keeper.case_book import Case, CaseFilter, CaseState, list_cases
from instanter.keeper.cases import UpdateCase
from instanter.keeper.commands import Submit
from instanter.keeper.labels import FoundKind
from instanter.limits import TEXT_SIZE_MAX
from instanter.rpc.card_numbers import check_message
from instanter.rpc.customers import READ_LANE
from instanter.rpc.front import BlockingMethod, CallContext, DeferredMethod
from instanter.rpc.names import (
    MERCHANTS,
    TERMINALS,
    TRANSACTIONS,
    format_case_name,
    format_customer_name,
    format_plain_name,
    is_plain_id,
    parse_case_name,
    parse_plain_name,
)
from instanter.rpc.page_tokens import format_page_token, parse_page_token, read_page_size
from instanter.rpc.timestamps import make_timestamp
from instanter.store.transaction import Readable
from instanter.v1 import fraud_service_pb2 as messages

_LABELS: Final = {
    messages.CASE_LABEL_FRAUD: FoundKind.FRAUD,
    messages.CASE_LABEL_GENUINE: FoundKind.GENUINE,
}
_STATES: Final = frozenset(map(int, CaseState))
_PATHS: Final = ("state", "assignee", "label")
_NUMBER_SIZE_MAX: Final = 19
_METHOD: Final = "ListCases"


class CaseDesk:
    """Answers what concerns cases.

    Parameters
    ----------
    store
        The store that is read.
    submit
        Carries out a command, as `Keeper.submit` does.
    """

    def __init__(self, store: Readable, *, submit: Submit) -> None:
        self._store = store
        self._submit = submit

    def describe(self) -> tuple[BlockingMethod, DeferredMethod]:
        """Return the methods as fronts serve them."""
        return (
            BlockingMethod(
                "ListCases",
                messages.ListCasesRequest,
                messages.ListCasesResponse,
                self.list_cases,
                READ_LANE,
            ),
            DeferredMethod(
                "UpdateCase",
                messages.UpdateCaseRequest,
                messages.Case,
                self.update_case,
                translate_case,
                None,
            ),
        )

    def list_cases(
        self, request: messages.ListCasesRequest, context: CallContext
    ) -> messages.ListCasesResponse:
        """Return one page of cases, the newest first.

        Raises
        ------
        InvalidFieldError
            Size, token or a filter is wrong.
        """
        del context
        check_message(request)
        limit = read_page_size(request.page_size)
        wanted = CaseFilter(
            state=_read_state(request.state, "state") if request.state else None,
            label=_read_label(request.label, "label") if request.label else None,
            card=request.card_token,
            terminal=parse_plain_name(request.terminal, TERMINALS, "terminal")
            if request.terminal
            else "",
            merchant=parse_plain_name(request.merchant, MERCHANTS, "merchant")
            if request.merchant
            else "",
            assignee=request.assignee,
        )
        if request.card_token and not is_plain_id(request.card_token, FRAUD_ID_SIZE_MAX):
            raise InvalidFieldError(
                "card_token", request.card_token, "a card's token", reason="CARD_TOKEN_INVALID"
            )
        before = _read_place(request.page_token)
        with self._store.read() as transaction:
            page = list_cases(transaction, wanted, before=before, limit=limit)
        return messages.ListCasesResponse(
            cases=[translate_case(case) for case in page.cases],
            next_page_token=format_page_token(str(page.before), _METHOD) if page.before else "",
        )

    def update_case(
        self, request: messages.UpdateCaseRequest, context: CallContext
    ) -> Future[Case]:
        """Queue a change of a case.

        Raises
        ------
        InvalidFieldError
            The name, the mask or a value is wrong, or holds a card number.
        """
        check_message(request)
        given = request.case
        paths = _read_paths(request)
        label = None
        if "label" in paths:
            label = _LABELS[_read_label(given.label, "case.label")]
        if request.expected_revision < 0:
            raise InvalidFieldError(
                "expected_revision",
                request.expected_revision,
                "a revision of the case, or 0 for any",
                reason="REVISION_INVALID",
            )
        command = UpdateCase(
            number=parse_case_name(given.name, "case.name"),
            assignee=_check_line(given.assignee, "case.assignee") if "assignee" in paths else None,
            state=_read_state(given.state, "case.state") if "state" in paths else None,
            found=label,
            note=_check_note(request.note),
            author=_check_line(request.note_author, "note_author"),
            expected_revision=request.expected_revision,
        )
        return self._submit(command, context.deadline_ns)


def translate_case(case: Case) -> messages.Case:
    """Return the message of a case."""
    asked, verdict = case.transaction, case.verdict
    return messages.Case(
        name=format_case_name(case.number),
        state=cast("messages.CaseState.ValueType", int(case.state)),
        assignee=case.assignee,
        label=cast("messages.CaseLabel.ValueType", int(case.label)),
        transaction=format_plain_name(TRANSACTIONS, asked.transaction_id),
        card_token=asked.card,
        customer=format_customer_name(asked.customer) if asked.customer else "",
        terminal=format_plain_name(TERMINALS, asked.terminal),
        merchant=format_plain_name(MERCHANTS, asked.merchant),
        amount_minor=asked.amount_minor,
        currency=asked.currency,
        transaction_time=make_timestamp(asked.time_ns),
        disposition=cast("messages.Disposition.ValueType", int(verdict.disposition)),
        risk=verdict.risk,
        source=cast("messages.AssessmentSource.ValueType", int(verdict.source)),
        reasons=verdict.reasons,
        figures=[_translate_figure(name, value) for name, value in case.evidence.items()],
        notes=[
            messages.CaseNote(
                note_time=make_timestamp(note.time_ns), author=note.author, text=note.text
            )
            for note in case.notes
        ],
        create_time=make_timestamp(case.create_time_ns),
        update_time=make_timestamp(case.update_time_ns),
        revision=case.revision,
    )


def _translate_figure(name: str, value: float | str) -> messages.CaseFigure:
    if isinstance(value, str):
        return messages.CaseFigure(name=name, category=value)
    return messages.CaseFigure(name=name, value=value)


def _read_paths(request: messages.UpdateCaseRequest) -> frozenset[str]:
    """Return which fields are written: those of the mask, or those that the case carries."""
    if not request.HasField("update_mask"):
        return frozenset(path for path in _PATHS if getattr(request.case, path))
    paths = request.update_mask.paths
    for at, path in enumerate(paths):
        if path not in _PATHS:
            raise InvalidFieldError(
                f"update_mask.paths[{at}]",
                path,
                f"one of {', '.join(_PATHS)}",
                reason="MASK_PATH_INVALID",
            )
    return frozenset(paths)


def _read_state(state: int, field: str) -> CaseState:
    if state not in _STATES:
        raise InvalidFieldError(
            field, state, "CASE_STATE_OPEN or CASE_STATE_CLOSED", reason="CASE_STATE_INVALID"
        )
    return CaseState(state)


def _read_label(
    label: "messages.CaseLabel.ValueType", field: str
) -> "messages.CaseLabel.ValueType":
    if label not in _LABELS:
        raise InvalidFieldError(
            field, label, "CASE_LABEL_FRAUD or CASE_LABEL_GENUINE", reason="CASE_LABEL_INVALID"
        )
    return label


def _check_line(text: str, field: str) -> str:
    if len(text) > CASE_ASSIGNEE_SIZE_MAX or (text and not text.isprintable()):
        raise InvalidFieldError(
            field,
            text,
            f"at most {CASE_ASSIGNEE_SIZE_MAX} characters without control characters",
            reason="CASE_TEXT_INVALID",
        )
    return text


def _check_note(text: str) -> str:
    if len(text) > TEXT_SIZE_MAX:
        raise InvalidFieldError(
            "note", text, f"at most {TEXT_SIZE_MAX:,} characters", reason="CASE_TEXT_INVALID"
        )
    return text


def _read_place(token: str) -> int:
    """Return where a page of cases begins."""
    place = parse_page_token(token, "page_token", _METHOD)
    if not place:
        return 0
    if not place.isdecimal() or len(place) > _NUMBER_SIZE_MAX:
        raise InvalidFieldError(
            "page_token",
            token,
            "the next_page_token of the page before, unchanged",
            reason="PAGE_TOKEN_INVALID",
        )
    return int(place)
