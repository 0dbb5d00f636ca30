"""XMP sidecars: keywords beside photographs, as digiKam, darktable and Lightroom read them."""

import codecs
from xml.dom import Node, minidom
from xml.parsers.expat import ExpatError

DC = "http://purl.org/dc/elements/1.1/"
LR = "http://ns.adobe.com/lightroom/1.0/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LEVELS = "|"  # between the levels of a hierarchical keyword
EMPTY = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="seekloop">
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about=""/>
 </rdf:RDF>
</x:xmpmeta>
"""


def with_keyword(sidecar: bytes | None, keyword: str) -> bytes:
    """Add a keyword to a sidecar; everything else in it stays as it is.

    The keyword goes into `dc:subject`, and with its levels into `lr:hierarchicalSubject`.

    Args:
        sidecar: content of the file that is there; None: there is none.
        keyword: such as "bicycle", or "vehicles|bicycle" with the level above it.

    Raises:
        ValueError: if the file is no XMP.
    """
    document = _parsed(EMPTY.encode() if sidecar is None else sidecar)
    levels = [level for one in keyword.split(LEVELS) if (level := _plain(one))]
    if not levels:
        raise ValueError(f"{keyword!r} is no keyword: it has no letters")
    descriptions = _descriptions(document)
    changed = [
        _add(document, descriptions, DC, "dc:subject", levels[-1]),
        _add(document, descriptions, LR, "lr:hierarchicalSubject", LEVELS.join(levels)),
    ]
    if sidecar is not None and not any(changed):
        return sidecar
    declaration, _, rest = document.toxml(encoding="UTF-8").partition(b"?>")
    declared = sidecar is None or sidecar.lstrip(codecs.BOM_UTF8).startswith(b"<?xml ")
    return (declaration + b"?>\n" if declared else b"") + rest + b"\n"


def keywords(sidecar: bytes) -> tuple[list[str], list[str]]:
    """Plain and hierarchical keywords of a sidecar.

    Raises:
        ValueError: if the file is no XMP.
    """
    descriptions = _descriptions(_parsed(sidecar))
    plain, deep = (
        [_text(item) for bag in _bags(descriptions, space, name) for item in _items(bag)]
        for space, name in ((DC, "subject"), (LR, "hierarchicalSubject"))
    )
    return plain, deep


def _plain(text: str) -> str:
    """A keyword without characters that XML cannot hold, and without spaces around it."""
    return "".join(letter for letter in text if letter.isprintable()).strip()


def _parsed(content: bytes) -> minidom.Document:
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError("it declares a document type, which no XMP does")
    try:
        return minidom.parseString(content)
    except (ExpatError, ValueError) as error:
        raise ValueError(f"it is no XML ({error})") from error


def _descriptions(document: minidom.Document) -> list[minidom.Element]:
    """Elements that hold properties.

    Raises:
        ValueError: if there are none.
    """
    found = [
        one
        for root in document.getElementsByTagNameNS(RDF, "RDF")
        for one in root.childNodes
        if isinstance(one, minidom.Element)
    ]
    if not found:
        raise ValueError("it has no rdf:Description")
    return found


def _bags(descriptions: list[minidom.Element], space: str, name: str) -> list[minidom.Element]:
    """Lists of a property's values; the property itself where it has no list."""
    found = []
    for description in descriptions:
        for one in description.childNodes:
            if isinstance(one, minidom.Element) and (one.namespaceURI, one.localName) == (space, name):
                inner = [bag for bag in one.childNodes if isinstance(bag, minidom.Element)]
                found.append(inner[0] if inner else one)
    return found


def _items(bag: minidom.Element) -> list[minidom.Element]:
    """Items of a list."""
    items = [one for one in bag.childNodes if isinstance(one, minidom.Element)]
    return [one for one in items if (one.namespaceURI, one.localName) == (RDF, "li")]


def _text(element: minidom.Element) -> str:
    return "".join(one.data for one in element.childNodes if one.nodeType in (Node.TEXT_NODE, Node.CDATA_SECTION_NODE))


def _add(document: minidom.Document, descriptions: list[minidom.Element], space: str, name: str, value: str) -> bool:
    """Add a value to a property, which is made where it is not there; whether anything changed."""
    bags = _bags(descriptions, space, name.partition(":")[2])
    if any(_text(item) == value for bag in bags for item in _items(bag)):
        return False
    if bags and bags[0].namespaceURI == RDF:
        bag = bags[0]
    else:
        made = bags[0] if bags else document.createElementNS(space, name)
        if not bags:
            made.setAttribute(f"xmlns:{name.partition(':')[0]}", space)
            descriptions[0].appendChild(made)
        bag = document.createElementNS(RDF, "rdf:Bag")
        bag.setAttribute("xmlns:rdf", RDF)  # whatever the file calls it
        made.appendChild(bag)
    item = document.createElementNS(RDF, f"{bag.prefix}:li" if bag.prefix else "li")
    item.appendChild(document.createTextNode(value))
    bag.appendChild(item)
    return True
