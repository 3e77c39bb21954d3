"""What a process is told to be, as it travels over the control channel."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

from instanter.rpc.listening import Listening
from instanter.rpc.tls import TlsFiles
from instanter.store.log.retention import Retention
from instanter.supervisor.channel import Message


class Role(StrEnum):
    """What a process is."""

    KEEPER = "keeper"
    """It alone writes."""

    WORKER = "worker"
    """It decides and reads, and forwards what changes something."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one process is to be.

    Attributes
    ----------
    role
        Its role.
    folder
        The data folder.
    lock_file_id
        Device and inode of the file that the supervisor has locked in it.
    listening
        Where it serves; None for a keeper that has workers.
    fresh_overlay
        Whether a keeper begins with an empty overlay: no worker has the old one open.
    retention
        How long a keeper's log keeps what nothing needs any more.
    """

    role: Role
    folder: Path
    lock_file_id: tuple[int, int]
    listening: Listening | None
    fresh_overlay: bool = False
    retention: Retention = field(default_factory=Retention)

    def to_message(self) -> Message:
        """Return the assignment as a message."""
        listening = None
        if self.listening is not None:
            tls = self.listening.tls
            listening = {
                "address": self.listening.address,
                "port": self.listening.port,
                "transport": self.listening.transport,
                "tls": tls and [tls.key, tls.certificate, tls.client_authority],
            }
        return {
            "do": "serve",
            "role": str(self.role),
            "folder": str(self.folder),
            "lock_file_id": list(self.lock_file_id),
            "listening": listening,
            "fresh_overlay": self.fresh_overlay,
            "retention": [self.retention.age_ns_max, self.retention.size_bytes_max],
        }

    @classmethod
    def from_message(cls, message: Message) -> Self:
        """Return the assignment in a message."""
        listening = None
        told = message["listening"]
        device, inode = message["lock_file_id"]
        if told is not None:
            tls = None
            if told["tls"] is not None:
                key, certificate, client_authority = told["tls"]
                tls = TlsFiles(key=key, certificate=certificate, client_authority=client_authority)
            listening = Listening(
                address=told["address"],
                port=told["port"],
                tls=tls,
                transport=told["transport"],
                reuse_port=True,
            )
        return cls(
            role=Role(message["role"]),
            folder=Path(message["folder"]),
            lock_file_id=(device, inode),
            listening=listening,
            fresh_overlay=message["fresh_overlay"],
            retention=Retention(*message["retention"]),
        )
