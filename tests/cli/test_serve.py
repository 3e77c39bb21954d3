"""`instanter serve` as a process, and the other commands against it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from instanter.cli.addresses import read_address
from instanter.cli.configuration import Configuration
from instanter.cli.failures import CommandError
from instanter.cli.serving import make_listening
from instanter.client import Client, DecisionRequest, NoOfferReason, ProfileState, Timeouts
from tests.api.waiting import wait_until
from tests.cli.outcomes import Command
from tests.cli.served import LONE, Served, serving
from tests.conftest import REPOSITORY

SHOP = """\
currency: EUR
channels:
  web: [home_hero]
attributes:
  - {name: age, kind: number, range: [0, 120]}
  - {name: plan, kind: category, values: [tin, gold]}
  - {name: basket_value, kind: number, source: context}
offers:
  - name: espresso
    value_minor: 400
    prior_propensity: 0.1
    eligibility: profile.age >= 18.0
    treatments:
      - {channel: web, name: banner}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with serving(folder / "store", "--metrics", "127.0.0.1:0") as running:
        yield running
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0


@pytest.fixture
def asked(command: Command, served: Served, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("INSTANTER_SERVER", served.address)
    monkeypatch.setenv("INSTANTER_DATA_FOLDER", str(served.ready["data_folder"]))
    return command


def test_from_an_empty_store_to_a_decision(asked: Command, served: Served) -> None:
    """One long story, because each step needs the one before."""
    assert served.ready["event"] == "ready"
    assert served.ready["catalogue_revision"] == 0
    early = asked("decide", "a", "-c", "web")
    assert early.code == 1
    assert "no catalogue has been published yet" in early.err

    Path("shop").mkdir()
    Path("shop/shop.yaml").write_text(SHOP)
    published = asked("apply", "-f", "shop", "--json")
    assert published.code == 0, published.err
    assert json.loads(published.out)["catalogue"]["revision"] == 1

    Path("customers.csv").write_text("id,age,plan\na,30,gold\nb,12,tin\n")
    loaded = asked("load", "customers", "customers.csv", "--key", "id")
    assert loaded.code == 0, loaded.err

    known = json.loads(asked("decide", "a", "-c", "web", "-x", "basket_value=3", "--json").out)
    assert [offer["offer"] for offer in known["offers"]] == ["espresso"]
    assert (known["profile_state"], known["catalogue_revision"]) == ("KNOWN", 1)
    young = json.loads(asked("decide", "b", "-c", "web", "--json").out)
    assert (young["offers"], young["no_offer_reason"]) == ([], "NO_ELIGIBLE_OFFER")
    typo = asked("decide", "a", "-c", "wbe")
    assert typo.code == 1
    assert "did you mean 'web'?" in typo.err

    assert json.loads(asked("get", "customers/a", "--json").out)["attributes"] == {
        "age": 30.0,
        "plan": "gold",
    }
    listed = asked("get", "customers", "--all", "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in listed] == ["a", "b"]
    offers = json.loads(asked("get", "offers", "--json").out)
    assert [offer["name"] for offer in offers] == ["espresso"]

    with Client(served.address, timeouts=Timeouts(decision_s=10.0)) as client:
        client.update_customer("c", {"age": 40, "plan": "tin"})
        assert client.update_customer("c", {"plan": None}).attributes == {"age": 40.0}
        questions = [DecisionRequest(customer, "web") for customer in ("c", "b", "nobody")]
        answers = client.decide_offers_batch(questions)
        assert [bool(answer) for answer in answers] == [True, False, False]
        assert answers[2].profile_state is ProfileState.UNKNOWN
        assert answers[1].no_offer_reason is NoOfferReason.NO_ELIGIBLE_OFFER
        first, second = (client.decide_offers("c", "web", request_id="r") for _ in range(2))
        assert first.id == second.id
        assert client.decide_offers("c", "web").id != first.id

    with urlopen(f"http://127.0.0.1:{served.ready['metrics_port']}/metrics", timeout=10) as page:
        assert b"instanter_decisions_total" in page.read()


def test_all_mistakes_of_a_large_catalogue_are_listed(asked: Command, served: Served) -> None:
    """More mistakes than a status has room for."""
    Path("shop").mkdir()
    lines = "".join(f"  - {{name: a{n}, kind: nmber}}\n" for n in range(60))
    Path("shop/shop.yaml").write_text(f"attributes:\n{lines}")
    outcome = asked("apply", "-f", "shop", "--dry-run")
    assert outcome.code == 1
    assert outcome.err.count("did you mean 'number'?") == 60
    assert outcome.err.endswith("error: the catalogue has 60 mistakes; nothing was published\n")


def test_what_people_read_does_not_stand_among_the_events(tmp_path: Path) -> None:
    words = ("serve", "--data", f"{tmp_path}/store", "--listen", "127.0.0.1:0")
    with (
        (tmp_path / "events").open("w") as events,
        subprocess.Popen(
            [sys.executable, "-m", LONE, *words, "--metrics", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=events,
            text=True,
            cwd=REPOSITORY,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert first.startswith("Instanter serves ")
    assert [line.partition(":")[0] for line in rest.splitlines()] == [
        "metrics",
        "there is no catalogue yet",
    ]
    told = [json.loads(line)["event"] for line in (tmp_path / "events").read_text().splitlines()]
    assert "process_serves" in told


def test_a_second_server_on_the_folder_is_refused(asked: Command, served: Served) -> None:
    outcome = asked("serve", "--listen", "127.0.0.1:0")
    assert outcome.code == 1
    assert f"another server, process {served.process.pid}, uses the store" in outcome.err


def test_a_port_that_is_taken_is_refused(asked: Command, served: Served) -> None:
    port = served.ready["port"]
    outcome = asked("serve", "--data", "other", "--listen", f"127.0.0.1:{port}")
    assert outcome.code == 1
    last = outcome.err.splitlines()[-1]
    assert last.startswith(f"error: the port 127.0.0.1:{port} cannot be opened")
    metrics = f"127.0.0.1:{served.ready['metrics_port']}"
    outcome = asked("serve", "--data", "other", "--listen", "127.0.0.1:0", "--metrics", metrics)
    assert outcome.code == 1
    assert f"error: the port {metrics} cannot be opened" in outcome.err
    assert not Path("other").exists(), "a start that is refused leaves nothing behind"


@pytest.mark.parametrize("transport", ["fast", "grpcio"])
def test_a_key_that_cannot_be_used_leaves_no_store_behind(command: Command, transport: str) -> None:
    certificate = trustme.CA().issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path("chain.pem")
    Path("key.pem").write_text("no key")
    tls = ("--tls-certificate", "chain.pem", "--tls-key", "key.pem", "--transport", transport)
    outcome = command("serve", "--data", "new", "--listen", "127.0.0.1:0", *tls)
    assert outcome.code == 1
    assert "error: the certificate, its key or the client authority cannot be used" in outcome.err
    assert not Path("new").exists()


@pytest.mark.parametrize("transport", ["fast", "grpcio"])
def test_a_key_that_wants_a_passphrase_is_refused(command: Command, transport: str) -> None:
    certificate = trustme.CA().issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path("chain.pem")
    plain = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    Path("key.pem").write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    tls = ("--tls-certificate", "chain.pem", "--tls-key", "key.pem", "--transport", transport)
    outcome = command("serve", "--data", "new", "--listen", "127.0.0.1:0", *tls)
    assert outcome.code == 1
    assert "the key wants a passphrase; expected one without" in outcome.err
    assert not Path("new").exists()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name
)
def test_a_signal_ends_it_cleanly_and_encryption_works(
    tmp_path: Path, number: signal.Signals, command: Command
) -> None:
    authority = trustme.CA()
    end = datetime.now(UTC) + timedelta(days=3, hours=1)
    certificate = authority.issue_cert("localhost", not_after=end)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(tmp_path / "chain.pem", append=True)
    tls = ("--tls-certificate", f"{tmp_path}/chain.pem", "--tls-key", f"{tmp_path}/key.pem")
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with serving(tmp_path / "store", *tls) as running:
        signal.signal(signal.SIGHUP, before)
        Path("instanter.toml").write_text(
            f"server = '{running.address}'\nserver_authority = '{tmp_path}/authority.pem'\n"
        )
        answered = command("get", "catalogue")
        assert "no catalogue has been published yet" in answered.err
        running.process.send_signal(number)
        rest, _ = running.process.communicate(timeout=30)
        assert running.process.returncode == 0
        assert json.loads(rest) == {"event": "stopped"}
    events = [json.loads(line) for line in Path(f"{tmp_path}/store.log").read_text().splitlines()]
    (told,) = [event for event in events if event["event"] == "certificate_ends_soon"]
    assert told["days_left"] == 3


def test_what_is_wrong_with_encryption_is_told(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, other = trustme.CA(), trustme.CA()
    issued, stranger = authority.issue_cert("localhost"), other.issue_cert("someone")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    for name, certificate in (("server", issued), ("stranger", stranger)):
        certificate.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    tls = ("--tls-certificate", f"{tmp_path}/server.pem", "--tls-key", f"{tmp_path}/server.key")
    callers = ("--tls-client-authority", f"{tmp_path}/authority.pem")

    def ask(server: str, **settings: str) -> str:
        for name in ("authority", "certificate", "key"):
            which = "INSTANTER_SERVER_" if name == "authority" else "INSTANTER_CLIENT_"
            file = settings.get(name)
            monkeypatch.setenv(f"{which}{name.upper()}", f"{tmp_path}/{file}" if file else "")
        outcome = command("get", "catalogue", "--server", server)
        assert outcome.code == (2 if "key" in settings and len(settings) < 3 else 1)
        return outcome.err

    pair = {"certificate": "stranger.pem", "key": "stranger.key"}
    with serving(tmp_path / "store", *tls, *callers, module=LONE) as running:
        assert "CERTIFICATE_VERIFY_FAILED" in ask(running.address, authority="other.pem")
        closed = (
            f"error: {running.address} takes connections, and closes them\n  hint: does it want"
        )
        assert closed in ask(running.address)
        assert closed in ask(running.address, authority="authority.pem", **pair)
        assert "without encryption" in ask(running.address, **pair)
        half = ask(running.address, authority="authority.pem", key="stranger.key")
        assert (
            f"client_certificate '' and client_key '{tmp_path}/stranger.key' are not right" in half
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly_before_it_is_ready(tmp_path: Path, number: int) -> None:
    words = ["serve", "--data", str(tmp_path / "store"), "--listen", "127.0.0.1:0", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "instanter.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: bool(children.read_text()), "it has begun its own processes")
        pids = children.read_text().split()
        process.send_signal(number)
        said, complaints = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, '{"event": "stopped"}\n'), complaints
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "they are gone")


def test_the_end_of_a_terminal_does_not_end_what_was_begun_with_nohup(
    tmp_path: Path, command: Command
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with serving(tmp_path / "store") as running:
            signal.signal(signal.SIGHUP, before)
            Path("instanter.toml").write_text(f"server = '{running.address}'\n")
            running.process.send_signal(signal.SIGHUP)
            assert "no catalogue has been published yet" in command("get", "catalogue").err
            running.process.send_signal(signal.SIGTERM)
            rest, _ = running.process.communicate(timeout=30)
            assert json.loads(rest) == {"event": "stopped"}
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_store_that_was_cut_is_told(tmp_path: Path, command: Command) -> None:
    with serving(tmp_path / "store", module=LONE) as running:
        with Client(f"localhost:{running.ready['port']}") as client:
            client.apply_catalogue({"shop.yaml": SHOP})
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
    os.truncate(tmp_path / "store" / "data.mdb", 8_192)
    outcome = command("serve", "--data", f"{tmp_path}/store", "--listen", "127.0.0.1:0")
    assert outcome.code == 1
    assert "a file of the store is shorter than it has to be, data.mdb as a rule" in outcome.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:7878", ("127.0.0.1", 7878)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:7878", ("::1", 7878)),
    ],
)
def test_an_address_is_read(text: str, expected: tuple[str, int]) -> None:
    assert read_address(text, "listen") == expected


@pytest.mark.parametrize(
    "text", ["", "7878", ":7878", "host:", "host:x", "host:70000", "host:-1", "::1:7878", "h:٣"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="expected HOST:PORT") as raised:
        read_address(text, "listen")
    assert raised.value.exit_code == 2


def test_listening_follows_the_settings(tmp_path: Path) -> None:
    plain = make_listening(Configuration(listen="[::1]:5"))
    assert (plain.address, plain.port, plain.metrics_port, plain.tls) == ("[::1]", 5, None, None)
    (tmp_path / "pem").write_bytes(b"pem")
    pem = str(tmp_path / "pem")
    full = make_listening(
        Configuration(
            metrics="[::1]:9464", tls_certificate=pem, tls_key=pem, tls_client_authority=pem
        )
    )
    assert (full.metrics_address, full.metrics_port) == ("::1", 9464)
    assert full.tls is not None
    assert full.tls.client_authority == b"pem"
    for half in ({"tls_key": pem}, {"tls_certificate": pem}, {"tls_client_authority": pem}):
        with pytest.raises(CommandError, match="TLS needs both"):
            make_listening(Configuration(**half))
