"""How soon a server decides, how soon the command answers, and whether anything compiles late."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import grpc

from bench import workload
from bench.decide.sizes import Sizes
from bench.decide.wire import check_answer
from bench.measurement import Figure
from bench.server_process import ServerProcess
from instanter.v1 import (
    attribute_value_pb2,
    catalogue_service_pb2,
    catalogue_service_pb2_grpc,
    customer_service_pb2,
    customer_service_pb2_grpc,
    decision_service_pb2,
    decision_service_pb2_grpc,
)

_HELP_ROUNDS = 7
_REVISION_S_MAX = 5.0


def measure_start(folder: Path, profile_count: int, sizes: Sizes) -> Figure:
    """Time from starting `instanter serve` to its first decision, kernels compiled before.

    The store's pages are in the page cache, as after any restart of the server alone.
    """
    times_s = []
    for _ in range(sizes.starts + 1):
        with ServerProcess.serve(folder) as server:
            check_answer(server.port)
            times_s.append(time.perf_counter() - server.begun_s)
    # The first start warms up the page cache and, after a change of a kernel, compiles.
    del times_s[0]
    return Figure(
        statistics.median(times_s),
        "≤ 4",
        "≤ 2",
        {"profiles": profile_count, "starts": len(times_s), "slowest_s": max(times_s)},
    )


def measure_help_ratio() -> Figure:
    """`instanter --help` ÷ importing what every such command imports."""
    ours = [sys.executable, "-m", "instanter.cli", "--help"]
    theirs = [sys.executable, "-c", "import typer, rich"]
    pairs = [(_time_command_s(ours), _time_command_s(theirs)) for _ in range(_HELP_ROUNDS)]
    help_s, import_s = (statistics.median(pair[at] for pair in pairs) for at in (0, 1))
    return Figure(
        statistics.median(a / b for a, b in pairs),
        "≤ 1.5",
        "",
        {"help_s": help_s, "import_s": import_s, "rounds": _HELP_ROUNDS},
    )


def count_late_compilations(folder: Path, files: dict[str, str]) -> Figure:
    """Use every method of the server, publish in between, and count what Numba compiles meanwhile.

    The store's catalogue is published once more, with another holdout salt.
    """
    command = [sys.executable, "-m", "bench.watched_server", "serve", "--data", str(folder)]
    with ServerProcess([*command, "--listen", "127.0.0.1:0"]) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            calls = _use_customers(channel) + _use_decisions(channel)
            calls += _publish(channel, files)
            calls += _use_customers(channel) + _use_decisions(channel)
        count = server.count_late_words("kernel_compiled")
    return Figure(count, "0", "", {"calls": calls})


def _time_command_s(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _use_decisions(channel: grpc.Channel) -> int:
    """Decide with and without profile, placement, context; one offer and a hundred; in a batch."""
    stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
    value = attribute_value_pb2.AttributeValue
    context = {"basket_value": value(number_value=20), "device": value(category_value="phone")}
    requests = [
        decision_service_pb2.DecideOffersRequest(
            customer=f"customers/{customer}",
            channel=workload.CHANNEL,
            placement=placement,
            offer_count=count,
            context=given,
            request_id=request_id,
        )
        for customer in (workload.name_customer(0), "unheard-of")
        for placement in (workload.PLACEMENT, "")
        for count in (1, 3, 100)
        for given in ({}, context)
        for request_id in ("", "retry-1")
    ]
    for request in requests:
        stub.DecideOffers(request, timeout=30)
    batch = decision_service_pb2.BatchDecideOffersRequest(requests=requests)
    stub.BatchDecideOffers(batch, timeout=30)
    return len(requests) + 1


def _use_customers(channel: grpc.Channel) -> int:
    """Write, read, list and delete a customer."""
    stub = customer_service_pb2_grpc.CustomerServiceStub(channel)
    name = "customers/late"
    value = attribute_value_pb2.AttributeValue(number_value=12.5)
    customer = customer_service_pb2.Customer(name=name, attributes={"number_001": value})
    update = customer_service_pb2.UpdateCustomerRequest(customer=customer, allow_missing=True)
    stub.UpdateCustomer(update, timeout=30)
    stub.GetCustomer(customer_service_pb2.GetCustomerRequest(name=name), timeout=30)
    batch = customer_service_pb2.BatchGetCustomersRequest(names=[name])
    stub.BatchGetCustomers(batch, timeout=30)
    stub.ListCustomers(customer_service_pb2.ListCustomersRequest(page_size=10), timeout=30)
    stub.DeleteCustomer(customer_service_pb2.DeleteCustomerRequest(name=name), timeout=30)
    return 5


def _publish(channel: grpc.Channel, files: dict[str, str]) -> int:
    """Publish a changed catalogue and wait until a decision names its revision."""
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(channel)
    changed = files | {"shop.yaml": files["shop.yaml"].replace("salt: bench", "salt: again")}
    request = catalogue_service_pb2.ApplyCatalogueRequest(
        files=[
            catalogue_service_pb2.CatalogueFile(path=path, content=text)
            for path, text in changed.items()
        ]
    )
    revision = stub.ApplyCatalogue(request, timeout=60).catalogue.revision
    decide = decision_service_pb2_grpc.DecisionServiceStub(channel).DecideOffers
    wanted = decision_service_pb2.DecideOffersRequest(
        customer=f"customers/{workload.name_customer(0)}", channel=workload.CHANNEL
    )
    end = time.monotonic() + _REVISION_S_MAX
    while decide(wanted, timeout=30).catalogue_revision < revision:
        assert time.monotonic() < end, "a new revision decides within a second"
        time.sleep(0.05)
    return 2
