"""Coverage-guided fuzzing of the door's decoders: only their own errors may come out, soon and in little memory.

.venv/bin/python benchmarks/fuzz.py [--seconds 60] [--only data_set] [--keep FOLDER] [--write]

Each decoder gets its share of the seconds, in a process of its own with a memory limit; what it starts from is made
from sound recordings. An input that brings out anything else is kept in FOLDER, with its traceback. Needs the extra
`fuzz`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

_RESULT = ROOT / "benchmarks" / "results" / "fuzz.md"
_MEMORY_MIB = 1024
_SLOW_S = 5
_LONGEST_BYTES = 16 << 10

Decode = Callable[[bytes], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one decoder."""

    decoder: str
    executions: int
    #: Inputs that reached something new.
    corpus: int
    #: What came out of it that should not; empty if nothing.
    uncaught: str


def decoders() -> dict[str, Decode]:
    """Every decoder, by name; each swallows its own errors and lets everything else out."""
    import pydicom.config
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    from node.errors import MatinsError, Refused
    from node.receive import command_set, header, procedure_step
    from node.receive.elements import encoding_of, wanted
    from node.receive.layouts import Layouts
    from node.receive.message import Messages
    from node.receive.negotiation import agree, decode_request
    from node.receive.part10 import head, read_meta
    from node.receive.scan import scan
    from node.receive.stow.multipart import Malformed, Multipart
    from node.receive.syntaxes import supported_contexts
    from node.receive.upper_layer import InvalidPdu
    from node.receive.windows import Whole
    from tests.receive.mutation import MR_CONTEXTS

    # As the listener sets the library.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    contexts = supported_contexts()
    syntaxes = (*MR_CONTEXTS, str(DeflatedExplicitVRLittleEndian))
    deflated_bytes = 1 << 20

    def data_set(content: bytes) -> None:
        syntax, content = syntaxes[content[0] % len(syntaxes)], content[1:]
        try:
            found = header.walk(content, syntax, inflated_maximum_bytes=deflated_bytes)
        except Refused:
            return
        head(
            sop_class_uid=found.sop_class_uid,
            sop_instance_uid=found.sop_instance_uid,
            transfer_syntax_uid=syntax,
            sending="",
            receiving="",
        )

    def shortcut(content: bytes) -> None:
        syntax = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)[content[0] % 2]
        content = content[1:]
        explicit = syntax == ExplicitVRLittleEndian

        def scanned(content: bytes, layouts: Layouts | None = None) -> object:
            tags = (header._ONCE, header._NUMBERS, header._LONGEST_VALUE)
            return scan(memoryview(content), *tags, explicit=explicit, layouts=layouts)

        found = scanned(content)
        if found is not None:
            by_the_book = wanted(Whole(content), encoding_of(syntax), header._ONCE, header._LONGEST_VALUE)
            if by_the_book != found:
                raise RuntimeError("the shortcut finds something else than the book")
        # What came before must not change what is found: the same, and what differs from it in one byte.
        layouts, other = Layouts(), bytearray(content)
        if other:
            other[sum(content) % len(other)] ^= 1 << len(content) % 8
        for each, alone in ((content, found), (content, found), (bytes(other), scanned(other))):
            if alone != scanned(each, layouts):
                raise RuntimeError("the shortcut finds something else where it has seen another object")

    def file_meta(content: bytes) -> None:
        try:
            meta = read_meta(content)
        except Refused:
            return
        head(
            sop_class_uid="1.2",
            sop_instance_uid="1.2",
            transfer_syntax_uid=meta.transfer_syntax_uid,
            sending="",
            receiving="",
        )

    def command(content: bytes) -> None:
        try:
            decoded = command_set.decode(content)
        except command_set.Malformed:
            return
        usual = command_set._usual_store(content)
        if usual is not None and usual != command_set._by_the_book(content):
            raise RuntimeError("a usual request is read otherwise than by the book")
        command_set.response(decoded, 0xC000, decoded.move_originator)

    def association_request(content: bytes) -> None:
        try:
            agree(decode_request(content), contexts)
        except InvalidPdu:
            return

    class Sink:
        def write(self, piece: memoryview) -> None:
            pass

        def finish(self) -> None:
            pass

        def discard(self) -> None:
            pass

    def begin(_context_id: int, encoded: bytes) -> Sink | None:
        return Sink() if command_set.decode(encoded).has_data_set else None

    def p_data(content: bytes) -> None:
        messages = Messages(range(1, 13, 2), begin)
        try:
            messages.take(memoryview(content))
        except MatinsError:
            return
        finally:
            messages.discard()

    def performed_step(content: bytes) -> None:
        syntax = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)[content[0] % 2]
        try:
            procedure_step.read(content[1:], str(syntax))
        except Refused:
            return

    class Parts(Sink):
        def begin(self) -> None:
            pass

        def describe(self, headers: dict[str, str]) -> None:
            pass

        def end(self) -> None:
            pass

    def multipart(content: bytes) -> None:
        try:
            body = Multipart("b", Parts())
            for start in range(0, len(content), 1 + content[0]):
                body.feed(content[start : start + 1 + content[0]])
            body.close()
        except Malformed:
            return

    every: tuple[Decode, ...] = (
        *(data_set, shortcut, file_meta, command, association_request, p_data, performed_step, multipart),
    )
    return {decode.__name__: decode for decode in every}


