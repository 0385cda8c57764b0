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
GOOD = sorted((SCHEMAS / "examples/good").rglob("*.json"))
RISKY = sorted((SCHEMAS / "examples/risky").glob("*.json"))
BAD = sorted((SCHEMAS / "examples/bad").glob("*.json"))


def validator(path):
	kinds = {"sa": "sa", "test": "policy-test"}
	kind = kinds.get(path.name.split("-")[0], "policy")
	schema = json.loads((SCHEMAS / f"{kind}.schema.json").read_text())
	return jsonschema.Draft202012Validator(schema)


def schema_accepts(path):
	try:
		document = json.loads(path.read_bytes())
	except (ValueError, RecursionError):
		return False
	return validator(path).is_valid(document)


@pytest.mark.parametrize("name", ["policy.schema.json", "sa.schema.json",
					   "policy-test.schema.json"])
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
	assert len(GOOD) >= 9 and len(BAD) >= 40 and len(RISKY) >= 10
	assert [p.name for p in BAD if not p.with_suffix(".expected").exists()] == []
	assert [p.name for p in (SCHEMAS / "examples/bad").glob("*.expected")
		if not p.with_suffix(".json").exists()] == []


@pytest.mark.parametrize("path", GOOD + RISKY, ids=lambda p: p.name)
def test_good(path):
	validator(path).validate(json.loads(path.read_text()))


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.name)
def test_bad(path):
	expected = path.with_suffix(".expected").read_text().splitlines()
	assert schema_accepts(path) == (expected[0] == "schema: accepts")


SA_BAD = [path for path in BAD if path.name.startswith("sa-") and
	  not path.with_suffix(".expected").read_text().startswith("schema: accepts")]


@pytest.mark.parametrize("path", SA_BAD, ids=lambda p: p.name)
def test_every_bad_sa(path):
	"""The parser in C counts its errors per SA (the .expected file); the schema stops at the first."""
	document = json.loads(path.read_text())
	for index, sa in enumerate(document["sas"]):
		assert not validator(path).is_valid(document | {"sas": [sa]}), f"sas[{index}] is accepted"


TEST_BAD = [path for path in BAD if path.name.startswith("test-") and
	    not path.with_suffix(".expected").read_text().startswith("schema: accepts")]


@pytest.mark.parametrize("path", TEST_BAD, ids=lambda p: p.name)
def test_every_bad_policy_test(path):
	"""Likewise: each test of a bad example is bad by itself."""
	try:
		document = json.loads(path.read_text())
	except ValueError:
		return
	for index, test in enumerate(document["tests"]):
		assert not validator(path).is_valid(document | {"tests": [test]}), f"tests[{index}]"


SA_GOOD = SCHEMAS / "examples/good/sa-two-hosts.json"
SA_CHANGES = [
	("spi too small", 0, {"spi": 255}), ("spi reserved", 0, {"spi": "0xff"}),
	("spi too large", 0, {"spi": 2**32}), ("spi decimal text", 0, {"spi": "4097"}),
	("prefix as source", 0, {"src": "10.9.0.0/24"}), ("unknown suite", 0, {"suite": "des"}),
	("key too short", 0, {"key": "00" * 35}), ("key not hex", 0, {"key": "zz" * 36}),
	("MAC key with an AEAD", 0, {"auth_key": "00" * 32}), ("ah", 0, {"proto": "ah"}),
	("ah with a key", 5, {"proto": "ah", "suite": "sha256", "key": ""}),
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


KEY_OCTETS = {"aes128": 16, "aes192": 24, "aes256": 32, "3des": 24, "null": 0, "chacha": 32}
MAC_OCTETS = {"md5": 16, "sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64, "aesxcbc": 16,
	      "aescmac": 16}
XFRM_MACS = {f"hmac({name})": name for name in MAC_OCTETS} | \
	    {"xcbc(aes)": "aesxcbc", "cmac(aes)": "aescmac"}
SUITES = json.loads((SCHEMAS / "sa.schema.json").read_text())[
	"$defs"]["esp_suite"]["enum"]


def octets(name):
	"""Of key with salt and of MAC key, by the name alone, in either spelling."""
	cipher, mac = name, None
	if "(" in name:
		words = name.split()
		if words[-1] in XFRM_MACS:
			mac = XFRM_MACS[words.pop()]
		kind = words[0]
		length = 24 if "des3" in kind else int(words[1]) // 8 if len(words) > 1 else 0
		salt = 4 if kind.startswith("rfc") else 0
		return length + salt, MAC_OCTETS.get(mac, 0)
	if "-" in name:
		cipher, mac = name.split("-")
	length = next(n for prefix, n in KEY_OCTETS.items() if cipher.startswith(prefix))
	salt = 4 if any(word in cipher for word in ("gcm", "gmac", "ctr", "chacha")) else 0
	return length + salt, MAC_OCTETS.get(mac, 0)


@pytest.mark.parametrize("suite", SUITES)
def test_key_lengths_of_every_suite(suite):
	document = json.loads(SA_GOOD.read_text())
	legacy = any(word in suite for word in ("3des", "des3", "md5"))

	def accepted(key, mac, allow=legacy):
		sa = {k: document["sas"][0][k] for k in ("src", "dst", "spi", "protection")}
		sa |= {"suite": suite} | ({"key": "5a" * key} if key else {}) | \
			({"auth_key": "a5" * mac} if mac else {}) | ({"allow_legacy": True} if allow else {})
		return validator(SA_GOOD).is_valid({"version": 1, "sas": [sa]})
	key, mac = octets(suite)
	assert accepted(key, mac)
	assert legacy != accepted(key, mac, allow=False)
	assert not accepted(key + 1, mac) and not accepted(key, mac + 1)
	assert not accepted(max(key - 1, 0), max(mac - 1, 0))


AH_SUITES = json.loads((SCHEMAS / "sa.schema.json").read_text())["$defs"]["ah_suite"]["enum"]


@pytest.mark.parametrize("suite", AH_SUITES)
def test_key_lengths_of_every_ah_suite(suite):
	name = XFRM_MACS.get(suite, suite)

	def accepted(**changes):
		sa = {"src": "10.9.0.1", "dst": "10.9.0.2", "spi": 4097, "protection": "p", "proto": "ah",
		      "suite": suite, "auth_key": "a5" * MAC_OCTETS[name], "allow_legacy": True} | changes
		return validator(SA_GOOD).is_valid({"version": 1, "sas": [sa]})
	assert accepted()
	assert accepted(allow_legacy=False) == (name != "md5")
	assert not accepted(auth_key="a5" * (MAC_OCTETS[name] + 1))
	assert not accepted(auth_key="a5" * (MAC_OCTETS[name] - 1))
	assert not accepted(key="a5" * MAC_OCTETS[name]) and not accepted(proto="esp")
