"""A gRPC server in Python on a Unix socket, for the comparison: ``grpcio_server.py SOCKET``.

Its methods take JSON or bytes and give back what comes from the same functions that our workers run.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import bench_adapter
import bench_numpy
import grpc


def small(request: bytes, _context: grpc.ServicerContext) -> bytes:
    return json.dumps(bench_adapter.small(**json.loads(request))).encode()


def echo(request: bytes, _context: grpc.ServicerContext) -> bytes:
    return bench_adapter.echo(request)


def nap(request: bytes, _context: grpc.ServicerContext) -> bytes:
    return json.dumps(bench_adapter.nap(**json.loads(request))).encode()


def who(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    return json.dumps(bench_numpy.who()).encode()


def main() -> None:
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(1), options=unlimited)
    methods = {
        function.__name__: grpc.unary_unary_rpc_method_handler(function)
        for function in (small, echo, nap, who)
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Peer", methods),))
    server.add_insecure_port(f"unix:{sys.argv[1]}")
    server.start()
    print(f"grpcio {grpc.__version__}", flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
