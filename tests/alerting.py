"""What must be the case for each alert of the relay: series in Prometheus's words, for rules that are run over them."""

from __future__ import annotations

MINUTES = 480  # long enough for the rule that looks six hours back and waits for one

# Values of eight hours, one a minute. The time begins at 0 in such a run.
HEALTHY = {
    'up{instance="a",job="infoexchange-relay"}': f"1x{MINUTES}",
    'infoexchange_relay_ready{instance="a"}': f"1x{MINUTES}",
    'infoexchange_relay_queue_oldest_seconds{instance="a",queue="agencies",precedence="flash"}': f"2x{MINUTES}",
    'infoexchange_relay_queue_oldest_seconds{instance="a",queue="agencies",precedence="immediate"}': f"9x{MINUTES}",
    'infoexchange_relay_queue_oldest_seconds{instance="a",queue="agencies",precedence="routine"}': f"9000x{MINUTES}",
    'infoexchange_relay_queue_oldest_seconds{instance="a",queue="relay.vn",precedence="routine"}': f"60x{MINUTES}",
    'infoexchange_relay_queue_envelopes{instance="a",queue="agencies",precedence="routine"}': f"9000x{MINUTES}",
    'infoexchange_relay_peer_circuit{instance="a",peer="relay.vn"}': f"0x{MINUTES}",
    'infoexchange_relay_envelopes_ended_total{instance="a",event="undeliverable"}': f"2x{MINUTES}",
    'infoexchange_relay_envelopes_ended_total{instance="a",event="opened"}': f"0+9x{MINUTES}",
    'infoexchange_relay_uncosigned_seconds{instance="a"}': f"20x{MINUTES}",
    'infoexchange_relay_uncosigned_limit_seconds{instance="a"}': f"14400x{MINUTES}",
    'infoexchange_relay_commit_seconds_bucket{instance="a",le="0.01"}': f"0+60x{MINUTES}",
    'infoexchange_relay_commit_seconds_bucket{instance="a",le="1.0"}': f"0+60x{MINUTES}",
    'infoexchange_relay_commit_seconds_bucket{instance="a",le="+Inf"}': f"0+60x{MINUTES}",
    'infoexchange_relay_store_errors_total{instance="a",reason="overloaded"}': f"3x{MINUTES}",
    'infoexchange_relay_disk_free_bytes{instance="a",volume="data"}': f"40000000000x{MINUTES}",
    'infoexchange_relay_disk_size_bytes{instance="a",volume="data"}': f"80000000000x{MINUTES}",
    'infoexchange_relay_ends_timestamp_seconds{instance="a",what="ca"}': f"7776000x{MINUTES}",
    'infoexchange_relay_envelopes_refused_total{instance="a",reason="stale_bundle"}': f"0+1x{MINUTES}",
    'infoexchange_relay_envelopes_refused_total{instance="a",reason="log_fork"}': f"1x{MINUTES}",
    'infoexchange_relay_calls_refused_total{instance="a",reason="bad_certificate"}': f"0+1x{MINUTES}",
    'infoexchange_relay_loop_lag_seconds_bucket{instance="a",le="0.01"}': f"0+240x{MINUTES}",
    'infoexchange_relay_loop_lag_seconds_bucket{instance="a",le="1.0"}': f"0+240x{MINUTES}",
    'infoexchange_relay_loop_lag_seconds_bucket{instance="a",le="+Inf"}': f"0+240x{MINUTES}",
    'infoexchange_relay_looked_timestamp_seconds{instance="a"}': f"0+60x{MINUTES}",
    'infoexchange_relay_timestamps_failed_total{instance="a"}': f"7x{MINUTES}",
    'process_resident_memory_bytes{instance="a",job="infoexchange-relay"}': f"90000000x{MINUTES}",
    'process_open_fds{instance="a",job="infoexchange-relay"}': f"80x{MINUTES}",
    'process_max_fds{instance="a",job="infoexchange-relay"}': f"1024x{MINUTES}",
}

