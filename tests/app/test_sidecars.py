"""XMP sidecars: a keyword more, and everything else as it was."""

from xml.etree import ElementTree

import pytest

from seekloop.app.sidecars import keywords, with_keyword

DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <!-- edited on a rainy day -->
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:darktable="http://darktable.sf.net/"
    xmp:Rating="4"
    darktable:history_end="2">
   <darktable:history>
    <rdf:Seq>
     <rdf:li darktable:operation="exposure" darktable:params="gz02eJxjYGBgYAFi&amp;"/>
    </rdf:Seq>
   </darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
TAGGED = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <r:Description r:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Make="Voigtländer"/>
  <r:Description r:about="" xmlns:d="http://purl.org/dc/elements/1.1/">
   <d:title><r:Alt><r:li xml:lang="x-default">Am See &lt;1962&gt;</r:li></r:Alt></d:title>
   <d:subject><r:Bag><r:li>lake</r:li></r:Bag></d:subject>
  </r:Description>
 </r:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
EMPTY_BAG = TAGGED.replace("<r:Bag><r:li>lake</r:li></r:Bag>", "")


def nodes(content):
    """Every element with its attributes, text and depth, as any reader sees them."""
    found = []

    def walk(element, depth):
        found.append((depth, element.tag, tuple(sorted(element.attrib.items())), (element.text or "").strip()))
        for child in element:
            walk(child, depth + 1)

    walk(ElementTree.fromstring(content), 0)
    return found


def test_a_new_sidecar_holds_the_keyword_alone():
    made = with_keyword(None, "vehicles|bicycle")
    assert keywords(made) == (["bicycle"], ["vehicles|bicycle"])
    assert made.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<x:xmpmeta')
    assert ElementTree.fromstring(made).tag == "{adobe:ns:meta/}xmpmeta"


@pytest.mark.parametrize(
    ("sidecar", "plain"), [(DARKTABLE, []), (TAGGED, ["lake"]), (EMPTY_BAG, [])], ids=["darktable", "tagged", "empty"]
)
def test_everything_that_was_there_stays(sidecar, plain):
    """The nodes that were there come in the same order; what is new is the keyword and its lists."""
    made = with_keyword(sidecar.encode(), "Rad & Tat")
    assert keywords(made) == ([*plain, "Rad & Tat"], ["Rad & Tat"])
    before, after = nodes(sidecar.encode()), nodes(made)
    rest = iter(after)
    assert all(node in rest for node in before)
    added = {tag.rpartition("}")[2] for _, tag, _, _ in after} - {tag.rpartition("}")[2] for _, tag, _, _ in before}
    assert added <= {"subject", "hierarchicalSubject", "Bag", "li"}
    for kept in ("<!-- edited on a rainy day -->", "Voigtländer", '<?xpacket end="w"?>'):
        assert (kept in sidecar) == (kept in made.decode())
    assert made.decode().startswith(sidecar[:10])  # a declaration where there was one, and the packet first


def test_a_keyword_is_added_once():
    once = with_keyword(TAGGED.encode(), "boat")
    assert with_keyword(once, "boat") is once
    assert with_keyword(with_keyword(once, "lake"), "boat").count(b"boat") == once.count(b"boat")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a note", "it is no XML"),
        (b"<html/>", "it has no rdf:Description"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x/>', "it declares a document type"),
    ],
)
def test_what_is_no_xmp_is_refused(content, told):
    with pytest.raises(ValueError, match=told):
        with_keyword(content, "boat")


def test_letters_that_no_xml_holds_are_left_out():
    """A keyword of such letters alone is none."""
    assert keywords(with_keyword(None, "bo\x00at\x1b |\ttug\n")) == (["tug"], ["boat|tug"])
    with pytest.raises(ValueError, match="is no keyword"):
        with_keyword(None, "\x00|")
