"""Spreadsheets: XLSX of ours and of others is read as rows; whatever is damaged, too large or hostile is refused."""

from __future__ import annotations

import io
import random
import zipfile
from datetime import UTC, date, datetime, time

import openpyxl
import pytest
from openpyxl.styles import Font

from catalogue_messages import handling, report
from infoexchange import bridges, markup
from infoexchange.bridges.tables import serials, spreadsheet, workbook, zipped
from infoexchange.catalogue import examples, rules
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HEAD = ["date", "time", "longitude", "latitude", "attack_type", "vessel_name"]
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def read(data, name="piracy-xlsx", domain=3):
    reading = bridges.find(name).read(data, handling(domain=domain), now=NOW)
    return list(reading), reading


def made(*rows, book=None):
    """A workbook as another program writes it."""
    book = book or openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def parts(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sheet(inside):
    """A workbook of ours with other rows."""
    text = f'<worksheet xmlns="{MAIN}"><sheetData>{inside}</sheetData></worksheet>'
    return zipped.pack(parts(spreadsheet.write(["x"], frozenset(), [])) | {"xl/worksheets/sheet1.xml": text.encode()})


def rows(data):
    found = spreadsheet.read(data)
    return [(found.place, found.head), *found.rows]


@pytest.mark.parametrize(("name", "domain"), [("piracy", 3), ("seizures", 1), ("eore", 9)])
def test_the_example_comes_back_through_a_spreadsheet(name, domain):
    found, before = read(examples.read(f"{name}.csv"), name, domain)
    data = bridges.find(f"{name}-xlsx").write(found, now=NOW)
    assert bridges.detect(data).name == f"{name}-xlsx"
    for either in (name, f"{name}-xlsx"):  # both kinds of file are understood by both
        again, reading = read(data, either, domain)
        assert again == found
        assert len(reading.notes) == len(before.notes)
    assert data == bridges.find(f"{name}-xlsx").write(found, now=NOW)


def test_another_program_reads_what_is_written():
    message = report()
    message.vessel.name = "=1+1"
    message.method = "EXERCISE <&> \x0b _x0041_\r\nnext"
    data = bridges.find("piracy-xlsx").write([message], now=NOW)
    (table,) = openpyxl.load_workbook(io.BytesIO(data)).worksheets
    head, row = table.iter_rows()
    assert [cell.value for cell in head][-1] == "marks"
    cells = {name.value: cell for name, cell in zip(head, row, strict=True)}
    assert (cells["vessel_name"].value, cells["vessel_name"].data_type) == ("=1+1", "s")
    assert cells["latitude"].value == 0
    assert table.freeze_panes == "A2"
    (again,), _ = read(data)
    assert (again.vessel.name, again.method) == (message.vessel.name, message.method)


def test_what_other_programs_write_is_read():
    book = openpyxl.Workbook()
    book.create_sheet("other")
    book.create_sheet("hidden").sheet_state = "hidden"
    book.active.append(HEAD)
    for cell in book.active[1]:
        cell.font = Font(bold=True)
    data = made(
        [date(2026, 2, 3), time(4, 10), 88.5, -2.75, "Attempted", "MV Exercise Heron"],
        [datetime(2026, 2, 4), "05:20 UTC", 88, 2, "Boarded"],  # noqa: DTZ001
        [],
        ["2026-02-05", None, "88.25", 2, "Suspicious", "MV Exercise Egret", "a remark beside"],
        book=book,
    )
    found, reading = read(data)
    assert bridges.detect(data).name == "piracy-xlsx"
    assert [message.occurred_at.utc.ToJsonString()[:16] for message in found] == [
        "2026-02-03T00:00", "2026-02-04T05:20", "2026-02-05T00:00",
    ]  # fmt: skip
    assert found[0].occurred_at.stated_as == "04:10"
    assert (found[0].position.longitude, found[0].position.latitude) == (88.5, -2.75)
    assert found[2].vessel.name == "MV Exercise Egret"
    assert [note[:2] for note in reading.notes] == [
        ("sheet other", "sheet"), ("row 2", "time"), ("row 5", "row"),
    ]  # fmt: skip
    for message in found:
        rules.check(message)


def test_kinds_of_cells():
    inside = (
        '<row><c t="b"><v>1</v></c><c t="b"><v>0</v></c><c t="str"><f>A1</f><v>text_x000A_</v></c>'
        '<c t="e"><v>#N/A</v></c><c><v>0.1</v></c><c><v>1E-7</v></c>'
        '<c><v>100000000000000000000</v></c><c r="I1"><v>5</v></c><c/></row>'
        '<row r="7"><c t="inlineStr"><is><r><t>rich </t></r><r><t>text</t></r></is></c><c s="99"><v>-3</v></c></row>'
    )
    assert rows(sheet(inside)) == [
        ("row 1", ["yes", "no", "text\n", "#N/A", "0.1", "0.0000001", "100000000000000000000", "", "5"]),
        ("row 7", ["rich text", "-3"]),
    ]


@pytest.mark.parametrize(("number", "words", "is_date"), [
    (14, None, True), (22, None, True), (0, None, False), (2, None, False), (49, None, False),
    (164, "yyyy\\-mm\\-dd", True), (164, "[h]:mm", True), (164, '0.00 "days"', False), (164, "[Red]0", False),
    (164, "General", False), (164, "[$-409]d/m/yy;@", True), (164, "#,##0 _m", False),
])  # fmt: skip
def test_formats_tell_dates_from_numbers(number, words, is_date):
    assert serials.is_date(number, words) == is_date


@pytest.mark.parametrize(("text", "since_1904", "said"), [
    ("46056", False, "2026-02-03"), ("46056.5", False, "2026-02-03T12:00"), ("0.25", False, "06:00"),
    ("0.0000115741", False, "00:00:01"), ("44594", True, "2026-02-03"), ("60", False, "60"), ("1e99", False, None),
    ("nan", False, "nan"), ("x", False, "x"), ("-1", False, "-1"),
])  # fmt: skip
def test_serial_numbers(text, since_1904, said):
    found = serials.moment(text, since_1904=since_1904)
    assert found == said or (said is None and not found.startswith("20"))


def test_a_bomb_is_refused_before_it_goes_off(monkeypatch):
    data = sheet("<row/>" * 50_000)
    assert len(data) < 5_000
    monkeypatch.setattr(zipped, "PART_MAX", 100_000)
    with pytest.raises(RefusedError) as refused:
        rows(data)
    assert refused.value.reason is Reason.TOO_LARGE
    monkeypatch.undo()
    monkeypatch.setattr(markup, "ELEMENTS_EACH_MAX", 100)
    with pytest.raises(RefusedError) as refused:
        rows(sheet("<row/>" * 200))
    assert refused.value.reason is Reason.TOO_LARGE
    monkeypatch.undo()
    monkeypatch.setattr(zipped, "FILE_MAX", 100)
    with pytest.raises(RefusedError) as refused:
        rows(b"PK\x03\x04" + bytes(200))
    assert refused.value.reason is Reason.TOO_LARGE


def test_one_text_said_again_and_again_is_refused(monkeypatch):
    texts = f"<sst xmlns='{MAIN}'><si><t>{'x' * 1000}</t></si></sst>".encode()
    parts_of = parts(sheet("<row><c t='s'><v>0</v></c></row>" * 11))
    relation = b'<Relationship Id="rId2" Type="x/sharedStrings" Target="sharedStrings.xml"/></Relationships>'
    place = "xl/_rels/workbook.xml.rels"
    parts_of[place] = parts_of[place].replace(b"</Relationships>", relation)
    data = zipped.pack(parts_of | {"xl/sharedStrings.xml": texts})
    assert len(rows(data)) == 11
    monkeypatch.setattr(spreadsheet, "_SAID_MAX", 10_000)
    with pytest.raises(RefusedError) as refused:
        rows(data)
    assert (refused.value.reason, refused.value.field) == (Reason.TOO_LARGE, "row 11")


@pytest.mark.parametrize("inside", [
    "<row><c t='s'><v>0</v></c></row>", "<row>", "<row/>&amp;</x>", "\x01", "<row/>&lol;",
    "<row><c t='str'><v>" + "x" * 140_000 + "</v></c></row>",
])  # fmt: skip
def test_a_damaged_sheet_is_refused(inside):
    with pytest.raises(MalformedError) as refused:
        rows(sheet(inside))
    assert refused.value.reason is Reason.MALFORMED


def test_entities_are_refused():
    found = parts(sheet(""))
    entity = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]>'
    for name in found:
        if name != "[Content_Types].xml":
            with pytest.raises(MalformedError) as refused:
                rows(zipped.pack(found | {name: entity + found[name].split(b"?>")[-1]}))
            assert refused.value.detail == "a DOCTYPE is not read"
            other = (entity.decode() + found[name].decode().split("?>")[-1]).encode("utf-16")
            with pytest.raises(MalformedError) as refused:
                rows(zipped.pack(found | {name: other}))
            assert refused.value.detail == "a DOCTYPE is not read"


