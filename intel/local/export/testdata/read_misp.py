"""Reads the folder of a MISP feed as MISP's own library does and prints each attribute, a line of JSON each."""
import json
import pathlib
import sys

from pymisp import MISPEvent

folder = pathlib.Path(sys.argv[1])
manifest = json.loads((folder / "manifest.json").read_text())
hashes = {tuple(line.split(",")) for line in (folder / "hashes.csv").read_text().splitlines()}
for uuid, listed in manifest.items():
    event = MISPEvent()  # checks types against categories, dates and identifiers
    event.load_file(folder / (uuid + ".json"))
    assert event.uuid == uuid and event.info == listed["info"]
    feed = event.to_feed(with_meta=True)["Event"]
    assert set(listed) == set(feed["_manifest"][uuid]) - {"Tag"} | {"Tag"}, feed["_manifest"]
    expected = {(digest, uuid) for digest in feed["_hashes"]}
    assert hashes == expected, hashes ^ expected
    for a in event.attributes:
        print(json.dumps({
            "type": a.type, "value": a.value, "to_ids": a.to_ids, "tags": [t.name for t in a.tags],
            "comment": getattr(a, "comment", ""), "last_seen": str(getattr(a, "last_seen", "")),
        }))
