"""A relay's settings, log lines and metrics: what may come in, and what may come out."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
import settings_pages
import structlog

from infoexchange.errors import Reason
from infoexchange.log import LogKeys
from infoexchange.testing.clock import START
from infoexchange.witness import WitnessKeys
from infoexchange_relay import logs
from infoexchange_relay.cli.folder import DEFAULT_LISTEN
from infoexchange_relay.config import Config, ConfigError, declared, load, parse_address, settings_file
from infoexchange_relay.config.kinds import Number
from infoexchange_relay.config.lines import lines_of
from infoexchange_relay.metrics import Metrics

TEXT = settings_file(name="relay.th.example", listen=DEFAULT_LISTEN)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "relay.toml"
    path.write_text(TEXT)
    return path


def lines(file: Path, environ: dict[str, str] | None = None) -> list[str]:
    """What is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {})
    assert all("\n" not in str(problem) for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


# Settings


def test_a_time_authority_needs_an_address_and_roots(file):
    assert load(file, {}).tsa_url == ""
    at = "INFOEXCHANGE_RELAY__TSA_"
    config = load(file, {f"{at}URL": "http://127.0.0.1:3318/tsr", f"{at}ROOTS": "tsa.pem"})
    assert config.tsa_roots == str(file.parent / "tsa.pem")
    assert config.timestamps("a/audit/2026h2") == file.parent / "data" / "timestamps" / "a_audit_2026h2"
    assert "tsa_roots: is missing" in lines(file, {f"{at}URL": "https://tsa.example"})[0]
    for url in (
        "ftp://tsa.example", "file:///etc/passwd", "tsa.example", "http://", "http:///tsr", "http://a b.example",
        "http://u:p@tsa.example", "http://tsa.example:70000", "http://tsa.example:x", "http://[::1", "http://tsä.example",
    ):  # fmt: skip
        (found,) = lines(file, {f"{at}URL": url, f"{at}ROOTS": "tsa.pem"})
        assert "tsa_url" in found
    for minutes in ("0", "43201", "1.5", "-1"):
        (found,) = lines(file, {f"{at}MINUTES": minutes})
        assert "tsa_minutes" in found


def test_a_bucket_has_an_address_that_every_store_reads_alike(file):
    at = "INFOEXCHANGE_RELAY__ATTACHMENTS_"
    assert load(file, {}).bucket is None
    given = {f"{at}BUCKET": "s3://attachments/asean/th-1", f"{at}ENDPOINT": "https://s3.th", f"{at}REGION": "th-1"}
    place = load(file, given).bucket
    assert (place.bucket, place.prefix, place.endpoint, place.region) == (
        "attachments", "asean/th-1", "https://s3.th", "th-1"
    )  # fmt: skip
    assert str(load(file, {f"{at}BUCKET": "s3://attachments"}).bucket) == "s3://attachments"
    for wrong in ("attachments", "s3://", "s3://ab", "s3://Attach/x", "s3://a_b_c", "s3://abc/", "s3://abc//d",
                  "s3://abc/../d", "s3://abc/d e", "s3://u:p@abc", "s3://abc/" + "d" * 101, "s3://abc" + "/d" * 9,
                  "https://abc/d", "s3://abc/d?e", "s3://abc/ä", "s3://abc-"):  # fmt: skip
        (found,) = lines(file, {f"{at}BUCKET": wrong})
        assert "attachments_bucket" in found
    assert "attachments_bucket: is missing" in lines(file, {f"{at}ENDPOINT": "https://s3.th"})[0]
    assert "attachments_region" in lines(file, {f"{at}REGION": "th 1"})[0]


def test_the_pages_follow_the_declared_settings():
    for name, text in settings_pages.pages().items():
        assert (settings_pages.FOLDER / name).read_text() == text, "run: python tools/settings_pages.py"


def test_every_setting_is_documented_once_and_where_an_operator_looks():
    page, example = ((settings_pages.FOLDER / name).read_text() for name in ("README.md", "relay.example.toml"))
    assert [field.name for field, _ in declared()] == [field.name for field in dataclasses.fields(Config)]
    for field, setting in declared():
        assert re.fullmatch(r"[A-Z].{15,}\.", setting.meaning), field.name
        assert page.count(f"\n| `{field.name}` |") == 1
        assert example.count(setting.meaning.split(" ")[0]) > 0
        assert setting.kind.range
        if field.default is dataclasses.MISSING:
            assert setting.initial or field.name in ("name", "listen"), field.name
        else:  # a default that the setting itself would refuse is none
            assert setting.kind.read(field.default, Path()) == field.default, field.name


def test_a_setting_without_words_is_found():
    @dataclasses.dataclass(frozen=True)
    class More(Config):
        undocumented: int = 1

    with pytest.raises(KeyError, match="setting"):
        list(declared(More))


def test_numbers_keep_to_their_range(file):
    for field, setting in declared():
        if isinstance(setting.kind, Number):
            variable = f"INFOEXCHANGE_RELAY__{field.name.upper()}"
            for value in (setting.kind.least, setting.kind.most):
                assert getattr(load(file, {variable: str(value)}), field.name) == value
            for value in (setting.kind.least - 1, setting.kind.most + 1):
                (found,) = lines(file, {variable: str(value)})
                assert f"{variable}: {field.name}" in found
                assert setting.kind.range in found


def test_paths_are_relative_to_the_file(file):
    config = load(file, {})
    assert (config.name, config.listen, config.reflection) == ("relay.th.example", DEFAULT_LISTEN, False)
    assert config.latch == file.parent / "latch" / "checkpoint"
    assert config.place == file.parent / "data" / "relay.sqlite3"
    assert load(file, {"INFOEXCHANGE_RELAY__LATCH": "/elsewhere/checkpoint"}).latch == Path("/elsewhere/checkpoint")


def test_settings_are_the_same_however_their_file_is_called(file, monkeypatch):
    environ = {"INFOEXCHANGE_RELAY__PASSPHRASE_FILE": "secret"}
    monkeypatch.chdir(file.parent)
    (file.parent / "sub").mkdir()
    calls = (file, Path("relay.toml"), Path("sub/../relay.toml"), Path("..", file.parent.name, "relay.toml"))
    assert len({load(call, environ).digest for call in calls}) == 1
    for name in ("PASSPHRASE_FILE", "LATCH"):
        assert load(file, environ | {f"INFOEXCHANGE_RELAY__{name}": "sub/x"}).digest != load(file, environ).digest


def test_defaults_are_used_for_what_is_not_set(file):
    file.write_text("\n".join(line for line in TEXT.splitlines() if not line.startswith(("refl", "metr", "log_level"))))
    config = load(file, {})
    assert (config.reflection, config.metrics_listen, config.log_level) == (False, "", "info")


def test_the_environment_replaces_the_file(file):
    environ = {"INFOEXCHANGE_RELAY__LISTEN": "[::1]:0", "INFOEXCHANGE_RELAY__REFLECTION": "on", "HOME": "/root"}
    config = load(file, environ)
    assert (config.listen, config.reflection) == ("[::1]:0", True)


def test_everything_wrong_is_said_at_once_with_its_place(file):
    file.write_text('name = "Bangkok"\nlisten = 7443\n\nlog_levl = "loud"\nreflection = "maybe"\n[peers]\nx = 1\n')
    found = lines(file, {"INFOEXCHANGE_RELAY__METRICS_LISTEN": "0.0.0.0:9", "INFOEXCHANGE_RELAY__LOG_LEVEL": "loud"})
    for words in (
        f"{file}:1: name: 'Bangkok' is not a name",
        f"{file}:2: listen: 7443 is not a text",
        f"{file}:4: log_levl: no such setting; did you mean 'log_level'?",
        f"{file}:6: peers: no such setting; there are name",
        f"{file}:5: reflection: 'maybe' is neither",
        "INFOEXCHANGE_RELAY__METRICS_LISTEN: metrics_listen: '0.0.0.0' is not a loopback",
        "INFOEXCHANGE_RELAY__LOG_LEVEL: log_level: 'loud' is none of",
        f"{file}: data: is missing",
        f"{file}: roots: is missing",
    ):
        assert any(words in line for line in found), words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# a = 1\n\na = 1\r\n  b=2 # c = 3\nc.d = 4\n", {"a": 3, "b": 4, "c": 5}),
        ('a = """\nb = 1\n"""\nc = [\n  1, # ]\n  2,\n]\n"d" = \'#\'\n', {"a": 1, "c": 4, "d": 8}),
        ("a = 1\n[witness]\nlisten = 2\n[x]\nlisten = 3\n", {"a": 1, "witness": 2, "witness_listen": 3, "x": 4}),
        ("[[witness.foreign]]\nurl = 1\n[[witness.foreign]]\nurl = 2\n", {"witness_foreign": 1, "witness": 1}),
        ("witness = {listen = 1}\n", {"witness_listen": 1, "witness": 1}),
        ("[ witness . foreign ]\nx = 1\n", {"witness_foreign": 1, "witness": 1}),
        ("witness.listen = 1\na = 2", {"witness_listen": 1, "witness": 1, "a": 2}),
    ],
)  # fmt: skip
def test_where_a_setting_stands(text, expected):
    assert lines_of(text, "witness") == expected


