"""What decoders print is caught whole, though threads come and go in the middle of a line."""

import os

from bindplug.inputs.decoder_messages import STDERR, decoder_messages


def test_a_line_that_is_begun_while_another_thread_leaves_is_caught_whole(capfd):
    with decoder_messages():
        with decoder_messages():  # as another thread's
            os.write(STDERR, b"TIFFReadDirectory: size 102")
        os.write(STDERR, b"40\n")
    assert capfd.readouterr() == ("", "")


def test_lines_of_others_are_passed_on_whole(capfd):
    with decoder_messages():
        with decoder_messages():
            os.write(STDERR, b"one of")
        os.write(STDERR, b" mine\nand the last")
    assert capfd.readouterr().err == "one of mine\nand the last"


def test_a_thread_that_is_alone_gets_its_messages(capfd):
    with decoder_messages() as messages:
        os.write(STDERR, b"TIFFReadDirectory: size 10240\nmine\n")
    assert messages == ["TIFFReadDirectory: size 10240"]
    assert capfd.readouterr().err == "mine\n"
