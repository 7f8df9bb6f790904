"""Settings: each setting of a relay, declared once with its kind, default, range and meaning.

A new one needs its line here, and `python tools/settings_pages.py` for the pages that are made from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from infoexchange.cli.passphrase import asking
from infoexchange.home import Keychain
from infoexchange_relay.config.bucket import BucketAddress, BucketPlace, Region
from infoexchange_relay.config.kinds import (
    LOG_LEVELS,
    Address,
    Database,
    File,
    Flag,
    Kind,
    Name,
    Names,
    Number,
    Url,
    Word,
)
from infoexchange_relay.config.witnesses import ForeignWitness, ForeignWitnesses

_GIB = 2**30
_GIB_MAX = 2**20  # a pebibyte: more is a typing error
_WITNESS_SECONDS_MAX = 3600  # an hour without a witness is an outage, not a setting
_SHARE_MAX = 10**9  # no limit at all
_MONTH_MINUTES = 30 * 24 * 60  # a month without a time is none, and a month without a witness is never


@dataclass(frozen=True)
class Setting:
    """What is written down of one setting beside its name and its default.

    Attributes:
        kind: What values it takes.
        meaning: One sentence that ends with a full stop.
        more: What the file that `init` writes says besides; empty for nothing.
        initial: What `init` writes where there is no default.
    """

    kind: Kind
    meaning: str
    more: str = ""
    initial: str = ""


def _of(kind: Kind, meaning: str, *, more: str = "", initial: str = "") -> dict[str, Setting]:
    return {"setting": Setting(kind, meaning, more, initial)}


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one relay, each with its meaning beside it. Paths are absolute, or relative to their file."""

    name: str = field(metadata=_of(Name(), "Name of the relay, as in the directory and in its TLS certificate."))
    listen: str = field(
        metadata=_of(Address(), "Where agencies and other relays connect, host:port; port 0 takes any free one.")
    )
    data: Path = field(
        metadata=_of(
            File(),
            "Folder of the log, envelopes and queues.",
            more="Back it up with: infoexchange-relay backup FILE --config relay.toml",
            initial="data",
        )
    )
    latch: Path = field(
        metadata=_of(
            File(),
            "File of the last signed checkpoint, outside data, better on another disk.",
            more="NEVER restore it from a backup: it is what proves that the data is not an old copy.",
            initial="latch/checkpoint",
        )
    )
    log_keys: Path = field(
        metadata=_of(
            File(), "Key file of the audit log, outside data, readable by the relay's user only.", initial="log.key"
        )
    )
    witness_keys: Path = field(
        metadata=_of(
            File(),
            "Key file of the witness that cosigns other relays' logs, outside data, mode 0600 too.",
            initial="witness.key",
        )
    )
    tls_key: Path = field(
        metadata=_of(File(), "Key file of the TLS certificate, outside data, mode 0600 too.", initial="tls.key")
    )
    store: str = field(
        default="",
        metadata=_of(
            Database(),
            "PostgreSQL database for log, envelopes and queues, which several nodes of one relay share; "
            "empty for a file inside data.",
            more="Needs pip install 'infoexchange[postgres]'. Each node has keys, latch and data of its own machine; "
            "the keys are the same. Back it up with the database's own tools.",
        ),
    )
    passphrase_file: str = field(
        default="",
        metadata=_of(
            File(optional=True),
            "File with the passphrase of key files that are sealed with one, outside data.",
            more="Leave it empty where systemd hands the passphrase over as the credential infoexchange-passphrase, "
            "and where a person types it.",
        ),
    )
    tls_certificate: Path = field(
        metadata=_of(
            File(), "PEM file of the certificate that the national CA issued for request.pem.", initial="tls.pem"
        )
    )
    directory: Path = field(metadata=_of(File(), "Signed directory.", initial="directory.pb"))
    roots: Path = field(
        metadata=_of(File(), "Trust anchor: the root keys that signed the first directory.", initial="roots.pb")
    )
    courier: tuple[str, ...] = field(
        default=(),
        metadata=_of(
            Names(),
            "Relays to which no network leads: pouches are carried to them, and they are not dialled.",
            more="Both sides name each other. See: infoexchange-relay courier --help",
        ),
    )
    witness_seconds: int = field(
        default=10,  # C2SP tlog-witness suggests seconds to a minute
        metadata=_of(
            Number(1, _WITNESS_SECONDS_MAX, "seconds"),
            "Seconds between two rounds of having other nations' relays cosign the audit log.",
        ),
    )
    witness_listen: str = field(
        default="",
        metadata=_of(
            Address(optional=True),
            "Where the witness also answers logs and monitors over HTTP (C2SP tlog-witness); empty for nowhere.",
            more="It asks for no certificate: put a reverse proxy before it.",
        ),
    )
    witness_foreign: tuple[ForeignWitness, ...] = field(
        default=(),
        metadata=_of(
            ForeignWitnesses(), "Witnesses outside the community that are asked for cosignatures too, over HTTP."
        ),
    )
    uncosigned_minutes: int = field(
        default=240,  # X-Road's 14 400 s without a timestamp
        metadata=_of(
            Number(1, _MONTH_MINUTES, "minutes"),
            "Minutes that log entries may be without enough cosignatures before no new message is taken.",
            more="What waits is delivered and forwarded all the same.",
        ),
    )
    tsa_url: str = field(
        default="",
        metadata=_of(
            Url(),
            "Where a time authority (RFC 3161) stamps the checkpoints of the audit log; empty for none.",
            more="Needs pip install 'infoexchange[tsa]'. One that is slow, dead or wrong stops nothing.",
        ),
    )
    tsa_roots: str = field(
        default="",
        metadata=_of(
            File(optional=True),
            "PEM file of the certificates under which that authority signs; needed with tsa_url.",
        ),
    )
    tsa_minutes: int = field(
        default=60,
        metadata=_of(Number(1, _MONTH_MINUTES, "minutes"), "Minutes between two timestamps, if the log has grown."),
    )
    attachments_gib: int = field(
        default=2052,  # two of the largest
        metadata=_of(
            Number(0, _GIB_MAX, "GiB"),
            "GiB of attachments that one party may have uploaded and that no message names yet.",
            more="They go after seven days.",
        ),
    )
    reserve_gib: int = field(
        default=1,  # the log of a busy month
        metadata=_of(Number(0, _GIB_MAX, "GiB"), "GiB of the disk that attachments leave free for the audit log."),
    )
    attachments_bucket: str = field(
        default="",
        metadata=_of(
            BucketAddress(),
            "Where attachments lie in an S3-compatible store, each relay under a prefix of its own; "
            "empty for the folder attachments in data.",
            more="Needs pip install 'infoexchange[s3]', and keys where AWS_SHARED_CREDENTIALS_FILE names a file.",
        ),
    )
    attachments_endpoint: str = field(
        default="",
        metadata=_of(Url(), "Where that store is asked, if it is not Amazon's; needs attachments_bucket."),
    )
    attachments_region: str = field(
        default="", metadata=_of(Region(), "Region that requests to that store are signed for.")
    )
    party_messages: int = field(
        default=30_000,  # 500 a second
        metadata=_of(
            Number(1, _SHARE_MAX, "messages"),
            "Messages that one agency may hand over in a minute; another relay sixteen times as many.",
            more="More is refused as overloaded, and its sender tries again; nobody uses up what others may send.",
        ),
    )
    party_mib: int = field(
        default=512,
        metadata=_of(
            Number(1, _SHARE_MAX, "MiB"),
            "MiB of messages that one agency may hand over in a minute, without their attachments; another relay "
            "sixteen times as many.",
        ),
    )
    party_calls: int = field(
        default=64,
        metadata=_of(
            Number(1, _SHARE_MAX, "calls"),
            "Calls that one agency may have under way at once, open streams among them; another relay sixteen times "
            "as many.",
        ),
    )
    party_connections: int = field(
        default=16,
        metadata=_of(
            Number(1, _SHARE_MAX, "connections"),
            "Connections on which one agency may have calls under way at once; another relay sixteen times as many.",
        ),
    )
    reflection: bool = field(
        default=False, metadata=_of(Flag(), "Whether gRPC reflection answers, for tests with grpcurl.")
    )
    metrics_listen: str = field(
        default="",
        metadata=_of(
            Address(optional=True, loopback=True),
            "Where Prometheus (/metrics) and probes (/healthz, /readyz) ask; empty for nowhere.",
        ),
    )
    traces_url: str = field(
        default="",
        metadata=_of(
            Url(),
            "Where a collector takes OpenTelemetry traces (OTLP over HTTP, ending in /v1/traces); empty for none.",
            more="Needs pip install 'infoexchange[otel]'. Spans name envelopes by digest, and relays; nobody else. "
            "A collector that is dead or slow stops nothing.",
        ),
    )
    traces_percent: int = field(
        default=100,
        metadata=_of(
            Number(1, 100, "percent"),
            "Of a hundred envelopes, how many are traced: the same at all relays with the same number.",
        ),
    )
    log_level: str = field(default="info", metadata=_of(Word(LOG_LEVELS), "Least severe messages that are logged."))

    def keychain(self) -> Keychain:
        """Return what opens the key files: systemd's credential, the passphrase file, or a person at this terminal."""
        return Keychain(asking(Path(self.passphrase_file) if self.passphrase_file else None, "Passphrase of"))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the settings in force, wherever they came from: one line for each, in the order of the fields.

        Paths count as the places that they lead to, whatever the file with the settings was called as.
        """
        values = ((one.name, getattr(self, one.name), setting.kind) for one, setting in declared())
        lines = (f"{name} = {Path(v).resolve() if v and isinstance(kind, File) else v}\n" for name, v, kind in values)
        return sha256("".join(lines).encode()).digest()

    @property
    def requests(self) -> Path:
        """The folder inside `data` where commands leave what the running relay is to log."""
        return self.data / "requests"

    @property
    def pouches(self) -> Path:
        """The folder inside `data` that remembers which pouches were made and taken."""
        return self.data / "courier"

    @property
    def errands(self) -> Path:
        """The folder inside `data` where commands leave pouches for the running relay, and find those it made."""
        return self.data / "errands"

    @property
    def place(self) -> Path | str:
        """Where the store is: the address of a database, or the file inside `data`."""
        return self.store or self.data / "relay.sqlite3"

    @property
    def attachments(self) -> Path:
        """The folder of attachment bytes inside `data`."""
        return self.data / "attachments"

    @property
    def bucket(self) -> BucketPlace | None:
        """Where attachments lie in an S3-compatible store, if they do."""
        if not self.attachments_bucket:
            return None
        return BucketPlace.parse(self.attachments_bucket, self.attachments_endpoint, self.attachments_region)

    @property
    def max_uncosigned(self) -> timedelta:
        """`uncosigned_minutes` as a span of time."""
        return timedelta(minutes=self.uncosigned_minutes)

    def timestamps(self, origin: str) -> Path:
        """Return the folder inside `data` of a log's checkpoints with a time authority's token."""
        return self.data / "timestamps" / origin.replace("/", "_")

    @property
    def quota(self) -> int:
        """`attachments_gib` in bytes."""
        return self.attachments_gib * _GIB

    @property
    def reserve(self) -> int:
        """`reserve_gib` in bytes."""
        return self.reserve_gib * _GIB

    @property
    def predecessor(self) -> Path:
        """The file inside `data` that names the log before this one, where that was lost."""
        return self.data / "predecessor"

    @property
    def cosigned(self) -> Path:
        """The file inside `data` with the newest checkpoint that enough witnesses have cosigned."""
        return self.data / "cosigned"

    @property
    def witnessed(self) -> Path:
        """The folder, beside the latch, that remembers which checkpoints of other logs were cosigned."""
        return self.latch.parent / "witnessed"


def declared(config: type[Config] = Config) -> Iterator[tuple[dataclasses.Field[Any], Setting]]:
    """Yield every setting with what is written down of it, in the order of the file."""
    for one in dataclasses.fields(config):
        yield one, one.metadata["setting"]
