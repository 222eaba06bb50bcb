import pickle

import pytest

from bindplug.errors import InputError, MissingDependency, ModalityNotLoaded, UnknownModality, printable


def test_an_input_error_says_what_was_found_expected_and_to_do():
    error = InputError("a.wav", found="zero samples", expected="sound", remedy="Record again")
    assert str(error) == "a.wav: zero samples; expected sound. Record again"
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("distribution", "extra", "remedy"),
    [
        ("bindplug", "audio", 'pip install "bindplug[audio]"'),
        ("acme-bind", "fm", 'pip install "acme-bind[fm]"'),
        ("bindplug", "", "pip install soundfile"),
    ],
)
def test_a_missing_dependency_ends_with_the_pip_line(distribution, extra, remedy):
    error = MissingDependency("bindplug.inputs.audio", "soundfile", extra, "too old", distribution)
    assert error.remedy == remedy
    assert str(error) == f"bindplug.inputs.audio needs soundfile (too old): {remedy}"
    assert isinstance(error, ImportError)


@pytest.mark.parametrize(
    "error",
    [InputError("a", found="b", expected="c", remedy="d"), MissingDependency("a", "b", "c", "d", "e")],
)
def test_errors_survive_a_worker_process(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_lookup_errors_name_what_there_is():
    assert "known modalities: a, b" in str(UnknownModality("c", ["a", "b"]))
    assert "it has: text" in str(ModalityNotLoaded("audio", ["text"]))
    assert "it has: nothing" in str(ModalityNotLoaded("audio", []))


def test_messages_hold_nothing_that_commands_a_terminal():
    assert printable("a\x1b[31m b\udc80\n") == r"a\x1b[31m b\udc80\n"
    assert printable("größer 猫") == "größer 猫"
