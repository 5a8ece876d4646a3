"""Reads a bundle as OASIS' own library does and prints what it understood of each indicator, a line of JSON each."""
import json
import re
import sys

import stix2
from stix2.pattern_visitor import create_pattern_object

with open(sys.argv[1], encoding="utf-8") as f:
    bundle = stix2.parse(f)  # checks all properties, and each pattern by its grammar
authors = {o.id for o in bundle.objects if o.type == "identity"}
for o in bundle.objects:
    if o.type != "indicator":
        continue
    assert o.created_by_ref in authors
    operand = create_pattern_object(o.pattern, version="2.1").operand
    value = re.sub(r"\\(.)", r"\1", operand.rhs.value)  # the library leaves a string as the pattern has it
    print(json.dumps({
        "name": o.name, "operator": operand.operator, "value": value, "types": o.indicator_types,
        "labels": list(o.get("labels", [])), "until": str(o.get("valid_until", "")),
    }))
