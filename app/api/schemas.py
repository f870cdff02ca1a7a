"""What the answers look like, for the documentation and for clients that generate code from it."""

from pydantic import BaseModel, ConfigDict, Field

from model.preprocess import Ground, Mode, Rotation


class Options(BaseModel):
    """What the query of a request may ask for."""

    model_config = ConfigDict(frozen=True)

    top_k: int | None = Field(None, ge=1, description="Only the k likeliest classes, likeliest first")
    mode: Mode = Field(
        "auto",
        description="native: the picture as it is; photo: trimmed, and negated if it is light; auto: by the picture",
    )
    background: Ground = Field("auto", description="What is behind the garment, for photo; auto: by the border")
    rotation: Rotation = Field(
        "auto",
        description="auto: where the picture looks like no garment, or nearly so, and one of its quarter turns clearly "
        "is one, that one is answered, with mode=auto; 0: never",
    )


class Preprocessing(BaseModel):
    """How the picture was brought to what the network sees."""

    mode: str = Field(description="native or photo", examples=["native"])
    inverted: bool = Field(description="Light and dark were exchanged")
    crop: tuple[int, int, int, int] = Field(description="Left, top, right, bottom in the upright picture's pixels")
    certain: bool = Field(description="False where the background was hard to tell, or the picture is 0 and 1 alone")
    rotation: int = Field(
        0, description="Degrees by which the picture was turned, counter-clockwise: 0, 90, 180 or 270"
    )


class Model(BaseModel):
    """Which network answered."""

    name: str = Field(examples=["googlenet-fashion-mnist"])
    version: str = Field(description="The checkpoint's digest, shortened", examples=["3f2a9c41d07b"])


class Timing(BaseModel):
    """Milliseconds; the same numbers go out as the Server-Timing header."""

    decode: float
    queue: float
    inference: float = Field(description="Of the whole batch the picture was in")


class Prediction(BaseModel):
    """The class probabilities of one picture."""

    label: str = Field(examples=["Ankle boot"])
    class_id: int = Field(ge=0)
    confidence: float = Field(ge=0, le=1, description="Probability of `label`")
    probabilities: dict[str, float] = Field(
        description="Every class in class order; with top_k the k likeliest, likeliest first"
    )
    out_of_distribution: bool | None = Field(
        description="Most likely no garment, or none the network can judge; null where the checkpoint cannot tell"
    )
    ood_score: float | None = Field(description="How strange the picture is: higher is stranger", examples=[-7.31])
    preprocessing: Preprocessing
    model: Model
    timing_ms: Timing
    batch_size: int = Field(ge=1, description="How many pictures the network took at once")


class Explanation(Prediction):
    """Where in the picture the network saw what."""

    maps: dict[str, list[list[float]]] = Field(
        description="Class activation maps of the classes in `probabilities`, three rows of three from top to bottom. "
        "Raw: a map's mean plus the head's bias is the logit of its class; positive speaks for it, negative against",
    )
    seen: str = Field(description="The 96×96 gray picture that the network saw, a PNG as a data URL")


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str = Field(description="For people")
    code: str = Field(description="For programs; stable", examples=["unsupported-format"])


class Failed(BaseModel):
    """Stands in the place of a picture that could not be used."""

    error: Problem


class Predictions(BaseModel):
    """One entry a picture, in the order they were sent."""

    predictions: list[Prediction | Failed]


class ServedModel(Model):
    classes: list[str]
    accuracy: dict[str, float] = Field(description="Fraction right, by split, measured when it was made")


class EngineInfo(BaseModel):
    name: str = Field(examples=["torch"])
    device: str = Field(examples=["cpu"])
    precision: str = Field(examples=["fp32"])
    max_batch_size: int
    pictures_per_second: dict[int, float] = Field(
        description="By those batch sizes that came into question at the start, when they were measured; "
        "empty once another kind of engine has taken over"
    )


class Queue(BaseModel):
    images: int = Field(description="Pictures waiting")
    limit: int = Field(description="Pictures under way from which on more are refused, at the present pace")
    overloaded: bool = Field(description="More would be refused; no reason to be taken out of service")


class Health(BaseModel):
    """`status` is ready only if a known picture was classified correctly within the last second."""

    status: str = Field(examples=["ready", "draining", "unready"])
    reason: str | None
    model: ServedModel
    engine: EngineInfo
    queue: Queue


class Live(BaseModel):
    status: str = Field(examples=["alive", "stuck"])