KEYS = [str(key) for key in WitnessKeys.make("witness.example.org").verifier_keys]
OTHER = str(WitnessKeys.make("other.example.org").verifier_keys[0])
LOG_KEY = str(LogKeys.make("relay.th.example", now=START).verifier_keys[0])


def foreign(url: object, keys: object, more: str = "") -> str:
    return f"[[witness.foreign]]\nurl = {json.dumps(url)}\nkeys = {json.dumps(keys)}\n{more}\n"


def test_witnesses_over_http_are_off_unless_they_are_named(file):
    assert (load(file, {}).witness_listen, load(file, {}).witness_foreign) == ("", ())
    without = TEXT.replace('witness_listen = ""\n', "")
    tables = foreign("https://witness.example.org/a/", KEYS) + foreign("http://[::1]:8080", [OTHER])
    file.write_text(f'{without}[witness]\nlisten = "127.0.0.1:0"\n{tables}')
    config = load(file, {"INFOEXCHANGE_RELAY__WITNESS_SECONDS": "7"})
    assert (config.witness_listen, config.witness_seconds) == ("127.0.0.1:0", 7)
    one, two = config.witness_foreign
    assert (one.url, [str(key) for key in one.keys]) == ("https://witness.example.org/a", KEYS)
    assert (one.address, two.url, two.address) == ("witness.example.org:443", "http://[::1]:8080", "[::1]:8080")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[witness]\nlisten = "127.0.0.1:0"\n', "witness_listen: stands twice"),
        ('[witness]\nfolder = "x"\n', "witness_folder: no such setting"),
        ("[witness]\nforeign = 1\n", "is no list of tables"),
        ("[witness]\nforeign = [1]\n", "is no list of tables"),
        (foreign("https://a.example", []), "has not 1 to 4 keys"),
        (foreign("https://a.example", KEYS * 3), "has not 1 to 4 keys"),
        (foreign("https://a.example", [1]), "has not 1 to 4 keys"),
        (foreign("https://a.example", KEYS * 2), "one key stands twice"),
        (foreign("https://a.example", KEYS[:1]) + foreign("https://b.example", KEYS), "one key stands twice"),
        (foreign("https://a.example", KEYS) + foreign("https://a.example/", [OTHER]), "one `url`"),
        (foreign("https://a.example", [KEYS[0][:-4]]), "is none"),
        (foreign("https://a.example", [LOG_KEY]), "is not a witness's"),
        (foreign("https://a.example", KEYS, "key = 1"), "and nothing else"),
        (foreign(1, KEYS), "each has a `url`"),
        (foreign("https://a.example", "x"), "each has a `url`"),
        ("".join(foreign(f"https://a{n}.example", [str(WitnessKeys.make(f"a{n}.example").verifier_keys[0])])
                 for n in range(9)), "9 are more than 8"),
    ],
    ids=range(16),
)  # fmt: skip
def test_foreign_witnesses_that_are_none(file, text, words):
    file.write_text(TEXT + text)
    (found,) = lines(file)
    assert words in found


