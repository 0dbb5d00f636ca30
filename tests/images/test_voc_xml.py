import pytest

from seekloop.images.voc import read_tree, stated_name

TEXT = "<annotation><filename>{}</filename></annotation>"


@pytest.mark.parametrize(
    ("encoding", "word"),
    [("GBK", "图片"), ("GB18030", "图片"), ("Shift_JIS", "写真"), ("Big5", "相片"), ("EUC-KR", "사진"), ("utf-8", "é"),
     ("utf8", "é"), ("ISO-8859-1", "é"), ("windows-1252", "é"), ("utf-16", "图")],
)  # fmt: skip
def test_any_encoding_that_is_declared_and_known(tmp_path, encoding, word):
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + TEXT.format(word)
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    assert stated_name(read_tree(tmp_path / "a.xml")) == word


@pytest.mark.parametrize("declared", ["GBK", "utf-16", "x-own"])
def test_utf8_that_declares_another_encoding(tmp_path, declared):
    text = f'<?xml version="1.0" encoding="{declared}"?>' + TEXT.format("é€")
    (tmp_path / "a.xml").write_bytes(text.encode())
    assert stated_name(read_tree(tmp_path / "a.xml")) in ("é€", "é€".encode().decode("gbk", "replace"))


def test_a_byte_order_mark(tmp_path):
    (tmp_path / "a.xml").write_bytes(b"\xef\xbb\xbf" + TEXT.format("a").encode())
    assert stated_name(read_tree(tmp_path / "a.xml")) == "a"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'<?xml version="1.0" encoding="x-own"?><a>\xff</a>', "encoding 'x-own' is not known|bytes are not"),
        (b"<a>\xff</a>", "bytes are not utf-8"),
        (b"<a>", "no element found"),
        (b"", "no element found"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, content, why):
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(ValueError, match=why):
        read_tree(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("declared", "written", "word"),
    [("GBK", "gb18030", "猫𠀀"), ("GB2312", "gbk", "鎔"), ("Shift_JIS", "cp932", "①"), ("EUC-KR", "cp949", "똠"),
     ("UTF-32", "utf-32", "é")],
)  # fmt: skip
def test_characters_beyond_the_declared_encoding(tmp_path, declared, written, word):
    text = f'<?xml version="1.0" encoding="{declared}"?>' + TEXT.format(word)
    (tmp_path / "a.xml").write_bytes(text.encode(written))
    assert stated_name(read_tree(tmp_path / "a.xml")) == word


def test_a_namespace_and_comments_change_nothing(tmp_path):
    text = '<?xml version="1.0"?><!-- made by hand --><annotation xmlns="http://x.invalid"><filename>a</filename></annotation>'
    (tmp_path / "a.xml").write_text(text)
    assert stated_name(read_tree(tmp_path / "a.xml")) == "a"


def test_another_format_is_refused(tmp_path):
    (tmp_path / "a.xml").write_text('<annotations><image name="a.jpg"/></annotations>')
    with pytest.raises(ValueError, match="no VOC file: its first tag is <annotations>"):
        read_tree(tmp_path / "a.xml")
