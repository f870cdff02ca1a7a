"""Mutated gRPC messages; many more are sent by python -m tests.grpc_fuzzing."""

from grpc_fuzzing import ALLOWED, Run, cases
from support.grpc_calls import channel, infer, outputs, raw_request, run_grpc_server

SEED, COUNT = 7, 400


def test_a_short_fuzz(boot: bytes) -> None:
    with run_grpc_server() as (server, target):
        run = Run(target)
        run(cases(SEED, COUNT))
        assert not run.wrong, f"python -m tests.grpc_fuzzing --count {COUNT} --seed {SEED}: {run.wrong[0][1]}"
        assert set(run.answered) <= ALLOWED
        assert run.answered["OK"] > 20
        assert run.answered["INVALID_ARGUMENT"] > 100
        with channel(target) as opened:
            assert outputs(infer(opened, raw_request(boot)))["probabilities"].argmax() == 9
    assert "Traceback" not in "".join(server.log)