@pytest.mark.parametrize(
    "url",
    ["", "a.example", "ftp://a.example", "https://", "https://a.example:x", "https://a.example:0", "http://a:65536",
     "https://user@a.example", "https://a.example?x", "https://a.example#x", "https://a.example/ x", "http://[::1",
     "https://a.example/\u00e9", "https://a.example/\\", "https://a.example/\t"],
)  # fmt: skip
def test_what_is_no_address_of_a_foreign_witness(file, url):
    file.write_text(TEXT + foreign(url, KEYS))
    (found,) = lines(file)
    assert "witness_foreign: " in found


def test_foreign_witnesses_stand_in_the_file_only(file):
    (found,) = lines(file, {"INFOEXCHANGE_RELAY__WITNESS_FOREIGN": "https://a.example"})
    assert "[[witness.foreign]] in the file" in found
    (found,) = lines(file, {"INFOEXCHANGE_RELAY__WITNESS_LISTEN": "8080"})
    assert "host:port" in found


@pytest.mark.parametrize("latch", ["data", "data/latch", "latch/../data/x"])
def test_the_latch_lies_outside_the_data(file, latch):
    (found,) = lines(file, {"INFOEXCHANGE_RELAY__LATCH": latch})
    assert "outside `data`" in found


@pytest.mark.parametrize("name", ["log_keys", "witness_keys", "tls_key", "passphrase_file"])
def test_secrets_lie_outside_the_data(file, name):
    """A backup takes the data as it is, and says that the keys are not in it."""
    for path in ("data", "data/sub/secret", "latch/../data/secret"):
        (found,) = lines(file, {f"INFOEXCHANGE_RELAY__{name.upper()}": path})
        assert f"{name}: must lie outside `data`" in found
    line = f'{name} = "data/secret"'
    file.write_text(re.sub(f"(?m)^{name} = .*$", line, TEXT))
    (found,) = lines(file)
    assert f"relay.toml:{file.read_text().splitlines().index(line) + 1}: {name}" in found