_OLDEST = "infoexchange_relay_queue_oldest_seconds"
# What goes wrong, and which alerts tell of it: no others.
WRONG: list[tuple[dict[str, str], set[str]]] = [
    ({}, set()),
    ({'up{instance="a",job="infoexchange-relay"}': f"0x{MINUTES}"}, {"RelayDown"}),
    ({'infoexchange_relay_ready{instance="a"}': f"0x{MINUTES}"}, {"RelayTakesNothing"}),
    ({f'{_OLDEST}{{instance="a",queue="agencies",precedence="flash"}}': f"61x{MINUTES}"}, {"FlashWaits"}),
    ({f'{_OLDEST}{{instance="a",queue="agencies",precedence="immediate"}}': f"601x{MINUTES}"}, {"ImmediateWaits"}),
    ({f'{_OLDEST}{{instance="a",queue="relay.vn",precedence="routine"}}': f"3601x{MINUTES}"}, {"PeerNotReached"}),
    ({'infoexchange_relay_peer_circuit{instance="a",peer="relay.vn"}': f"1x{MINUTES}"}, {"PeerAway"}),
    (
        {'infoexchange_relay_envelopes_ended_total{instance="a",event="undeliverable"}': f"2x{MINUTES - 30} 3x30"},
        {"MessageUndeliverable"},
    ),
    (
        {'infoexchange_relay_queue_envelopes{instance="a",queue="agencies",precedence="routine"}': f"100001x{MINUTES}"},
        {"QueuesGrow"},
    ),
    ({'infoexchange_relay_uncosigned_seconds{instance="a"}': f"901x{MINUTES}"}, {"QuorumMissing"}),
    (
        {'infoexchange_relay_uncosigned_seconds{instance="a"}': f"10801x{MINUTES}"},
        {"QuorumMissing", "IntakeStopsSoon"},
    ),
    ({'infoexchange_relay_commit_seconds_bucket{instance="a",le="0.01"}': f"0+50x{MINUTES}"}, {"CommitSlow"}),
    (
        {'infoexchange_relay_store_errors_total{instance="a",reason="overloaded"}': f"3x{MINUTES - 5} 4x5"},
        {"StoreFails"},
    ),
    ({'infoexchange_relay_disk_free_bytes{instance="a",volume="data"}': f"3000000000x{MINUTES}"}, {"DiskNearlyFull"}),
    (
        {
            'infoexchange_relay_disk_free_bytes{instance="a",volume="data"}': f"1900000000x{MINUTES}",
            'infoexchange_relay_disk_size_bytes{instance="a",volume="data"}': f"3000000000x{MINUTES}",
        },
        {"DiskNearlyFull"},
    ),
    (
        {'infoexchange_relay_disk_free_bytes{instance="a",volume="data"}': f"40000000000-30000000x{MINUTES}"},
        {"DiskFillsUp"},
    ),
    ({'infoexchange_relay_ends_timestamp_seconds{instance="a",what="ca"}': f"2600000x{MINUTES}"}, {"PaperEndsSoon"}),
    (
        {'infoexchange_relay_ends_timestamp_seconds{instance="a",what="ca"}': f"600000x{MINUTES}"},
        {"PaperEndsSoon", "PaperEndsThisWeek"},
    ),
    (
        {'infoexchange_relay_envelopes_refused_total{instance="a",reason="stale_bundle"}': f"0+11x{MINUTES}"},
        {"RefusedByTheDozen"},
    ),
    (
        {'infoexchange_relay_envelopes_refused_total{instance="a",reason="log_fork"}': f"1x{MINUTES - 30} 2x30"},
        {"ForksSeen"},
    ),
    (
        {'infoexchange_relay_calls_refused_total{instance="a",reason="bad_certificate"}': f"0+11x{MINUTES}"},
        {"CallersRefused"},
    ),
    ({'infoexchange_relay_loop_lag_seconds_bucket{instance="a",le="0.01"}': f"0+200x{MINUTES}"}, {"LoopLate"}),
    ({'infoexchange_relay_looked_timestamp_seconds{instance="a"}': f"60x{MINUTES}"}, {"GaugesOld"}),
    ({'infoexchange_relay_timestamps_failed_total{instance="a"}': f"0+0.2x{MINUTES}"}, {"TimestampsFail"}),
    ({'process_resident_memory_bytes{instance="a",job="infoexchange-relay"}': f"600000000x{MINUTES}"}, {"MemoryHigh"}),
    ({'process_open_fds{instance="a",job="infoexchange-relay"}': f"900x{MINUTES}"}, {"FilesNearlyOut"}),
]
