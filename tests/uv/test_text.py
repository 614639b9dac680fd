"""UTF-16 and WTF-8: what libuv's own tests try, and luv's."""

import sys

import pytest

from coutil import uv

UTF16 = "utf-16-le" if sys.byteorder == "little" else "utf-16-be"
TEXTS = {
    "empty": ("", b""),
    "ascii": ("hello", b"hello"),
    "three bytes": ("a\u20acb", b"a\xe2\x82\xacb"),
    "pair": ("\U0001f600", b"\xf0\x9f\x98\x80"),
    "largest": ("\U0010ffff", b"\xf4\x8f\xbf\xbf"),
    "lone high": ("\ud83d", b"\xed\xa0\xbd"),
    "lone low": ("\ude00x", b"\xed\xb8\x80x"),
    "wrong order": ("\ude00\ud83d", b"\xed\xb8\x80\xed\xa0\xbd"),
    "two high, one low": ("\ud83d\U0001f600", b"\xed\xa0\xbd\xf0\x9f\x98\x80"),
    "null": ("a\0b", b"a\0b"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_there_and_back(name):
    """Surrogates without a partner survive; pairs are one character."""
    text, wtf8 = TEXTS[name]
    utf16 = text.encode(UTF16, "surrogatepass")
    assert uv.utf16_to_wtf8(utf16) == uv.utf16_to_wtf8(memoryview(utf16)) == wtf8
    assert uv.wtf8_to_utf16(wtf8) == uv.wtf8_to_utf16(bytearray(wtf8)) == utf16
    assert uv.utf16_length_as_wtf8(utf16) == len(wtf8)
    assert uv.wtf8_length_as_utf16(wtf8) == len(utf16) // 2


def test_a_pair_in_two_halves_is_joined():
    """Surrogates that were encoded each for itself are a pair in UTF-16."""
    assert uv.wtf8_to_utf16(b"\xed\xa0\xbd\xed\xb8\x80") == "\U0001f600".encode(UTF16)
    assert uv.wtf8_length_as_utf16(b"\xed\xa0\xbd\xed\xb8\x80") == 2
    assert uv.utf16_to_wtf8(uv.wtf8_to_utf16(b"\xed\xa0\xbd\xed\xb8\x80")) == b"\xf0\x9f\x98\x80"


@pytest.mark.parametrize("wtf8", [b"\xff", b"\x80", b"\xc3", b"\xe2\x82", b"\xf4\x90\x80\x80", b"a\xc0\x80"])
def test_what_is_no_wtf8(wtf8):
    """It raises EINVAL."""
    for function in (uv.wtf8_to_utf16, uv.wtf8_length_as_utf16):
        with pytest.raises(uv.UVError, match=f"EINVAL.*uv_{function.__name__}") as raised:
            function(wtf8)
        assert raised.value.name == "EINVAL"


def test_arguments():
    """Bytes, and whole units of them."""
    for function in (uv.utf16_to_wtf8, uv.utf16_length_as_wtf8, uv.wtf8_to_utf16, uv.wtf8_length_as_utf16):
        with pytest.raises(TypeError, match="must be bytes, not 'text'"):
            function("text")
    for function in (uv.utf16_to_wtf8, uv.utf16_length_as_wtf8):
        with pytest.raises(ValueError, match="even number of bytes, not 3"):
            function(b"abc")
