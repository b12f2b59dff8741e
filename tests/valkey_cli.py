"""Stands for valkey-cli, which no wheel has: as much of it as the scripts of the manifests use.

Asks one command, and shows the answer as valkey-cli does when nobody looks: a line each, and an error as the exit code.
The real one has the password from its environment.
"""

import socket
import sys
from typing import BinaryIO

type Reply = bytes | int | list["Reply"] | None


class RefusedError(Exception):
    pass


def read(answer: BinaryIO) -> Reply:
    line = answer.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    match kind:
        case b"+":
            return rest
        case b":":
            return int(rest)
        case b"$":
            return None if rest == b"-1" else answer.read(int(rest) + 2)[:-2]
        case b"*":
            return [read(answer) for _ in range(int(rest))]
        case _:
            raise RefusedError(line.decode())


def ask(connection: socket.socket, answer: BinaryIO, *words: str) -> Reply:
    connection.sendall(f"*{len(words)}\r\n".encode() + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in encode(words)))
    return read(answer)


def encode(words: tuple[str, ...]) -> list[bytes]:
    return [word.encode() for word in words]


def show(reply: Reply) -> None:
    match reply:
        case list():
            for one in reply:
                show(one)
        case bytes():
            print(reply.decode())
        case _:
            print("" if reply is None else reply)


def main(words: list[str]) -> int:
    options = {"-h": "127.0.0.1", "-p": "6379", "--user": "", "--password": ""}
    while words and words[0].startswith("-"):
        name = words.pop(0)
        if name in options:
            options[name] = words.pop(0)
        elif name not in ("-e", "--no-auth-warning"):
            raise SystemExit(f"unknown option {name}")
    try:
        with socket.create_connection((options["-h"], int(options["-p"]))) as connection:
            answer = connection.makefile("rb")
            if options["--user"]:
                ask(connection, answer, "AUTH", options["--user"], options["--password"])
            show(ask(connection, answer, *words))
    except (OSError, RefusedError) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
