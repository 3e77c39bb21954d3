"""The main job on real input: 3,616 customers × 1000 attributes, from file to decision.

Schema inferred, customers loaded beside a running server, one offer fitted on the target, every
customer decided over gRPC: everything through the doors that a user has.
"""

import json
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from instanter.client import Client, DecisionRequest, OfferReason, ProfileState

TARGET = "target_buys_after_2011_10_01"
SHOP = """
currency: GBP
channels: {web: []}
offers:
  - name: come_back
    value_minor: 500
    treatments: [{channel: web}]
    eligibility: profile.n_baskets >= 1
"""


def instanter(*arguments):
    """Run the command in a process of its own and return what it printed."""
    command = [sys.executable, "-m", "instanter.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def profiles(data_folder):
    file = data_folder / "profiles_1000/online_retail_profiles_1000.parquet"
    if not file.is_file():
        pytest.skip(f"no real data: {file} is not there")
    return file


@pytest.fixture
def server(tmp_path):
    """A server in a process of its own, on a new store; its host and port."""
    command = [sys.executable, "-m", "instanter.cli", "serve", "--data", str(tmp_path / "store")]
    process = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", "--json"], stdout=subprocess.PIPE, text=True
    )
    with process.stdout:
        yield f"127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def rank_auc(scores, labels):
    """Area under the curve by ranks; ties share their rank."""
    order = np.unique(scores, return_inverse=True)[1]
    counts = np.bincount(order)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[order]
    positives = labels.sum()
    return (ranks[labels].sum() - positives * (positives + 1) / 2) / (
        positives * (len(labels) - positives)
    )


@pytest.mark.slow
def test_every_customer_of_the_real_profiles_is_decided(profiles, server, tmp_path):
    shop, store = tmp_path / "shop", tmp_path / "store"
    shop.mkdir()
    (shop / "shop.yaml").write_text(SHOP)
    instanter(
        "schema", "infer", profiles, "--key", "CustomerID", "--exclude", TARGET,
        "-o", shop / "attributes.yaml",
    )  # fmt: skip
    instanter("apply", "-f", shop, "--server", server)
    instanter(
        "load", "customers", profiles, "--key", "CustomerID", "--data", store,
        "--ignore-unknown-columns",
    )  # fmt: skip
    fitted = json.loads(
        instanter(
            "fit",
            profiles,
            "--target",
            TARGET,
            "--offer",
            "come_back",
            "--data",
            store,
            "--passes",
            "4",
            "--json",
        )
    )
    assert fitted["row_count"] == 3616
    table = pq.read_table(profiles, columns=["CustomerID", TARGET])
    labels = np.array(table.column(TARGET)).astype(bool)
    ids = [str(value.as_py()) for value in table.column("CustomerID")]
    with Client(server) as client:
        while not client.decide_offers(ids[0], "web").model_revision:
            pass
        decisions = [
            decision
            for start in range(0, len(ids), 500)
            for decision in client.decide_offers_batch(
                [DecisionRequest(customer, "web") for customer in ids[start : start + 500]]
            )
        ]
        again = client.decide_offers(ids[0], "web")
    assert {decision.profile_state for decision in decisions} == {ProfileState.KNOWN}
    # Every customer of the file has at least one basket, so every one is eligible.
    assert all(len(decision.offers) == 1 for decision in decisions)
    assert all(OfferReason.MODEL in decision.offers[0].reasons for decision in decisions)
    propensity = np.array([decision.offers[0].propensity for decision in decisions])
    assert again.offers[0].propensity == propensity[0]
    # In sample, so better than the honest figure of `make bench NAME=decide`; what must not happen
    # is that serving loses what was learned.
    assert rank_auc(propensity, labels) > 0.76
    assert abs(propensity.mean() - labels.mean()) < 0.05
