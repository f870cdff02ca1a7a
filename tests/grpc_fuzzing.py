"""gRPC messages that nobody would send, made from valid ones of every method.

python -m tests.grpc_fuzzing --count 10000      starts a server, sends them, and says what it was answered

Whatever is sent, the answer is OK or a status that says what was wrong with the message, never UNKNOWN or INTERNAL, and
the next good picture is classified.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

import grpc
import numpy as np
from fuzzing import mutate
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from support.grpc_calls import NAME, SERVICE, channel, infer, raw_request, run_grpc_server, typed_request
from tritonclient.grpc import service_pb2

ALLOWED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED"}
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
PICTURE = Path(__file__).parent / "pictures" / "ankle-boot-0000.png"

Case = tuple[str, bool, bytes, bool]
"""Method, whether it is a stream, message, whether it is compressed."""


def corpus() -> list[tuple[str, bool, Any]]:
    """Valid messages: method, whether it is a stream, message."""
    file, array = PICTURE.read_bytes(), np.zeros((1, 96, 96), np.uint8)
    both = raw_request(file, id="both")
    both.inputs.add(name="pixels", datatype="UINT8", shape=array.shape)
    both.raw_input_contents.append(array.tobytes())
    options = raw_request(file, file)
    options.outputs.add(name="probabilities").parameters["classification"].int64_param = 3
    options.outputs.add(name="label")
    options.inputs[0].parameters["x"].string_param = "y"
    options.parameters["triton_enable_empty_final_response"].bool_param = True
    messages = [raw_request(file), raw_request(array=array), typed_request(file), typed_request(array=array)]
    messages += [both, options]
    found = [(f"{SERVICE}{name}", stream, message) for message in messages for name, stream in INFERENCE.items()]
    named = ("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics")
    found += [(f"{SERVICE}{name}", False, getattr(service_pb2, f"{name}Request")(name=NAME)) for name in named]
    found.append((f"{SERVICE}RepositoryIndex", False, service_pb2.RepositoryIndexRequest(ready=True)))
    found.append((f"{SERVICE}SystemSharedMemoryRegister", False, service_pb2.ServerLiveRequest()))
    found.append(("/grpc.health.v1.Health/Check", False, health_pb2.HealthCheckRequest(service=SERVICE[1:-1])))
    symbol = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE[1:-1])
    return [*found, (REFLECTION, True, symbol)]


INFERENCE = {"ModelInfer": False, "ModelStreamInfer": True}


def cases(seed: int, count: int) -> Iterator[Case]:
    """The same for the same seed."""
    chance = random.Random(seed)  # noqa: S311
    messages = [(method, stream, message.SerializeToString(deterministic=True)) for method, stream, message in corpus()]
    for _ in range(count):
        method, stream, data = chance.choice(messages)
        if chance.random() < 0.3:  # the head alone: names, shapes and sizes
            head = data[: chance.choice((40, 80, 160))]
            data = mutate(head, chance) + data[len(head) :]
        elif chance.random() < 0.1:
            data = chance.randbytes(chance.randrange(1, 300))
        else:
            data = mutate(data, chance)
        yield method, stream, data, chance.random() < 0.1


class Run:
    """Sends cases over one connection; `wrong` are those that were answered as they must not be."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.answered: Counter[str] = Counter()
        self.wrong: list[tuple[Case, str]] = []

    def __call__(self, todo: Iterator[Case]) -> None:
        with channel(self.target) as opened, ThreadPoolExecutor(4) as pool:
            for case, answer in pool.map(lambda case: (case, self._send(opened, case)), todo):
                status = answer.partition(":")[0]
                self.answered[status] += 1
                if status not in ALLOWED:
                    self.wrong.append((case, answer))

    def _send(self, opened: Any, case: Case) -> str:
        method, stream, data, compressed = case
        options = {"timeout": 60, "compression": grpc.Compression.Gzip if compressed else None}
        try:
            if stream:
                list(opened.stream_stream(method)(iter([data]), **options))
            else:
                opened.unary_unary(method)(data, **options)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
        return "OK"


def main() -> int:
    parser = argparse.ArgumentParser(description="Sends mutated gRPC messages to a server.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with run_grpc_server() as (server, target):
        run = Run(target)
        run(cases(arguments.seed, arguments.count))
        with channel(target) as opened:
            infer(opened, raw_request(PICTURE.read_bytes()))
    complaints = [line for line in server.log if "Traceback" in line]
    for case, answer in run.wrong:
        print(case[0], case[2].hex()[:200], answer)
    print(f"{sum(run.answered.values())} answers, by status: {dict(sorted(run.answered.items()))}")
    print(f"{len(run.wrong)} wrong, {len(complaints)} tracebacks")
    return 1 if run.wrong or complaints else 0


if __name__ == "__main__":
    sys.exit(main())