def test_what_is_no_workbook_is_refused():
    found = parts(sheet(""))
    for name in found:
        if name != "[Content_Types].xml":
            with pytest.raises(MalformedError):
                rows(zipped.pack({part: data for part, data in found.items() if part != name}))
    with pytest.raises(MalformedError):
        rows(zipped.pack(found | {"xl/workbook.xml": found["xl/workbook.xml"].replace(b"<sheet ", b"<other ")}))
    for data in (b"PK\x03\x04", b"PK\x03\x04" + bytes(100), zipped.pack({}) + b"x"):
        with pytest.raises(MalformedError):
            rows(data)
    with pytest.raises(MalformedError) as refused:
        read(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(100))
    assert "Save it as .xlsx" in refused.value.next_step


def test_zip_files_of_others():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:  # stored, not packed
        archive.writestr("a", b"x" * 200_000)
        archive.comment = b"a comment"
    archive = zipped.Archive.parse(out.getvalue())
    assert b"".join(archive.chunks("a")) == b"x" * 200_000
    with pytest.raises(MalformedError):
        list(archive.chunks("b"))
    packed = zipped.pack({"a": b"y" * 200_000, "b": b""})
    with zipfile.ZipFile(io.BytesIO(packed)) as other:
        assert other.testzip() is None
        assert (other.read("a"), other.read("b")) == (b"y" * 200_000, b"")
    with pytest.raises(MalformedError) as refused:
        zipped.Archive.parse(packed.replace(b"b", b"a"))
    assert refused.value.detail == "two parts have the same name"
    encrypted = bytearray(packed)
    encrypted[packed.index(b"PK\x01\x02") + 8] = 1
    with pytest.raises(MalformedError):
        zipped.Archive.parse(bytes(encrypted))


def test_a_flipped_or_cut_spreadsheet_is_read_or_refused():
    """Nothing but a typed error comes out; what is packed is protected by its checksum."""
    found, _ = read(examples.read("piracy.csv"), "piracy")
    data = bridges.find("piracy-xlsx").write(found, now=NOW)
    rng = random.Random(24)
    for _ in range(60):
        spoilt = bytearray(data)
        spoilt[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        for other in (bytes(spoilt), data[: rng.randrange(len(data))]):
            try:
                again, _ = read(other)
            except ExchangeError:
                continue
            assert again == found


def test_a_table_too_large_for_a_spreadsheet_is_refused(monkeypatch):
    message = report()
    message.method = "x" * (workbook.CELL_MAX + 1)
    with pytest.raises(RefusedError) as refused:
        bridges.find("piracy-xlsx").write([message], now=NOW)
    assert (refused.value.reason, refused.value.field) == (Reason.TOO_LARGE, "G2")
    monkeypatch.setattr(zipped, "PART_MAX", 100)
    with pytest.raises(RefusedError) as refused:
        bridges.find("piracy-xlsx").write([], now=NOW)
    assert refused.value.reason is Reason.TOO_LARGE