@pytest.mark.parametrize(
    ("raw", "words"),
    [(b"name = ", "not TOML"), (b"\xff", "not TOML"), (b"name = 'a.b'\nname = 'a.b'", "not TOML"), (None, "init")],
)
def test_a_file_that_is_none(file, raw, words):
    if raw is None:
        file.unlink()
    else:
        file.write_bytes(raw)
    (found,) = lines(file)
    assert words in found


def test_a_folder_is_no_configuration(tmp_path):
    (found,) = lines(tmp_path)
    assert "directory" in found


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:-1", "host:65536", "::1:1", "host:١", "host:1:2"])
def test_what_is_no_address(text):
    with pytest.raises(ValueError, match="host:port"):
        parse_address(text)


def test_addresses():
    assert parse_address("[::1]:0") == ("::1", 0)
    assert parse_address("relay.th.example:7443") == ("relay.th.example", 7443)


# Log lines


@pytest.fixture
def written():
    stream = io.StringIO()
    logs.configure("info", stream)
    yield stream
    structlog.reset_defaults()


def test_lines_hold_allowed_keys_only(written):
    structlog.get_logger().bind(party="desk.th.example", subject="secret").info(
        "accepted", digest="ab", size=9, payload=b"secret", detail="secret", count=[1], peer="x" * 9999
    )
    line = json.loads(written.getvalue())
    assert line.keys() == {"event", "level", "timestamp", "party", "digest", "size", "peer", "dropped"}
    assert line["dropped"] == 4
    assert "secret" not in written.getvalue()
    assert len(line["peer"]) == logs.TEXT_MAX


def test_an_exception_leaves_no_trace_of_its_text(written):
    try:
        raise ValueError("secret")
    except ValueError:
        structlog.get_logger().exception("failed", count=13)
    assert "secret" not in written.getvalue()
    assert json.loads(written.getvalue())["count"] == 13


def test_levels(written):
    structlog.get_logger().debug("unseen")
    structlog.get_logger().warning("seen")
    assert [json.loads(line)["event"] for line in written.getvalue().splitlines()] == ["seen"]


# Metrics


def test_labels_come_from_closed_sets():
    metrics = Metrics(["relay.sg.example"])
    metrics.accepted(3)
    metrics.refused(Reason.BAD_SIGNATURE)
    metrics.forwarded("relay.sg.example", 2)
    for i in range(99):
        metrics.forwarded(f"attacker-{i}")
    metrics.delivered()
    metrics.woken()
    metrics.committed(0.004, 17)
    text = metrics.render().decode()
    for line in (
        "infoexchange_relay_envelopes_accepted_total 3.0",
        'infoexchange_relay_envelopes_refused_total{reason="bad_signature"} 1.0',
        'infoexchange_relay_envelopes_refused_total{reason="too_large"} 0.0',
        'infoexchange_relay_envelopes_forwarded_total{peer="relay.sg.example"} 2.0',
        'infoexchange_relay_envelopes_forwarded_total{peer="other"} 99.0',
        "infoexchange_relay_envelopes_delivered_total 1.0",
        "infoexchange_relay_queue_wakes_total 1.0",
        'infoexchange_relay_commit_seconds_bucket{le="0.005"} 1.0',
        "infoexchange_relay_log_entries 17.0",
    ):
        assert line in text.splitlines()
    assert "attacker" not in text


def test_two_relays_in_one_process_do_not_mix():
    one, two = Metrics(), Metrics()
    one.accepted()
    assert b"accepted_total 0.0" in two.render()
