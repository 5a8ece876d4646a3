#!/usr/bin/env python3
"""Compares iocpipe with other indicator extractors on a labelled corpus and prints a Markdown table.

usage: peers.py [CORPUS.jsonl] [--iocpipe BINARY] [--xioc BINARY] [--cache DIR] [--only TOOL,...]

CORPUS (or $IOCPIPE_CORPUS) holds one case per line: {"id", "text", "expect": {type: [value]}, "complete": bool}. The
Python peers are installed from their package registry into a virtual environment below the cache folder; the binaries
are built when none is given ($IOCPIPE, $XIOC). See README.md for what is compared and what the figures do not say.
"""
import argparse
import collections
import ipaddress
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import venv

BENCH = pathlib.Path(__file__).resolve().parent
TYPES = ("ip", "domain", "email", "hash")
HASHES = ("md5", "sha1", "sha256", "sha512")
PACKAGES = {"ioc-finder": ["ioc-finder"], "iocextract": ["iocextract", "requests"]}  # requests: imported, not declared
SPEED_BYTES = {"iocpipe": 20_000_000, "xioc": 4_000_000, "ioc-finder": 1_000_000, "iocextract": 50_000}
SPEED_RUNS = 3


def canonical(kind, value):
    """Returns value in the form in which two tools' spellings of one indicator are equal."""
    value = value.strip().rstrip(".").lower()
    if kind != "ip":
        return value
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return value
    return str(getattr(address, "ipv4_mapped", None) or address)


def kind_of(name):
    """Maps a tool's name of a type to ours; a type that is not compared maps to None."""
    if name in HASHES:
        return "hash"
    if name in ("ip4", "ip6"):
        return "ip"
    return name if name in TYPES else None


def values(pairs):
    """Collects (type, value) pairs into sets by type."""
    found = {kind: set() for kind in TYPES}
    for name, value in pairs:
        kind = kind_of(name)
        if kind:
            found[kind].add(canonical(kind, value))
    return found


# --- the peers, each as text -> pairs; these two run inside the virtual environment

def ioc_finder_pairs(text):
    from ioc_finder import find_iocs
    names = {"ipv4s": "ip", "ipv6s": "ip", "domains": "domain", "email_addresses": "email",
             "email_addresses_complete": "email", "md5s": "md5", "sha1s": "sha1", "sha256s": "sha256",
             "sha512s": "sha512"}
    report = find_iocs(text)
    return [(kind, value) for name, kind in names.items() for value in report.get(name, ())]


def iocextract_pairs(text):
    """iocextract has no type for domains: the host of a URL and the domain of an e-mail address stand for it."""
    import iocextract
    pairs = [("ip", value) for value in iocextract.extract_ips(text, refang=True)]
    pairs += [("md5", value) for value in iocextract.extract_hashes(text)]
    for value in iocextract.extract_emails(text, refang=True):
        pairs += [("email", value), ("domain", value.rpartition("@")[2])]
    for value in iocextract.extract_urls(text, refang=True):
        host = url_host(value)
        if host:
            pairs.append(("ip" if is_address(host) else "domain", host))
    return pairs


def url_host(url):
    try:
        return urllib.parse.urlparse(url if "://" in url else "http://" + url).hostname
    except ValueError:
        return None


def is_address(host):
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


WORKERS = {"ioc-finder": ioc_finder_pairs, "iocextract": iocextract_pairs}


def work(tool):
    """Answers each JSON string on stdin with its pairs; the last line is the seconds this took, without start-up."""
    find = WORKERS[tool]
    texts = [json.loads(line) for line in sys.stdin]
    find("192.0.2.1")  # the first call loads tables
    start = time.perf_counter()
    answers = [find(text) for text in texts]
    seconds = time.perf_counter() - start
    for answer in answers:
        print(json.dumps(answer))
    print(json.dumps(seconds))


# --- running the tools

class PythonPeer:
    """A peer from the package registry, run by this script inside its virtual environment."""

    def __init__(self, tool, cache):
        self.tool = tool
        home = cache / "venv"
        self.python = home / "bin" / "python"
        if not self.python.exists():
            venv.create(home, with_pip=True)
        subprocess.run([self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                        *PACKAGES[tool]], check=True)

    def version(self):
        code = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
        return subprocess.check_output([self.python, "-c", code, self.tool], text=True).strip()

    def ask(self, texts):
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        out = subprocess.run([self.python, __file__, "--worker", self.tool], input=lines, text=True,
                             stdout=subprocess.PIPE, check=True).stdout.splitlines()
        return [json.loads(line) for line in out[:-1]], json.loads(out[-1])

    def extract(self, texts):
        return [values(pairs) for pairs in self.ask(texts)[0]]

    def seconds(self, piece):
        return self.ask(piece.read_text(encoding="utf-8", errors="replace").splitlines())[1]


class Iocpipe:
    def __init__(self, binary):
        self.binary = binary

    def version(self):
        return subprocess.run([self.binary, "version"], stdout=subprocess.PIPE, text=True).stdout.strip() or "-"

    def extract(self, texts):
        data = "".join(text + "\n" for text in texts).encode()
        out = subprocess.run([self.binary, "extract", "--all", "--private"], input=data, stdout=subprocess.PIPE,
                             check=True).stdout.splitlines()
        if len(out) != len(texts):
            sys.exit(f"peers.py: iocpipe extract --all wrote {len(out)} lines for {len(texts)}")
        return [values((i["type"], i["value"]) for i in json.loads(line)["indicators"]) for line in out]

    def seconds(self, piece):
        return timed([self.binary, "extract", str(piece)], None)


