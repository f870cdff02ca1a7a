"""The API's options and answers as pydantic models: for its documentation, generated clients and app.client."""

from pydantic import BaseModel, ConfigDict, Field

from model.preprocess import BackgroundOption, Mode, Rotation


class Options(BaseModel):
    """Options of a classification request, in its query or body."""

    model_config = ConfigDict(frozen=True)

    top_k: int | None = Field(None, ge=1, description="Only the k likeliest classes, likeliest first")
    mode: Mode = Field(
        "auto",
        description="native: the picture as it is; photo: cropped, and inverted if light; auto: chosen by the picture",
    )
    background: BackgroundOption = Field(
        "auto", description="Brightness of the background, for mode=photo; auto: measured at the border"
    )
    rotation: Rotation = Field(
        "auto",
        description="auto: with mode=auto, a picture that looks like no garment is rotated by 90, 180 or 270 degrees "
        "if it clearly looks like one then; 0: never",
    )


class Preprocessing(BaseModel):
    """How the picture was converted to the network's input."""

    mode: str = Field(description="native or photo", examples=["native"])
    inverted: bool = Field(description="Whether light and dark were exchanged")
    crop: tuple[int, int, int, int] = Field(description="Left, top, right, bottom in the upright picture's pixels")
    certain: bool = Field(description="False if the background was hard to determine, or the picture is only 0 and 1")
    rotation: int = Field(
        0, description="Degrees by which the picture was rotated counter-clockwise: 0, 90, 180 or 270"
    )


class Model(BaseModel):
    """The network that answered."""

    name: str = Field(examples=["googlenet-fashion-mnist"])
    version: str = Field(description="The first digits of the checkpoint's SHA-256", examples=["3f2a9c41d07b"])


class Timing(BaseModel):
    """Milliseconds. The Server-Timing header has the same numbers."""

    decode: float
    queue: float
    inference: float = Field(description="For the whole batch that the picture was in")


class Prediction(BaseModel):
    """The class probabilities of one picture."""

    label: str = Field(examples=["Ankle boot"])
    class_id: int = Field(ge=0)
    confidence: float = Field(ge=0, le=1, description="Probability of `label`")
    probabilities: dict[str, float] = Field(
        description="All classes in class order; with top_k the k likeliest, likeliest first"
    )
    out_of_distribution: bool | None = Field(
        description="True if the picture probably shows no garment, or none that the network knows; null if the "
        "checkpoint has no detector"
    )
    ood_score: float | None = Field(description="Higher means less like the training data", examples=[-7.31])
    preprocessing: Preprocessing
    model: Model
    timing_ms: Timing
    batch_size: int = Field(ge=1, description="Pictures in the batch that the picture was in")


class Explanation(Prediction):
    """A prediction with the evidence for each class."""

    maps: dict[str, list[list[float]]] = Field(
        description="Class activation maps of the classes in `probabilities`, three rows of three from top to bottom. "
        "Not normalised: a map's mean plus the head's bias is the class's logit. Positive values are evidence for the "
        "class, negative values against it",
    )
    seen: str = Field(description="The network's input, 96×96 in gray, as a data URL with a PNG")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="For people; may change")
    code: str = Field(description="For programs; stable", examples=["unsupported-format"])


class Failed(BaseModel):
    """The entry of an unusable picture."""

    error: Problem


class Predictions(BaseModel):
    """One entry for each picture, in the order of the request."""

    predictions: list[Prediction | Failed]


class ServedModel(Model):
    """The network that is being served."""

    classes: list[str]
    accuracy: dict[str, float] = Field(description="Fraction of pictures classified correctly, by split")


class EngineInfo(BaseModel):
    """What runs the network."""

    name: str = Field(examples=["torch"])
    device: str = Field(examples=["cpu"])
    precision: str = Field(examples=["fp32"])
    max_batch_size: int
    pictures_per_second: dict[int, float] = Field(
        description="Measured at the start, by batch size; empty once another kind of engine has replaced the first"
    )


class Queue(BaseModel):
    """The queue in front of the network."""

    images: int = Field(description="Pictures waiting")
    limit: int = Field(description="Pictures in progress at which more are refused; depends on the present speed")
    overloaded: bool = Field(
        description="Whether more pictures would be refused now; this does not make the service unready"
    )


class Health(BaseModel):
    """`status` is ready only if a known picture was classified correctly within the last second."""

    status: str = Field(examples=["ready", "draining", "unready"])
    reason: str | None
    model: ServedModel
    engine: EngineInfo
    queue: Queue


class Live(BaseModel):
    """Whether the process works or has to be restarted."""

    status: str = Field(examples=["alive", "stuck"])
