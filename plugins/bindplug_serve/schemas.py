"""Bodies of requests and responses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bindplug_serve.items import LONGEST_TEXT, AnyItem, Item, Items, SenseName, Sum, Term

OnError = Annotated[
    Literal["raise", "skip"],
    Field(description='"raise" refuses the request where an item fails; "skip" tells of it in "errors".'),
]
TOKENS = "an array of tokens; they belong to OpenAI's tokenizers and mean nothing to this model: send the text itself"


class Body(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _refuse_tokens(value: Any) -> Any:
    """Say why token arrays are refused, before pydantic lists what else they are not."""
    if isinstance(value, list):
        numbers = [item for item in value if isinstance(item, (int, list)) and not isinstance(item, bool)]
        if numbers:
            raise ValueError(TOKENS)
    return value


class ContentUrl(BaseModel):
    """Data of a part of a message."""

    model_config = ConfigDict(strict=True)

    url: str = Field(description="A data URI.")


class ContentAudio(BaseModel):
    """Sound of a part of a message."""

    model_config = ConfigDict(strict=True)

    data: str = Field(description="Base64.")
    format: str = ""


class ContentPart(BaseModel):
    """A part of a message, as chat clients send it."""

    model_config = ConfigDict(strict=True)

    type: Literal["text", "image_url", "audio_url", "video_url", "input_audio"]
    text: str | None = Field(default=None, max_length=LONGEST_TEXT)
    image_url: ContentUrl | None = None
    audio_url: ContentUrl | None = None
    video_url: ContentUrl | None = None
    input_audio: ContentAudio | None = None

    def term(self) -> Term:
        """The part as a term of weight 1."""
        value = getattr(self, self.type)
        if self.type == "text":
            return Term(text=value)
        sense = "audio" if self.type == "input_audio" else self.type.removesuffix("_url")
        return Term.model_validate({sense: value.data if self.type == "input_audio" else value.url})

    @model_validator(mode="after")
    def _check_content(self) -> ContentPart:
        if getattr(self, self.type) is None:
            raise ValueError(f"a part of the type {self.type!r} holds {self.type!r}")
        return self


class ChatMessage(BaseModel):
    """A message whose parts are embedded together."""

    model_config = ConfigDict(strict=True)

    role: str = "user"
    content: str | list[ContentPart] = Field(min_length=1)


class EmbeddingsRequest(BaseModel):
    """A request in OpenAI's form; fields that are not known are ignored, as OpenAI's server does."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    input: Annotated[Items | None, BeforeValidator(_refuse_tokens)] = Field(
        default=None, description="A sentence, a source, a sum, or a list of these."
    )
    model: str | None = Field(default=None, description="The served model's name, see /v1/models.")
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = Field(default=None, description="Only the model's own width is possible.")
    user: str | None = None
    on_error: OnError = "raise"
    modality: SenseName | None = Field(
        default=None,
        description="What strings of `input` are, as infinity's clients say it; text by default.",
    )
    messages: list[ChatMessage] | None = Field(
        default=None,
        description="One message in place of `input`, as vLLM's clients send it.",
        max_length=1,
        min_length=1,
    )

    def items(self) -> list[str | Item | Sum]:
        """What to embed."""
        if self.messages is not None:
            content = self.messages[0].content
            return [content] if isinstance(content, str) else [Sum(terms=[part.term() for part in content])]
        items = self.input if isinstance(self.input, list) else [self.input]
        sense = self.modality or "text"
        return [
            Item.model_validate({sense: item}) if isinstance(item, str) and sense != "text" else item
            for item in items
            if item is not None
        ]

    @model_validator(mode="after")
    def _check_input(self) -> EmbeddingsRequest:
        if (self.input is None) == (self.messages is None):
            raise ValueError("a request holds `input` or `messages`")
        return self


class Usage(BaseModel):
    """Tokens of all texts, start and end marks included; other senses have none."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingObject(BaseModel):
    """The row of an item."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="Numbers, or base64 of little-endian float32.")


class ItemRemark(BaseModel):
    """A remark of a reader on an item, such as padding."""

    index: int
    note: str


class ItemErrorObject(BaseModel):
    """Why an item failed."""

    index: int
    message: str


class Remarks(BaseModel):
    """What is told beside results."""

    errors: list[ItemErrorObject] | None = None
    notes: list[ItemRemark] | None = None
    unknown_words: list[str] | None = Field(
        default=None, description="Words that carry no meaning in the model."
    )


