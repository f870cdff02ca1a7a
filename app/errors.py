"""The errors that clients receive: status, code and title.

ServiceError                     status  code
├── BadRequest                      400
│   ├── MalformedRequest                 malformed-request
│   ├── EmptyBody                        empty-body
│   ├── MalformedBody                    malformed-body
│   ├── MissingPicture                   missing-picture
│   ├── TooManyPictures                  too-many-pictures
│   └── InvalidRequest                   invalid-request
├── Unauthorized                    401  unauthorized
├── UnknownModel                    404  unknown-model
├── TooSlow                         408
│   ├── HeadersTooSlow                   headers-too-slow
│   └── BodyTooSlow                      body-too-slow
├── TooLarge                        413
│   ├── BodyTooLarge                     body-too-large
│   └── TooManyPixels                    too-many-pixels
├── Unsupported                     415
│   ├── UnsupportedFormat                unsupported-format
│   └── UnsupportedEncoding              unsupported-encoding
├── Unusable                        422
│   ├── UndecodablePicture               undecodable-picture
│   └── InvalidParameter                 invalid-parameter
├── HeadersTooLarge                 431  headers-too-large
├── Unavailable                     503
│   ├── QueueFull                        queue-full
│   ├── NotReady                         not-ready
│   ├── OutOfMemory                      out-of-memory
│   └── EngineFailed                     engine-failed
└── DeadlinePassed                  504  deadline-passed

`code` is stable and meant for programs, `detail` is for people. app.api.problems turns these errors into responses;
app.client.errors turns responses back into these errors.
"""


class ServiceError(Exception):
    """`detail` says what was wrong with this request. `headers` are added to the response."""

    status: int
    code: str
    title: str

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}


class BadRequest(ServiceError):
    status = 400


class MalformedRequest(BadRequest):
    code, title = "malformed-request", "Not a valid HTTP request"


class EmptyBody(BadRequest):
    code, title = "empty-body", "The request carries no data"


class MalformedBody(BadRequest):
    code, title = "malformed-body", "The body is not what its content type says"


class MissingPicture(BadRequest):
    code, title = "missing-picture", "The body has no picture in it"


class TooManyPictures(BadRequest):
    code, title = "too-many-pictures", "More pictures than one request may carry"


class InvalidRequest(BadRequest):
    code, title = "invalid-request", "The inference request does not fit this model"


class UnknownModel(ServiceError):
    status, code, title = 404, "unknown-model", "No such model, or no such version of it"


class Unauthorized(ServiceError):
    status, code, title = 401, "unauthorized", "A valid API key is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class TooSlow(ServiceError):
    status = 408


class HeadersTooSlow(TooSlow):
    code, title = "headers-too-slow", "The headers took too long to arrive"


class BodyTooSlow(TooSlow):
    code, title = "body-too-slow", "The body took too long to arrive"


class TooLarge(ServiceError):
    status = 413


class BodyTooLarge(TooLarge):
    code, title = "body-too-large", "The body has too many bytes"


class TooManyPixels(TooLarge):
    code, title = "too-many-pixels", "The picture has too many pixels"


class Unsupported(ServiceError):
    status = 415


class UnsupportedFormat(Unsupported):
    code, title = "unsupported-format", "Not a picture in a supported format"


class UnsupportedEncoding(Unsupported):
    code, title = "unsupported-encoding", "The body's Content-Encoding is not known here"


class Unusable(ServiceError):
    status = 422


class UndecodablePicture(Unusable):
    code, title = "undecodable-picture", "The picture is damaged"


class InvalidParameter(Unusable):
    code, title = "invalid-parameter", "An unknown option, or an invalid value"


class HeadersTooLarge(ServiceError):
    status, code, title = 431, "headers-too-large", "The headers have too many bytes"


class Unavailable(ServiceError):
    """The client should try again after `retry_after` seconds, which Retry-After tells it."""

    status = 503

    def __init__(self, detail: str, *, retry_after: float = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(max(1, round(retry_after)))})


class QueueFull(Unavailable):
    code, title = "queue-full", "More work is waiting than can be done in time"


class NotReady(Unavailable):
    code, title = "not-ready", "The service is starting or stopping"


class OutOfMemory(Unavailable):
    code, title = "out-of-memory", "The server has too little memory at the moment"


class EngineFailed(Unavailable):
    code, title = "engine-failed", "The network failed, or answers known pictures wrongly"


class DeadlinePassed(ServiceError):
    status, code, title = 504, "deadline-passed", "The answer was not ready in time"


class StartError(Exception):
    """The service cannot start; the message is one line for the operator."""
