"""The errors a user of bindplug can meet, each naming its remedy.

BindplugError
├── InputError            (ValueError)         a source that cannot become model input
├── OptionError           (ValueError)         a reader's option has a value that it does not take
├── CheckpointError       (ValueError)         weights that are damaged, partial or of another network
├── WeightsNotFound       (FileNotFoundError)  weights that are not on this machine
├── NoDirection           (ValueError)         a query whose terms cancel
├── SpaceMismatch         (ValueError)         vectors of two embedding spaces in one operation
├── UnknownModality       (LookupError)
├── UnknownModel          (LookupError)
├── UnknownReader         (LookupError)
├── ModalityNotLoaded     (LookupError)        a tower the model was loaded without
├── OutOfMemory           (MemoryError)        training needs more memory than there is
├── MissingDependency     (ImportError)        an optional package absent, too old or broken
├── PluginError           (RuntimeError)       a plugin that breaks the contract
├── UnsupportedTarget     (TypeError)          nothing installed knows how to upgrade the object
└── AmbiguousUpgrade      (TypeError)          several adapters claim the object

TrainingInterrupted (KeyboardInterrupt) is no error: a run was stopped from outside, and a checkpoint holds it.

CheckpointNote is a warning: a checkpoint could not be written, or a damaged one was put aside.
InputNote is a warning: a source was read, but something about it deserves a look.
UnknownWords is a warning: words of a text carry no meaning in the model.
NoTrainedScale is a warning: probabilities rest on a factor on cosines that the model was not trained with.
"""

# ruff: noqa: N818 - a name such as SpaceMismatch says what happened without the suffix

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "AmbiguousUpgrade",
    "BindplugError",
    "CheckpointError",
    "CheckpointNote",
    "InputError",
    "InputNote",
    "MissingDependency",
    "ModalityNotLoaded",
    "NoDirection",
    "NoTrainedScale",
    "OptionError",
    "OutOfMemory",
    "PluginError",
    "SpaceMismatch",
    "TrainingInterrupted",
    "UnknownModality",
    "UnknownModel",
    "UnknownReader",
    "UnknownWords",
    "UnsupportedTarget",
    "WeightsNotFound",
]


class BindplugError(Exception):
    """Base of every error bindplug raises on purpose."""


class InputError(BindplugError, ValueError):
    """A source cannot be turned into model input.

    Args:
        source: what was read, as a person would name it (a path, ``"<array>"``, ``"<bytes>"``).
        found: what was wrong with it.
        expected: what would have been right.
        remedy: what to do about it, if more than supplying what was expected.
    """

    def __init__(self, source: str, *, found: str, expected: str, remedy: str = "") -> None:
        self.source, self.found, self.expected, self.remedy = source, found, expected, remedy
        message = f"{source}: {found}; expected {expected}"
        super().__init__(f"{message}. {remedy}" if remedy else message)

    def __reduce__(self) -> tuple[object, ...]:
        fields = {"found": self.found, "expected": self.expected, "remedy": self.remedy}
        return (_rebuild_input_error, (type(self), self.source, fields))


def _rebuild_input_error(kind: type[InputError], source: str, fields: dict[str, str]) -> InputError:
    return kind(source, **fields)


class OptionError(BindplugError, ValueError):
    """A reader's option has a value that it does not take; never skipped, since every file would fail."""


class InputNote(UserWarning):
    """A source was read, but something about it deserves a look: padding, filled holes, repeated samples."""


class UnknownWords(UserWarning):
    """Words of a text carry no meaning in the model: it never met them in training.

    Small models are trained on few words of CLIP's vocabulary; the token embeddings of all others are zero. A text
    counts by its other words, and a text of unknown words alone is placed arbitrarily.
    """


class NoTrainedScale(UserWarning):
    """Probabilities rest on a factor on cosines that the model was not trained with: their order holds, no more."""


class CheckpointError(BindplugError, ValueError):
    """Weights are damaged, incomplete, unsafe to read, or belong to another network."""


class CheckpointNote(UserWarning):
    """A checkpoint of a training run could not be written, or a damaged one was put aside."""


class TrainingInterrupted(KeyboardInterrupt):
    """A training run was stopped by Ctrl-C or SIGTERM; the message names its checkpoint and how to go on from it.

    Like :class:`KeyboardInterrupt` it passes through ``except Exception``.
    """


class OutOfMemory(BindplugError, MemoryError):
    """Training needs more memory than the device has; the message says what needs less."""


class WeightsNotFound(BindplugError, FileNotFoundError):
    """Weights are not on this machine and could not be fetched; the message says what to place where."""


class NoDirection(BindplugError, ValueError):
    """A query's terms cancel, so it points nowhere."""


class SpaceMismatch(BindplugError, ValueError):
    """Vectors of two different embedding spaces met in one operation."""


class UnknownModality(BindplugError, LookupError):
    """A name is not one of the modalities bindplug knows.

    Args:
        name: what was given.
        known: names that are modalities.
    """

    def __init__(self, name: object, known: Iterable[str]) -> None:
        self.name, self.known = name, tuple(known)
        super().__init__(f"unknown modality {name!r}; known modalities: {', '.join(self.known)}")


class UnknownModel(BindplugError, LookupError):
    """A name is neither a registered model nor a file or directory of weights."""


class UnknownReader(BindplugError, LookupError):
    """No plugin registers a reader of that name."""


class ModalityNotLoaded(BindplugError, LookupError):
    """The model was loaded without the tower that an input needs.

    Args:
        modality: of the input.
        loaded: names of the modalities that the model has.
    """

    def __init__(self, modality: str, loaded: Iterable[str]) -> None:
        self.modality, self.loaded = modality, tuple(loaded)
        super().__init__(
            f"this model was loaded without {modality!r} (it has: {', '.join(self.loaded) or 'nothing'}); "
            f"load it with modalities={{{modality!r}, ...}} or with none given, for all"
        )


class MissingDependency(BindplugError, ImportError):
    """An optional package is absent, too old, or fails to import.

    Args:
        owner: the part of bindplug that needs it, e.g. ``"bindplug.inputs.audio"`` or a plugin's name.
        module: the package that is missing.
        extra: the extra of the bindplug distribution that installs it.
        reason: ``"absent"``, ``"too old"`` or the text of the import error.
        distribution: the distribution that owns the extra.
    """

    def __init__(
        self, owner: str, module: str, extra: str, reason: str = "absent", distribution: str = "bindplug"
    ) -> None:
        self.plugin, self.module, self.extra, self.reason = owner, module, extra, reason
        self.distribution = distribution
        what = "" if reason == "absent" else f" ({reason})"
        super().__init__(f"{owner} needs {module}{what}: {self.remedy}")

    @property
    def remedy(self) -> str:
        """The pip line that installs what is missing."""
        return (
            f'pip install "{self.distribution}[{self.extra}]"' if self.extra else f"pip install {self.module}"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.plugin, self.module, self.extra, self.reason, self.distribution))


class PluginError(BindplugError, RuntimeError):
    """A plugin breaks the contract; the message names the plugin."""


class UnsupportedTarget(BindplugError, TypeError):
    """No registered adapter recognises the object given to :func:`bindplug.upgrade`."""


class AmbiguousUpgrade(BindplugError, TypeError):
    """Several registered adapters claim the object given to :func:`bindplug.upgrade`."""


def printable(text: str) -> str:
    """A text for a message, with control characters and lone surrogates written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
