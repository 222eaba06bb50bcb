"""What requests may ask to embed."""

from __future__ import annotations

import base64
import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bindplug import BindplugError
from bindplug.errors import InputError
from bindplug.query import Leaf, Query
from bindplug_serve.items import FLAGS, NUMBERS, READER_OPTIONS, AnyItem, Upload, decode, query_of

ITEM = TypeAdapter(AnyItem)


@given(
    st.binary(min_size=1, max_size=300),
    st.sampled_from(["", "data:;base64,", "data:a/b;c=d;base64,", " \nDATA:A/B;Base64,"]),
    st.booleans(),
)
def test_data_comes_back_whatever_its_writer(data, start, lines):
    text = base64.b64encode(data).decode()
    text = "\n".join(text[i : i + 76] for i in range(0, len(text), 76)) if lines else text.rstrip("=")
    assert decode(start + text, "audio") == data


@given(st.text(max_size=80), st.sampled_from(sorted(READER_OPTIONS)))
def test_any_string_is_a_query_or_a_plain_refusal(text, sense):
    with suppress(InputError):
        ((weight, leaf),) = query_of(ITEM.validate_python({sense: text})).terms
        assert weight == 1
        assert isinstance(leaf.source, str if sense == "text" else bytes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["terms", "text", "audio", "weight", "options", "filename", "x"]), children
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_value_is_an_item_or_refused(value):
    try:
        query = query_of(ITEM.validate_python(value))
    except (ValidationError, BindplugError):
        return
    assert isinstance(query, Query)


@pytest.mark.parametrize(
    "uri", ["data:audio/wav;base64,AAAA", " data:audio/wav;base64,AAAA", "DATA:AUDIO/wav;BASE64,AAAA"]
)
def test_a_data_uri_is_no_sentence(uri):
    with pytest.raises(InputError, match=r'a data URI; expected a sentence\. Send it as {"audio"'):
        query_of(uri)


@pytest.mark.parametrize(
    ("sense", "options", "expected"),
    [
        ("image", {"exif": "false"}, "exif as a str; expected true or false"),
        ("text", {"truncate": 1}, "truncate as a int; expected true or false"),
        ("imu", {"sort": [True]}, "sort as a list; expected true or false"),
        ("audio", {"start": "0"}, "start as a str; expected a number"),
        ("video", {"end": True}, "end as a bool; expected a number"),
        ("depth", {"cap": {"m": 5}}, "cap as a dict; expected a number"),
    ],
)
def test_options_of_another_type_are_refused_and_not_guessed(sense, options, expected):
    with pytest.raises(InputError, match=f"options of {sense}: {expected}"):
        query_of(ITEM.validate_python({sense: "QUFB", "options": options}))


def test_flags_and_numbers_are_the_readers():
    import inspect

    from bindplug.inputs import make_preprocess

    for sense, options in READER_OPTIONS.items():
        parameters = inspect.signature(inspect.unwrap(type(make_preprocess([sense])[sense]).read)).parameters
        types = {name: str(parameters[name].annotation).removesuffix(" | None") for name in options}
        assert {name for name, kind in types.items() if kind == "bool"} == FLAGS & options
        assert {name for name, kind in types.items() if kind == "float"} == NUMBERS & options


def test_names_lose_their_directories_and_control_characters():
    for name, expected in {"../a/b.csv": "b.csv", "C:\\logs\\b.csv": "b.csv", "b\0\n.csv": "b.csv"}.items():
        ((_, leaf),) = query_of(ITEM.validate_python({"imu": "QUFB", "filename": name})).terms
        assert isinstance(leaf, Leaf)
        assert isinstance(leaf.source, Upload)
        assert leaf.source.name == expected
        assert isinstance(leaf.source, io.BytesIO)


def test_no_reader_option_of_a_request_opens_a_source_or_multiplies_work():
    assert not {"mask", "clips", "fps", "stride"} & {
        name for names in READER_OPTIONS.values() for name in names
    }


@pytest.mark.parametrize("sense", sorted(READER_OPTIONS))
def test_options_are_options_of_the_reader(sense):
    import inspect

    from bindplug.inputs import make_preprocess

    reader = make_preprocess([sense])[sense]
    names = set(inspect.signature(inspect.unwrap(type(reader).read)).parameters)
    assert names > READER_OPTIONS[sense]
    with pytest.raises(InputError, match="'path'; expected one of"):
        query_of(ITEM.validate_python({sense: "QUFB", "options": {"path": "/etc/passwd"}}))