class Xioc:
    def __init__(self, binary):
        self.binary = binary

    def version(self):
        return "-"

    def extract(self, texts):
        return [self.one(text) for text in texts]

    def one(self, text):
        """xioc prints the values of all its input at once, `type TAB value`: so one process per case."""
        out = subprocess.run([self.binary], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout.decode()
        return values(line.split("\t", 1) for line in out.splitlines() if "\t" in line)

    def seconds(self, piece):
        with piece.open("rb") as data:
            return timed([self.binary], data)


def timed(command, stdin):
    """Returns the seconds a command takes on one core with its output through a pipe."""
    if shutil.which("taskset"):
        command = ["taskset", "-c", "0", *command]
    start = time.perf_counter()
    subprocess.run(command, stdin=stdin, stdout=subprocess.PIPE, env={**os.environ, "GOMAXPROCS": "1"}, check=True)
    return time.perf_counter() - start


def iocpipe_binary(given, cache):
    if given:
        return given
    binary = cache / "iocpipe"
    build = subprocess.run(["go", "build", "-o", binary, "./cmd/iocpipe"], cwd=BENCH.parent)
    return None if build.returncode else str(binary)


def xioc_binary(given, cache):
    found = given or shutil.which("xioc")
    if found:
        return found
    environment = {**os.environ, "GOBIN": str(cache)}
    build = subprocess.run(["go", "install", "github.com/assafmo/xioc@latest"], env=environment,
                           stderr=subprocess.PIPE, text=True)
    if build.returncode:
        reason = build.stderr.strip().splitlines()[-1:]
        print("peers.py: xioc cannot be installed here:", *map(str.strip, reason), file=sys.stderr)
        return None
    return str(cache / "xioc")


def tools(options, cache):
    """Yields (name, tool) for each tool that was asked for and can be run here."""
    wanted = options.only.split(",") if options.only else list(SPEED_BYTES)
    for name in wanted:
        if name in PACKAGES:
            yield name, PythonPeer(name, cache)
            continue
        if name == "iocpipe":
            binary, make = iocpipe_binary(options.iocpipe, cache), Iocpipe
        elif name == "xioc":
            binary, make = xioc_binary(options.xioc, cache), Xioc
        else:
            sys.exit(f"peers.py: unknown tool {name!r}; one of {', '.join(SPEED_BYTES)}")
        if binary:
            yield name, make(binary)
        else:
            print(f"peers.py: {name} is left out", file=sys.stderr)


# --- scoring

class Score:
    """Counts by type. Recall is over all cases, false values over the complete ones: only they list everything."""

    def __init__(self):
        self.expected, self.found, self.reported, self.false = (collections.Counter() for _ in range(4))

    def add(self, case, got):
        for kind in TYPES:
            want = {canonical(kind, value) for value in case["expect"].get(kind, ())}
            self.expected[kind] += len(want)
            self.found[kind] += len(want & got[kind])
            if case["complete"]:
                self.reported[kind] += len(got[kind])
                self.false[kind] += len(got[kind] - want)


def share(part, whole):
    return f"{100 * part / whole:.1f} % ({part}/{whole})" if whole else "-"


def row(name, version, score, speed):
    cells = [name, version, share(score.found.total(), score.expected.total())]
    cells += [share(score.found[kind], score.expected[kind]) for kind in TYPES]
    reported, false = score.reported.total(), score.false.total()
    cells += [share(reported - false, reported), str(false), speed]
    return "| " + " | ".join(cells) + " |"


def megabytes_per_second(name, tool, corpus, cache):
    """Measures on the head of the plain throughput corpus; slow tools get a shorter piece."""
    piece = cache / f"piece.{name}"
    with open(corpus, "rb") as source:
        data = source.read(SPEED_BYTES[name])
    piece.write_bytes(data[: data.rindex(b"\n") + 1])
    median = statistics.median(tool.seconds(piece) for _ in range(SPEED_RUNS))
    rate = piece.stat().st_size / 1e6 / median
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


def main():
    parser = argparse.ArgumentParser(description="compares indicator extractors on a labelled corpus")
    parser.add_argument("corpus", nargs="?", default=os.environ.get("IOCPIPE_CORPUS"))
    parser.add_argument("--iocpipe", default=os.environ.get("IOCPIPE"))
    parser.add_argument("--xioc", default=os.environ.get("XIOC"))
    parser.add_argument("--cache", default=os.path.join(tempfile.gettempdir(), "iocpipe-bench-peers"))
    parser.add_argument("--only", help="comma-separated tools: " + ", ".join(SPEED_BYTES))
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    if not options.corpus:
        parser.error("name the corpus, or set IOCPIPE_CORPUS")
    cache = pathlib.Path(options.cache)
    cache.mkdir(parents=True, exist_ok=True)
    with open(options.corpus, encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines]
    if any("\n" in case["text"] for case in cases):
        parser.error(f"{options.corpus}: a case's text has more than one line")
    subprocess.run([BENCH / "corpus.sh", cache, "20"], check=True)

    heads = ["tool", "version", "recall", *TYPES, "precision, complete cases", "false values", "MB/s"]
    print("| " + " | ".join(heads) + " |")
    print("|" + " --- |" * len(heads))
    for name, tool in tools(options, cache):
        score = Score()
        for case, got in zip(cases, tool.extract([case["text"] for case in cases])):
            score.add(case, got)
        speed = megabytes_per_second(name, tool, cache / "plain.log", cache)
        print(row(name, tool.version(), score, speed), flush=True)


main()
