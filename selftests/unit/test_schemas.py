# SPDX-License-Identifier: BSD-2-Clause
"""The JSON Schemas and the corpus agree: what the schema can see, it refuses.

A bad example whose error only the checker in C can see has "schema: accepts" as the first line of
its .expected file. Runs in the repository's root, without privilege.
"""
import copy
import json
import pathlib

import jsonschema
import pytest

SCHEMAS = pathlib.Path("schemas")
GOOD = sorted((SCHEMAS / "examples/good").glob("*.json"))
BAD = sorted((SCHEMAS / "examples/bad").glob("*.json"))


def validator(path):
	kind = "sa" if path.name.startswith("sa-") else "policy"
	schema = json.loads((SCHEMAS / f"{kind}.schema.json").read_text())
	return jsonschema.Draft202012Validator(schema)


def schema_accepts(path):
	try:
		document = json.loads(path.read_bytes())
	except (ValueError, RecursionError):
		return False
	return validator(path).is_valid(document)


@pytest.mark.parametrize("name", ["policy.schema.json", "sa.schema.json"])
def test_schema_is_valid_and_closed(name):
	schema = json.loads((SCHEMAS / name).read_text())
	jsonschema.Draft202012Validator.check_schema(schema)

	def walk(node, path):
		if "properties" in node and node.get("type") == "object":
			assert "additionalProperties" in node, path
			for key, value in node["properties"].items():
				described = value.get("description") or "$ref" in value
				assert described, f"{path}/{key} is not described"
				walk(value, f"{path}/{key}")
		for key, value in node.get("$defs", {}).items():
			assert value.get("description"), f"$defs/{key} is not described"
			walk(value, key)
	walk(schema, "")


def test_corpus_is_there():
	assert len(GOOD) >= 7 and len(BAD) >= 25
	assert [p.name for p in BAD if not p.with_suffix(".expected").exists()] == []
	assert [p.name for p in (SCHEMAS / "examples/bad").glob("*.expected")
		if not p.with_suffix(".json").exists()] == []


@pytest.mark.parametrize("path", GOOD, ids=lambda p: p.name)
def test_good(path):
	validator(path).validate(json.loads(path.read_text()))


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.name)
def test_bad(path):
	expected = path.with_suffix(".expected").read_text().splitlines()
	assert schema_accepts(path) == (expected[0] == "schema: accepts")


SA_GOOD = SCHEMAS / "examples/good/sa-two-hosts.json"
SA_CHANGES = [
	("spi too small", 0, {"spi": 255}), ("spi reserved", 0, {"spi": "0xff"}),
	("spi too large", 0, {"spi": 2**32}), ("spi decimal text", 0, {"spi": "4097"}),
	("prefix as source", 0, {"src": "10.9.0.0/24"}), ("unknown suite", 0, {"suite": "des"}),
	("key too short", 0, {"key": "00" * 35}), ("key not hex", 0, {"key": "zz" * 36}),
	("MAC key with an AEAD", 0, {"auth_key": "00" * 32}), ("ah", 0, {"proto": "ah"}),
	("window too large", 0, {"replay_window": 4097}), ("direction", 0, {"direction": "both"}),
	("esn as a word", 0, {"esn": "yes"}), ("unknown key", 0, {"keys": ""}),
	("no protection", 0, {"protection": None}), ("no key", 0, {"key": None}),
	("no MAC key", 4, {"auth_key": None}), ("MAC key too short", 4, {"auth_key": "00" * 31}),
	("CBC key with a salt", 4, {"key": "00" * 20}), ("NULL with a key", 5, {"key": "00" * 16}),
]


@pytest.mark.parametrize("index, change", [c[1:] for c in SA_CHANGES],
			 ids=[c[0] for c in SA_CHANGES])
def test_sa_schema_refuses(index, change):
	document = json.loads(SA_GOOD.read_text())
	broken = copy.deepcopy(document)
	sa = broken["sas"][index]
	for key, value in change.items():
		if value is None:
			del sa[key]
		else:
			sa[key] = value
	assert validator(SA_GOOD).is_valid(document)
	assert not validator(SA_GOOD).is_valid(broken)