class EmbeddingsResponse(Remarks):
    """Rows in OpenAI's form."""

    object: Literal["list"] = "list"
    data: list[EmbeddingObject]
    model: str
    usage: Usage


class ModelObject(BaseModel):
    """The served model."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "bindplug"


class ModelList(BaseModel):
    """What is served."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


Texts = list[Annotated[str, Field(max_length=LONGEST_TEXT)]] | None
Files = list[str] | None


class VectorizeRequest(Body):
    """A request of multi2vec-bind's clients; files are in base64."""

    texts: Texts = None
    images: Files = None
    audio: Files = None
    video: Files = None
    imu: Files = None
    thermal: Files = None
    depth: Files = None
    on_error: OnError = "raise"


Vectors = list[list[float] | None]


class VectorizeResponse(BaseModel):
    """Rows for each list of the request; empty where nothing was sent, null for an item that failed."""

    text_vectors: Vectors = Field(alias="textVectors")
    image_vectors: Vectors = Field(alias="imageVectors")
    audio_vectors: Vectors = Field(alias="audioVectors")
    video_vectors: Vectors = Field(alias="videoVectors")
    imu_vectors: Vectors = Field(alias="imuVectors")
    thermal_vectors: Vectors = Field(alias="thermalVectors")
    depth_vectors: Vectors = Field(alias="depthVectors")
    errors: list[str] | None = None


class Meta(BaseModel):
    """What is served."""

    model: str
    version: str
    modalities: list[str]
    width: int
    space: str
    index: bool
    detector: bool


class ClassifyRequest(Body):
    """Items and the classes they may belong to."""

    input: Items
    labels: list[Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]] = Field(
        description="At least two class names, each once."
    )
    templates: list[Annotated[str, Field(max_length=LONGEST_TEXT)]] = Field(
        default=["{}"], description="Prompts with {} for the name; a class is the mean of its prompts."
    )
    top_k: int = Field(default=5, ge=1, le=1000)
    on_error: OnError = "raise"


class ClassScore(BaseModel):
    """A class and how likely it is among those given."""

    label: str
    probability: float
    score: float = Field(description="Cosine.")


class Classified(BaseModel):
    """The best classes of an item."""

    index: int
    top: list[ClassScore]


class ClassifyResponse(Remarks):
    """Classes for each item."""

    data: list[Classified]
    model: str


class Where(Body):
    """A condition on metadata."""

    key: str = Field(max_length=200)
    operator: Literal["=", "!=", "<=", ">=", "<", ">"] = "="
    value: str | float | bool


class SearchRequest(Body):
    """What to search for in the index."""

    query: AnyItem
    k: int = Field(default=10, ge=1, le=1000)
    kinds: list[SenseName] = Field(default_factory=list, description="Search among these only.")
    where: list[Where] = Field(default_factory=list, max_length=32)
    all_windows: bool = Field(
        default=False, description="Give every window of a recording, where else its best one stands for it."
    )


class SearchMatch(BaseModel):
    """A row of the index."""

    path: str = Field(description="As the index holds it; for text the sentence itself.")
    kind: str
    span: tuple[float, float] | None = Field(
        default=None, description="Start and end in seconds of a window."
    )
    score: float = Field(description="Cosine.")
    metadata: dict[str, Any]


class SearchResponse(Remarks):
    """Matches, best first."""

    data: list[SearchMatch]
    model: str


class DetectRequest(Body):
    """A picture, and what to look for in it."""

    image: str = Field(description="A picture file, as a data URI or base64.")
    prompts: list[AnyItem] = Field(min_length=1)
    threshold: float | None = Field(default=None, ge=0, le=1, description="Scores are above it.")


class DetectedBox(BaseModel):
    """An object."""

    prompt: int = Field(description="Place of the prompt in the request.")
    score: float
    box: tuple[float, float, float, float] = Field(description="Left, top, right, bottom, in pixels.")


class DetectResponse(BaseModel):
    """Objects, best first."""

    width: int
    height: int
    data: list[DetectedBox]
    model: str


class ErrorObject(BaseModel):
    """Why a request was refused."""

    message: str
    type: str
    param: str | None = None
    code: str
    items: list[ItemErrorObject] | None = None


class ErrorResponse(BaseModel):
    """A refusal in OpenAI's form."""

    error: ErrorObject


class PlainErrorResponse(BaseModel):
    """A refusal as multi2vec-bind's clients read it."""

    error: str
