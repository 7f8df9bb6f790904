"""Channel: connections between parties: TLS with both certificates, and arguments that withstand a hostile peer.

TLS 1.3: Python's gRPC has no call that sets a lowest version (grpc/grpc #37305, #43045, open in 2026); its core offers
1.2 and 1.3 and picks the newer. The relay therefore reads the version of every caller's connection and answers nothing
below 1.3 (`infoexchange_relay.edge`); since a client here only ever talks to relays, that covers both ends.
"""

from __future__ import annotations

from datetime import UTC, datetime

import grpc

# Specification constants
MESSAGE_SIZE_MAX = 8 * 1024 * 1024  # a frame of 4 MiB, and as much again for what surrounds it

# Implementation constants
_MINUTE_MS = 60_000
# One list for both ends: gRPC passes over the arguments of the other end, and over misspelt ones, so that a test looks
# each name up in the installed library.
HARDENED: tuple[tuple[str, int], ...] = (
    # Any finite number arms the core's defence against rapid resets; without one a single connection stops a server.
    ("grpc.max_concurrent_streams", 100),
    ("grpc.max_receive_message_length", MESSAGE_SIZE_MAX),
    ("grpc.max_send_message_length", MESSAGE_SIZE_MAX),
    # Soft and hard limit against floods of headers; ours are below 2 KiB.
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    # What a stream may send ahead of its reader. Left to itself gRPC lets this grow with the speed of the line, which
    # costs tens of megabytes for a fast sender; a megabyte still carries 10 MiB/s over a round trip of 100 ms.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1024 * 1024),
    # Half a handshake holds a socket no longer than this.
    ("grpc.server_handshake_timeout_ms", 5_000),
    # A connection outlives its certificate, its revocation and a new directory by no more than this.
    ("grpc.max_connection_age_ms", 30 * _MINUTE_MS),
    ("grpc.max_connection_age_grace_ms", _MINUTE_MS),
    ("grpc.max_connection_idle_ms", 5 * _MINUTE_MS),
    # A peer whose cable was pulled is noticed in 15 seconds. A server goes by the second of these times alone, which
    # is a minute unless it is said.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    # A stream that follows a quiet mailbox pings without data, as often as the line above says; more is a flood.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 2),
    # Calls that were not looked at yet; the relay looks at once, so that a backlog is an attack.
    ("grpc.server.max_pending_requests", 1_000),
    # Two relays on one port would each get half of the calls without a word.
    ("grpc.so_reuseport", 0),
    # After an outage the default would stay away for up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 10_000),
)


def open_channel(address: str, *, name: str, roots: bytes, certificate: bytes, key: bytes) -> grpc.Channel:
    """Return a channel to a relay; it connects at the first call, and again whenever needed.

    Args:
        address: `host:port`, as the directory lists it.
        name: The relay's dNSName, which its certificate must carry whatever the address says.
        roots: PEM certificates of the TLS CAs of the relay's nation.
        certificate: PEM certificate of the caller.
        key: PEM private key of the caller.
    """
    credentials = grpc.ssl_channel_credentials(roots, key, certificate)
    return grpc.secure_channel(address, credentials, options=(*HARDENED, ("grpc.ssl_target_name_override", name)))


def utc_now() -> datetime:
    """Return the time: the clock of programs."""
    return datetime.now(UTC)  # noqa: TID251  this is the clock
