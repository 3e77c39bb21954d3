"""`FraudService.ListFraudRules`, `ResumeFraudRule` and `SnoozeFraudRule`."""

from concurrent.futures import Future
from typing import Final, cast

from instanter.clock import Clock
from instanter.errors import CatalogueMissingError, InvalidFieldError, PreconditionError
from instanter.fraud_limits import FRAUD_ID_SIZE_MAX
from instanter.keeper.commands import Submit
from instanter.keeper.fraud_rules import ResumeFraudRule, RuleReport, SnoozeFraudRule, list_rules
from instanter.keeper.published import PublishedCatalogue
from instanter.rpc.card_numbers import check_message
from instanter.rpc.chaining import chain
from instanter.rpc.customers import READ_LANE
from instanter.rpc.front import BlockingMethod, CallContext, DeferredMethod
from instanter.rpc.names import FRAUD_RULES, format_plain_name, is_plain_id, parse_plain_name
from instanter.rpc.page_tokens import format_page_token, parse_page_token, read_page_size
from instanter.rpc.timestamps import make_timestamp, read_time_ns
from instanter.store.transaction import Readable
from instanter.v1 import fraud_service_pb2 as messages

_METHOD: Final = "ListFraudRules"
_S_NS: Final = 1_000_000_000


class FraudRuleDesk:
    """Answers what concerns the rules at run time.

    Parameters
    ----------
    store
        The store that is read.
    submit
        Carries out a command, as `Keeper.submit` does.
    published
        Knows the catalogue in force.
    clock
        Tells which rules are current.
    """

    def __init__(
        self, store: Readable, *, submit: Submit, published: PublishedCatalogue, clock: Clock
    ) -> None:
        self._store = store
        self._submit = submit
        self._published = published
        self._clock = clock

    def describe(self) -> tuple[BlockingMethod, DeferredMethod, DeferredMethod]:
        """Return the methods as fronts serve them."""
        return (
            BlockingMethod(
                "ListFraudRules",
                messages.ListFraudRulesRequest,
                messages.ListFraudRulesResponse,
                self.list_rules,
                READ_LANE,
            ),
            DeferredMethod(
                "ResumeFraudRule",
                messages.ResumeFraudRuleRequest,
                messages.ResumeFraudRuleResponse,
                self.resume,
                self.translate_resumed,
                None,
            ),
            DeferredMethod(
                "SnoozeFraudRule",
                messages.SnoozeFraudRuleRequest,
                messages.SnoozeFraudRuleResponse,
                self.snooze,
                _translate_snoozed,
                None,
            ),
        )

    def list_rules(
        self, request: messages.ListFraudRulesRequest, context: CallContext
    ) -> messages.ListFraudRulesResponse:
        """Return one page of rules, in the catalogue's order.

        Raises
        ------
        InvalidFieldError
            Size or token is wrong.
        CatalogueMissingError, PreconditionError
            Nothing declares rules.
        """
        del context
        check_message(request)
        limit = read_page_size(request.page_size)
        after = parse_page_token(request.page_token, "page_token", _METHOD)
        with self._store.read() as transaction:
            catalogue = self._published.load(transaction)
            if catalogue is None:
                raise CatalogueMissingError
            if catalogue.fraud is None:
                raise PreconditionError(
                    "the catalogue has no `fraud:` section, so it has no fraud rules",
                    reason="FRAUD_NOT_DECLARED",
                )
            reports = list_rules(transaction, catalogue.fraud)
        names = [report.rule.name for report in reports]
        # The rule of the token may be gone since: the list begins anew then.
        start = names.index(after) + 1 if after in names else 0
        page = reports[start : start + limit]
        more = start + limit < len(reports)
        return messages.ListFraudRulesResponse(
            fraud_rules=[self._translate(report) for report in page],
            next_page_token=format_page_token(page[-1].rule.name, _METHOD) if more else "",
        )

    def resume(
        self, request: messages.ResumeFraudRuleRequest, context: CallContext
    ) -> Future[RuleReport]:
        """Queue the resumption of a rule.

        Raises
        ------
        InvalidFieldError
            The name is wrong; the future raises what else is.
        """
        check_message(request)
        rule = parse_plain_name(request.name, FRAUD_RULES, "name")
        command = ResumeFraudRule(rule)
        return self._submit(command, context.deadline_ns)

    def translate_resumed(self, report: RuleReport) -> messages.ResumeFraudRuleResponse:
        """Return the response that tells the rule as it is now."""
        return messages.ResumeFraudRuleResponse(rule=self._translate(report))

    def snooze(self, request: messages.SnoozeFraudRuleRequest, context: CallContext) -> Future[int]:
        """Queue the snooze of a rule for a card; the future has its end.

        Raises
        ------
        InvalidFieldError
            A name or the end is wrong; the future raises what else is.
        """
        check_message(request)
        rule = parse_plain_name(request.name, FRAUD_RULES, "name")
        if not is_plain_id(request.card_token, FRAUD_ID_SIZE_MAX):
            raise InvalidFieldError(
                "card_token", request.card_token, "a card's token", reason="CARD_TOKEN_INVALID"
            )
        end_ns = read_time_ns(
            request.snooze_end_time,
            "snooze_end_time",
            expected="a time at most 120 days ahead",
            reason="SNOOZE_END_INVALID",
            seconds_max=(1 << 33) - 1,
        )
        command = SnoozeFraudRule(rule, request.card_token, end_ns)
        return chain(self._submit(command, context.deadline_ns), lambda _: end_ns)

    def _translate(self, report: RuleReport) -> messages.FraudRule:
        rule, figures = report.rule, report.figures
        message = messages.FraudRule(
            name=format_plain_name(FRAUD_RULES, rule.name),
            when=rule.when,
            reason=rule.reason,
            disposition=cast("messages.Disposition.ValueType", int(rule.disposition)),
            points=rule.points,
            state=self._find_state(report),
            fired_count=figures.fired_count,
            shadowed_count=figures.shadowed_count,
            stopped_count=figures.stopped_count,
        )
        if report.is_paused and figures.paused_time_ns:
            message.pause_time.CopyFrom(make_timestamp(figures.paused_time_ns))
        return message

    def _find_state(self, report: RuleReport) -> "messages.FraudRuleState.ValueType":
        rule = report.rule
        now_s = self._clock.now_ns() // _S_NS
        if not rule.valid_from_s <= now_s < rule.valid_to_s:
            return messages.FRAUD_RULE_STATE_NOT_CURRENT
        if rule.shadow:
            return messages.FRAUD_RULE_STATE_SHADOW
        if report.is_paused:
            return messages.FRAUD_RULE_STATE_PAUSED
        return messages.FRAUD_RULE_STATE_LIVE


def _translate_snoozed(end_ns: int) -> messages.SnoozeFraudRuleResponse:
    return messages.SnoozeFraudRuleResponse(snooze_end_time=make_timestamp(end_ns))