def seeds(name: str) -> list[bytes]:
    """Sound inputs of a decoder."""
    import zlib

    from tests.receive.mutation import data_sets, recordings, request
    from tests.receive.objects import mr_slice, part10
    from tests.receive.peer import echo_command, store_command

    plain = [content for _, content in data_sets()]
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    sets = [bytes([number]) + content for number, content in enumerate(plain)]
    made: dict[str, list[bytes]] = {
        "data_set": [*sets, bytes([4]) + deflater.compress(plain[0]) + deflater.flush()],
        "shortcut": sets[:2],
        "file_meta": [part10(mr_slice(), sending="SCANNER1")[:500], part10(mr_slice())[132:500]],
        "command": [store_command(), echo_command()],
        "association_request": [request()[6:]],
        "p_data": [b"".join(pdu[6:] for pdu in recording[1:-1]) for recording in recordings()],
        "performed_step": [b"\1" + recordings()[3][2][12:]],
        "multipart": [b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\nabcd\r\n--b\r\nA: b\r\n\r\n\r\n--b--\r\n"],
    }
    return made[name]


def fuzz_here(name: str, arguments: list[str]) -> None:
    """Fuzz one decoder in this process until libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["node.receive"]):
        decode = decoders()[name]

    def run(content: bytes) -> None:
        if content:
            decode(content)

    atheris.Setup([sys.argv[0], *arguments], run)
    atheris.Fuzz()


def fuzz(name: str, seconds: int, folder: Path) -> Outcome:
    """Fuzz one decoder in a process of its own; what it was stopped by stays in `folder`."""
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [
        *(f"-max_total_time={seconds}", f"-rss_limit_mb={_MEMORY_MIB}", f"-timeout={_SLOW_S}"),
        *(f"-max_len={_LONGEST_BYTES}", "-len_control=0", "-print_final_stats=1", f"-artifact_prefix={folder}/{name}-"),
    ]
    command = [sys.executable, __file__, "--here", name, *options, str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    uncaught = ""
    if done.returncode:
        raised = re.findall(r"Uncaught Python exception: ===\s*(.*)|(ERROR: libFuzzer: .*)", done.stdout + done.stderr)
        uncaught = "".join(raised[0]) if raised else f"exit code {done.returncode}"
        (folder / f"{name}.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    return Outcome(name, int(executed[1]) if executed else 0, len(list(corpus.iterdir())), uncaught)


def main() -> int:
    """Fuzz the decoders one after the other and print the table."""
    if sys.argv[1:2] == ["--here"]:
        fuzz_here(sys.argv[2], sys.argv[3:])
        return 0
    names = list(decoders())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="in all")
    parser.add_argument("--only", choices=names, help="one decoder alone")
    parser.add_argument("--keep", type=Path, help="where inputs stay, to go on from")
    parser.add_argument("--write", action="store_true", help=f"keep the result in {_RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    chosen = [given.only] if given.only else names
    with tempfile.TemporaryDirectory(prefix="matins-fuzz-") as name:
        folder = given.keep or Path(name)
        outcomes = [fuzz(each, max(1, given.seconds // len(chosen)), folder) for each in chosen]
        found = [outcome for outcome in outcomes if outcome.uncaught]
        if found and not given.keep:
            for outcome in found:
                print((folder / f"{outcome.decoder}.txt").read_text(encoding="utf-8")[-4000:], file=sys.stderr)
    executions = sum(outcome.executions for outcome in outcomes)
    lines = [
        f"# Fuzzing: {executions} executions, {len(found)} uncaught, {given.seconds} s",
        "",
        "| decoder | executions | inputs that reached something new | uncaught |",
        "|---|--:|--:|---|",
    ]
    lines += [f"| {each.decoder} | {each.executions} | {each.corpus} | {each.uncaught or '0'} |" for each in outcomes]
    print("\n".join(lines))
    if given.write:
        _RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
