"""Makes the two throughput corpora out of the real lines in testdata/logs; called by corpus.sh.

Repeating a few hundred lines would flatter every scanner: branches become predictable and all fits in a cache. So each
round takes the lines in another order and gives each address and each number other digits, of the same length and kind:
a private address stays private, an octet stays below 256. Words, names and hashes stay as they are. All randomness
comes from one seeded generator, of which only random() is used: Python promises its sequence, not that of shuffle().
"""
import hashlib
import json
import pathlib
import random
import re
import sys
import time

SEED = 20260101
PUBLIC_ADDRESSES = 50_000

# A dotted quad that is no part of a longer dotted number, or a number that is no part of a word.
NUMBER = re.compile(
    r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)|(?<![A-Za-z0-9_\\%-])\d{2,19}(?![A-Za-z0-9_])", re.ASCII)
PRIVATE = re.compile(r"(?:10|127|0|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.")
ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])", re.ASCII)


def renumberer(rng):
    """Returns a replacement function for NUMBER that draws from rng."""
    draw = rng.random
    public = ["%d.%d.%d.%d" % (11 + draw() * 115, draw() * 256, draw() * 256, 1 + draw() * 254)
              for _ in range(PUBLIC_ADDRESSES)]

    def renumber(match):
        old = match.group()
        if "." not in old:
            width = len(old)
            return str(int((1 + 9 * draw()) * 10 ** (width - 1)))[:width]
        if PRIVATE.match(old):
            return old[: old.rindex(".") + 1] + str(1 + int(draw() * 254))
        return public[int(draw() * PUBLIC_ADDRESSES)]

    return renumber


def rounds(lines, rng):
    """Yields the lines, (dataset, text) each, over and over: reordered and with other numbers every time."""
    renumber = renumberer(rng)
    while True:
        for dataset, text in sorted(lines, key=lambda _: rng.random()):
            yield dataset, NUMBER.sub(renumber, text)


def as_event(dataset, text, count):
    """Wraps a text line in the ECS fields a shipper would add; a line that is a JSON object stays as it is."""
    if text.startswith("{"):
        return text
    second = count // 40
    event = {
        "@timestamp": "2026-01-%02dT%02d:%02d:%02d.%03dZ" % (
            1 + second // 86400 % 28, second // 3600 % 24, second // 60 % 60, second % 60, count * 25 % 1000),
        "ecs": {"version": "8.11.0"},
        "event": {"kind": "event", "dataset": dataset},
        "host": {"name": "host-%d" % (count % 97)},
        "log": {"file": {"path": "/var/log/%s.log" % dataset}, "offset": count * 131},
        "message": text,
    }
    address = ADDRESS.search(text)
    if address:
        event["source"] = {"ip": address.group(), "port": 1024 + count % 64000}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def write(path, size, texts):
    """Writes texts as lines to path until it has at least size bytes."""
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as out:
        block, held, written = [], 0, 0
        while written + held < size:
            text = next(texts)
            block.append(text)
            held += len(text) + 1
            if held > 1 << 20:
                written += out.write(("\n".join(block) + "\n").encode())
                block, held = [], 0
        if block:
            out.write(("\n".join(block) + "\n").encode())
    partial.replace(path)


def main():
    logs, outdir, megabytes = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
    sources = sorted(logs.glob("*.log"))
    if not sources:
        sys.exit(f"corpus.py: no *.log in {logs}")
    key = hashlib.sha256(pathlib.Path(__file__).read_bytes())
    for source in sources:
        key.update(source.name.encode() + source.read_bytes())
    stamp = f"{megabytes} {key.hexdigest()}\n"
    done, plain, events = outdir / "corpus.key", outdir / "plain.log", outdir / "events.ndjson"
    if done.exists() and done.read_text() == stamp and plain.exists() and events.exists():
        print(f"{plain} and {events}: already there", file=sys.stderr)
        return

    lines = [(source.stem, line)
             for source in sources
             for line in source.read_text(encoding="utf-8").split("\n") if line.strip()]
    text_lines = [(dataset, line.rstrip("\r")) for dataset, line in lines if not line.startswith("{")]
    all_lines = [(dataset, line.rstrip("\r")) for dataset, line in lines]
    done.unlink(missing_ok=True)
    start = time.monotonic()
    plain_texts = (text for _, text in rounds(text_lines, random.Random(SEED)))
    write(plain, megabytes * 10**6, plain_texts)
    numbered = enumerate(rounds(all_lines, random.Random(SEED + 1)))
    write(events, megabytes * 10**6, (as_event(dataset, text, count) for count, (dataset, text) in numbered))
    done.write_text(stamp)
    print(f"{plain} and {events}: {megabytes} MB each in {time.monotonic() - start:.0f} s", file=sys.stderr)


main()
