"""The hardened arguments of gRPC do what they are there for: a misspelt one would be passed over without a word.

Those that speak of time are tried with short times, with the same names.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from hyperframe.frame import GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame

from infoexchange import certificates
from infoexchange.certificates import NationalCa
from infoexchange.transport import HARDENED, utc_now
from infoexchange.transport.channel import MESSAGE_SIZE_MAX
from onslaught import Connection, Target
from patience import LIMIT

NAMES = dict(HARDENED)


@contextlib.contextmanager
def serving(credentials=None, **shorter):
    """Run a server with the hardened arguments, some of them with other values, and return its address."""
    options = NAMES | {f"grpc.{name}": value for name, value in shorter.items()}
    assert options.keys() == NAMES.keys()
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, options=list(options.items()))
        handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request[:1])
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("a", {"Call": handler})])
        port = "127.0.0.1:0"
        number = server.add_secure_port(port, credentials) if credentials else server.add_insecure_port(port)
        server.start()
        try:
            yield f"127.0.0.1:{number}"
        finally:
            server.stop(None).wait()


@contextlib.contextmanager
def attacking(**shorter):
    """Lend a connection that follows no rules, without TLS."""
    with serving(**shorter) as address, contextlib.closing(Connection(Target(address, "relay", ""))) as connection:
        yield connection


def first(connection, kind):
    """The first frame of a kind; nothing if the connection ends before."""
    return next((frame for frame in connection.frames(LIMIT) if isinstance(frame, kind)), None)


def test_settings_say_how_many_streams_how_large_headers_and_how_far_ahead():
    with attacking() as connection:
        said = first(connection, SettingsFrame).settings
    assert said[SettingsFrame.MAX_CONCURRENT_STREAMS] == NAMES["grpc.max_concurrent_streams"] == 100
    assert said[SettingsFrame.MAX_HEADER_LIST_SIZE] == NAMES["grpc.absolute_max_metadata_size"] == 16 * 1024
    assert said[SettingsFrame.INITIAL_WINDOW_SIZE] == NAMES["grpc.http2.lookahead_bytes"] == 1024 * 1024


def test_a_stream_too_many_is_refused():
    with attacking() as connection:
        connection.send(*(connection.headers("/a/Call") for _ in range(101)))
        refused = first(connection, RstStreamFrame)
    assert refused.stream_id == 201


def test_pings_without_data_are_counted():
    with attacking() as connection:
        connection.send(*(PingFrame(0, b"12345678") for _ in range(10)))
        assert first(connection, GoAwayFrame).additional_data == b"too_many_pings"


def test_a_peer_that_answers_no_ping_is_given_up():
    with attacking(**{"keepalive_time_ms": 100, "http2.ping_timeout_ms": 100}) as connection:
        # A stream that is open, as a Fetch that follows, and settings that were taken: only the answer is missing.
        connection.send(SettingsFrame(0, flags=["ACK"]), connection.headers("/a/Call"))
        assert closed(connection)


@pytest.mark.parametrize("shorter", [{"max_connection_age_ms": 100, "max_connection_age_grace_ms": 100}, {}])
def test_a_connection_ends_by_its_age_even_with_a_call_under_way(shorter):
    with attacking(**shorter) as connection:
        connection.send(connection.headers("/a/Call"))
        if shorter:
            assert first(connection, GoAwayFrame)
            assert closed(connection)
        else:
            assert not any(isinstance(frame, GoAwayFrame) for frame in connection.frames(0.3))


def test_a_connection_without_a_call_ends():
    with attacking(max_connection_idle_ms=100) as connection:
        assert first(connection, GoAwayFrame)


def closed(connection):
    """Whether the other end has closed; it waits for that."""
    connection.tls.settimeout(LIMIT)
    try:
        while connection.tls.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_half_a_handshake_is_given_up():
    ca, now, key = NationalCa.make("th.example", now=utc_now()), utc_now(), certificates.tls_key()
    leaf = certificates.to_pem(ca.issue(certificates.tls_request("relay.th.example", key), now=now))
    credentials = grpc.ssl_server_credentials([(key, leaf)])
    with (
        serving(credentials, server_handshake_timeout_ms=100) as address,
        Target(address, "relay.th.example", "").socket() as half,
    ):
        half.settimeout(LIMIT)
        half.sendall(b"\x16\x03\x01\x02\0\x01")  # the first bytes of a handshake
        with contextlib.suppress(ConnectionError):
            assert half.recv(1) == b""


@pytest.mark.parametrize(("size", "passes"), [(MESSAGE_SIZE_MAX - 64, True), (MESSAGE_SIZE_MAX + 1, False)])
def test_messages_over_the_limit_are_refused(size, passes):
    with (
        serving() as address,
        grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel,
    ):
        call = channel.unary_unary("/a/Call")
        if passes:
            assert call(bytes(size), timeout=LIMIT) == b"\0"
            return
        with pytest.raises(grpc.RpcError) as caught:
            call(bytes(size), timeout=LIMIT)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(("size", "passes"), [(7_000, True), (17_000, False)])
def test_metadata_over_the_limit_is_refused(size, passes):
    with serving() as address, grpc.insecure_channel(address) as channel:

        def call():
            return channel.unary_unary("/a/Call")(b"x", metadata=[("x-more", "m" * size)], timeout=LIMIT)

        if passes:
            assert call() == b"x"
            return
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_two_servers_do_not_share_a_port():
    with serving() as address, ThreadPoolExecutor(1) as pool:
        second = grpc.server(pool, options=HARDENED)
        with pytest.raises(RuntimeError):
            second.add_insecure_port(address)
        second.stop(None)
