"""Files that hold no design, or hold it in an odd way: each is read, or refused in one sentence."""

import os
import time

import pytest

from mortalsim.checks import DesignError
from mortalsim.chips import load_design

GOOD = 'name = "mine"\nsizes = [4, 3]\n[device]\ntechnology = "soft_bounds"\n'


def in_a_file(content):
    def make(path):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def long_key(path):
    path.write_text("a." * 200_000 + "b = 1\n" + GOOD)


FAULTS = {
    "empty": (in_a_file(b""), "name: missing"),
    "no bytes of a text": (in_a_file(b"\xff\xfe\x00n"), "not valid TOML: 'utf-8'"),
    "another encoding": (in_a_file(GOOD.replace("mine", "größe").encode("latin-1")), "not valid TOML: 'utf-8'"),
    "a folder": (lambda path: path.mkdir(), "cannot be read .*irectory"),
    "a pipe that nobody fills": (lambda path: os.mkfifo(path), "it is no plain file"),
    "a device without end": (lambda path: path.symlink_to("/dev/zero"), "it is no plain file"),
    "itself": (lambda path: path.symlink_to(path), "cannot be read"),
    "too large": (in_a_file(b"#" * (2**20 + 1)), "at most 1048576 bytes"),
    "a number of many digits": (in_a_file("a = 1" + "0" * 5000 + "\n" + GOOD), "not valid TOML: Exceeds the limit"),
    "a number of many bits": (in_a_file("weight_range = 99999999999999999999999999\n" + GOOD), "at most 64 bits"),
    "lists in lists": (in_a_file("sizes = " + "[" * 3000 + "]" * 3000), "too deep"),
    "tables in tables": (in_a_file("neurons.x = " + "{ a = " * 40 + "1" + " }" * 40 + "\n" + GOOD), "16 deep"),
    "a key of many parts": (long_key, "keys of at most 64 parts"),
    "many keys": (in_a_file("".join(f"x{i} = 1\n" for i in range(60_000)) + GOOD), "x0: no such field; .*; and 59990 more"),
    "a date": (in_a_file("weight_range = 2020-01-01\n" + GOOD), "weight_range: expected .*found date 2020-01-01"),
    "a time": (in_a_file(GOOD + "drift = 2020-01-01T10:00:00Z\n"), "drift: expected .*found datetime"),
    "text for a number": (in_a_file('weight_range = "1.5"\n' + GOOD), "weight_range: expected a number, found '1.5'"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_holds_no_design_is_refused_in_one_sentence_and_soon(tmp_path, what):
    make, message = FAULTS[what]
    path = tmp_path / "mine.toml"
    make(path)
    begun = time.monotonic()
    with pytest.raises(DesignError, match=message) as caught:
        load_design(path)
    assert time.monotonic() - begun < 5
    said = str(caught.value)
    assert said.startswith(f"design file {path}: ") and said.isprintable() and len(said) < 2500


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("mine", "größe").encode())
    assert load_design(path).name == "größe"


def test_a_file_s_name_may_be_of_any_bytes(tmp_path):
    name = os.fsencode(tmp_path) + b"/caf\xe9.toml"
    with open(name, "wb") as file:
        file.write(GOOD.encode())
    assert load_design(os.fsdecode(name)).name == "mine"
    with open(name, "wb") as file:
        file.write(b"sizes = 3")
    with pytest.raises(DesignError, match=r"caf\\udce9\.toml: name: missing") as caught:
        load_design(os.fsdecode(name))
    str(caught.value).encode()  # it can be printed


def test_what_is_no_name_and_no_path_is_refused(tmp_path):
    for odd in (None, 3, b"mild", ["mild"]):
        with pytest.raises(DesignError, match="design: expected a name or a path"):
            load_design(odd)
    for odd in ("a\0.toml", "\ud800.toml"):
        with pytest.raises(DesignError, match=r"design file .*not valid TOML"):
            load_design(odd)


@pytest.mark.parametrize(
    "fields",
    [
        {"\udce9": 1},
        {"summary": "x\ud800"},
        {"summary": {-1: 2, "\udfff": 3}},
        {"nudges": {"\udce9": 1}},
        {"neurons": {"curve": {"family": "leaky", "\udce9": 3}}},
        {"device": {"technology": "\udce9"}},
    ],
    ids=ascii,
)
def test_half_letters_are_refused_wherever_they_stand(fields):
    with pytest.raises(DesignError, match="text that can be written as UTF-8, found") as caught:
        load_design("ideal").revised(**fields)
    assert str(caught.value).isprintable()
