"""Single flipped bits in the files of a stopped and of a killed server: none is served.

*Live* is what was written: the keys and values of all databases, the log's header and frames. The
rest is apart: the pages of the trees that lead there, notes of when something may be dropped, free
pages, padding, room for what is to come. Nobody can notice a flip in bytes that nobody reads.

`INSTANTER_FLIPS=100` for each folder is the long version, which measures.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.served import LONE
from tests.conftest import REPOSITORY
from tests.crash.flips import describe
from tests.crash.killable import Server
from tests.crash.ledger import CUSTOMERS_EACH, Door, Ledger

FLIPS = int(os.environ.get("INSTANTER_FLIPS", "12"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 10 * FLIPS)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a killed server and of a stopped one, and what they have to serve."""
    root = tmp_path_factory.mktemp("flips")
    server = Server(root / "store", 0, module=LONE)
    server.start()
    ledger = Ledger(server.address, 4)
    try:
        with Door(server.address) as door:
            door.publish()
            ledger.write_more(300)
            for account in ledger.accounts:
                account.begin().send(door, 20.0)
            expected = {}
            for account in ledger.accounts:
                for number in range(CUSTOMERS_EACH):
                    name = f"{account.writer}c{number}"
                    found = door.get(name)
                    assert found is not None
                    expected[name] = describe(found)
        server.kill()
        ignored = shutil.ignore_patterns("*.sock", "live")
        shutil.copytree(server.folder, root / "killed", ignore=ignored)
        server.start()
        assert server.stop() == 0
        shutil.copytree(server.folder, root / "stopped", ignore=ignored)
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
    (root / "expected.json").write_text(json.dumps(expected))
    return {name: root / name for name in ("killed", "stopped")}


def run_flips(folder: Path, count: int) -> list[dict[str, Any]]:
    paths = [str(REPOSITORY / part) for part in ("server", "protos", ".")]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.crash.flips", str(folder)),
            *(str(folder.parent / "expected.json"), "3", str(count)),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("state", ["killed", "stopped"])
def test_a_flipped_bit_is_never_served(folders: dict[str, Path], state: str) -> None:
    tried = run_flips(folders[state], FLIPS)
    controls, tried = tried[:2], tried[2:]
    assert not any(is_noticed(each) or each["wrong"] or each["missing"] for each in controls), (
        controls
    )
    # A flipped key hides its record. LMDB has no checksums of its pages, so reading cannot tell
    # that from a record which never was; only looking at everything can.
    hidden = [
        each for each in tried if each.get("wrong") and each["live"] not in ("value", "served")
    ]
    wrong = [each for each in tried if each.get("wrong") and each not in hidden]
    live = [each for each in tried if each["live"]]
    unnoticed = [each for each in live if not is_noticed(each)]
    apart = Counter("noticed" if is_noticed(e) else "unseen" for e in tried if not e["live"])
    print(
        json.dumps(
            {
                "folder": state,
                "flips": len(tried),
                "wrong": len(wrong),
                "wrong_by_a_hidden_record": len(hidden),
                "live": len(live),
                "live_noticed": len(live) - len(unnoticed),
                "others": dict(apart),
                "died": sum("died" in each for each in tried),
                "vanished": sum(bool(each.get("missing")) for each in tried),
                "withheld": sum(bool(each.get("withheld")) for each in tried),
            }
        )
    )
    for each in unnoticed:
        print("unnoticed", each)
    assert len(tried) == FLIPS
    assert not wrong, json.dumps(wrong[:3])
    assert all(each["verify"] for each in hidden), json.dumps(hidden[:3])
    assert not [each for each in hidden if each["live"] == "frame"]
    assert len(live) - len(unnoticed) >= 0.99 * len(live), unnoticed[:3]
    assert len(live) >= FLIPS // 2


def is_noticed(told: dict[str, Any]) -> bool:
    """Whether a flip is told of: by a command, by a start that is refused, by what is read."""
    seen = ("died", "verify", "start", "refused")
    return any(told.get(each) for each in seen)
