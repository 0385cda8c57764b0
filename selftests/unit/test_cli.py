# SPDX-License-Identifier: BSD-2-Clause
"""The command line: help, usage errors, numbers, the form of messages. Needs no root, attaches nothing.

What there is to test comes from the command's own tables (`ipsecbpf -j help`), so that a new verb
or option is tested without a word here. IPSECBPF names the program (default: build/ipsecbpf).
"""
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("IPSECBPF", str(TREE / "build" / "ipsecbpf"))
MESSAGE = {"level", "object", "cause", "next"}


def run(*args, **kwargs):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, **kwargs)


def run_json(*args):
    result = run(*args)
    assert result.stderr == "", "with -j, messages are on standard output"
    return result.returncode, json.loads(result.stdout)


def commands():
    return [command["name"].split() for command in run_json("-j", "help")[1]["commands"]]


def options():
    """(words of the command, option) for every option of every command."""
    found = []
    for words in commands():
        for option in run_json("-j", "help", *words)[1]["options"]:
            found.append(pytest.param(words, option, id=" ".join(words) + " --" + option["name"]))
    return found


def check_messages(document):
    assert document["messages"]
    for message in document["messages"]:
        assert set(message) == MESSAGE
        assert message["level"] in ("error", "warning", "note")
        assert message["object"] and message["cause"]
    return [message for message in document["messages"] if message["level"] == "error"]


def names(command):
    return " ".join(command)


def wrong(words):
    """The exit status of a wrong command line; that of `run` could be the command's."""
    return 125 if words[:1] == ["run"] else 2


@pytest.mark.parametrize("command", commands(), ids=names)
class TestEveryCommand:
    def test_help(self, command):
        result = run(*command, "--help")
        assert result.returncode == 0 and result.stderr == ""
        assert result.stdout.startswith("usage: ipsecbpf " + " ".join(command))
        assert run(*command, "-h").stdout == result.stdout
        assert run("help", *command).stdout == result.stdout
        assert "--json" in result.stdout

    def test_help_as_json(self, command):
        before = run_json("-j", *command, "--help")
        after = run_json(*command, "--help", "--json")
        assert before == after
        assert before[0] == 0 and before[1]["summary"]

    def test_one_argument_too_many(self, command):
        result = run(*command, *"abcdefgh")
        assert result.returncode == wrong(command) and result.stdout == ""
        assert "too many" in result.stderr and "usage: ipsecbpf " in result.stderr

    def test_unknown_option(self, command):
        code, document = run_json(*command, "--zzzzzzzzzz", "--json")
        assert (code, document) == run_json("-j", *command, "--zzzzzzzzzz")
        errors = check_messages(document)
        assert code == wrong(command) and len(errors) == 1
        assert "--zzzzzzzzzz" in errors[0]["cause"] and errors[0]["next"]

    def test_missing_operand(self, command):
        usage = run_json("-j", "help", *command)[1]["usage"]
        operands = re.findall(r" ([A-Z]+)(?= |$)", re.sub(r"\[.*?\]|--\S+ [A-Z]+", "", usage))
        if not operands:
            return
        result = run(*command)
        assert result.returncode == wrong(command)
        assert operands[0] + " is missing" in result.stderr and usage in result.stderr


@pytest.mark.parametrize("words, option", options())
class TestEveryOption:
    def test_value(self, words, option):
        name = "--" + option["name"]
        if option["value"] is None:
            result = run(*words, name + "=x")
            assert result.returncode == wrong(words) and "takes no value" in result.stderr
        else:
            for rest in ([name], [name, "--help"]):
                result = run(*words, *rest)
                assert result.returncode == wrong(words) and "needs a value" in result.stderr

    def test_near_miss(self, words, option):
        if len(option["name"]) < 4:
            return
        typed = option["name"][:-2] + option["name"][-1] + option["name"][-2] + "q"
        if len(option["name"]) > 5:
            assert "did you mean --" in run(*words, "--" + typed).stderr

    def test_number(self, words, option):
        if "min" not in option:
            return
        low, high = option["min"], option["max"]
        bad = ["", "x", "-1", "+5", " 5", "5 ", "5x", "0x", "0xg", "1.5", "1e3", str(low - 1),
               str(high + 1), str(2**32 + low), str(2**64 + low), "9" * 40, hex(high + 1)]
        for value in bad:
            result = run(*words, f"--{option['name']}={value}", "--help")
            assert result.returncode == wrong(words), value
            assert f"from {low} to {high}" in result.stderr
        for value in (low, high, hex(low), hex(high), hex(high).upper().replace("X", "x")):
            assert run(*words, f"--{option['name']}", str(value), "--help").returncode == 0
            assert run(*words, f"--{option['name']}={value}", "--help").returncode == 0

    def test_word(self, words, option):
        if "words" not in option:
            return
        assert option["words"]
        for word in option["words"]:
            assert run(*words, f"--{option['name']}={word}", "--help").returncode == 0
        result = run(*words, f"--{option['name']}={option['words'][0]}x", "--help")
        assert result.returncode == wrong(words)
        assert all(word in result.stderr for word in option["words"])

    def test_twice(self, words, option):
        if option["name"] in ("json", "help", "version") or option.get("repeatable"):
            return
        value = {None: ""}.get(option["value"], "=" + str(option.get(
            "min", option.get("words", ["0x1/0x1"])[0])))
        result = run(*words, *[f"--{option['name']}{value}"] * 2, "--help")
        assert result.returncode == wrong(words) and "twice" in result.stderr


@pytest.mark.parametrize("mark", ["", "1", "1/", "/1", "0/1", "1/0", "2/1", "1/1/1", "0x1ffffffff/1",
                                  "-1/1"])
def test_bad_mark(mark):
    result = run("attach", "none", "--mark=" + mark, "--help")
    assert result.returncode == 2 and "VALUE/MASK" in result.stderr


def test_no_command():
    result = run()
    assert result.returncode == 2 and "ipsecbpf help" in result.stderr
    assert run("sa").returncode == 2
    assert run("sa", "--help").stdout == run("help", "sa").stdout


@pytest.mark.parametrize("typed, meant", [
    (["attahc"], "ipsecbpf attach"), (["stat"], "ipsecbpf stat"), (["polcy"], "ipsecbpf policy"),
    (["policy", "aply"], "ipsecbpf policy apply"), (["sa", "lst"], "ipsecbpf sa list"),
    (["help", "moniter"], "ipsecbpf help monitor")])
def test_did_you_mean(typed, meant):
    result = run(*typed)
    assert result.returncode == 2 and result.stdout == ""
    assert f'did you mean "{meant}' in result.stderr
    code, document = run_json("-j", *typed)
    assert code == 2 and meant in check_messages(document)[0]["next"]


def test_no_suggestion_for_something_else():
    assert "did you mean" not in run("qqqqqqqq").stderr


def test_combined_letters_and_end_of_options():
    assert run_json("stats", "-ajh")[1]["summary"]
    result = run("policy", "check", "--", "--help")
    assert result.returncode == 1 and "--help: " in result.stderr


def test_version():
    code, document = run_json("version", "-j")
    assert code == 0
    assert run("--version").stdout == f"ipsecbpf {document['version']}, ABI {document['abi']}\n"


def test_full_output_is_an_error():
    with open("/dev/full", "w") as full:
        result = subprocess.run([PROGRAM, "help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1 and "No space left" in result.stderr


def on_terminal(*args, **environment):
    """Runs with a terminal as standard output; what it showed, and its exit code."""
    master, slave = pty.openpty()
    process = subprocess.Popen([PROGRAM, *args], stdin=subprocess.DEVNULL, stdout=slave,
                               stderr=slave, env={**os.environ, **environment})
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 4096):
            shown += chunk
    except OSError:
        pass    # the last writer has closed the terminal
    os.close(master)
    return shown.decode(), process.wait()


def test_keys_are_not_shown_on_a_terminal():
    shown, code = on_terminal("sa", "genkey", "--src", "10.9.0.1", "--dst", "10.9.0.2")
    assert code == 1 and "-o FILE" in shown and '"key"' not in shown


def test_key_file_is_never_overwritten(tmp_path):
    path = tmp_path / "sa.json"
    path.write_text("precious")
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "elsewhere.json")
    for target in (path, link):
        code, document = run_json("-j", "sa", "genkey", "--src", "10.9.0.1", "--dst", "10.9.0.2",
                                  "-o", str(target))
        assert code == 1
        assert "never overwritten" in check_messages(document)[0]["cause"]
    assert path.read_text() == "precious" and not (tmp_path / "elsewhere.json").exists()


def test_refused_keys_leave_no_file(tmp_path):
    path = tmp_path / "sa.json"
    result = run("sa", "genkey", "--src", "bad", "--dst", "10.9.0.2", "-o", str(path))
    assert result.returncode == 1 and result.stderr.startswith("error: ")
    assert not path.exists()


@pytest.mark.parametrize("ports", ["4500", ":4500", "4500:", "0:4500", "4500:0", "65536:1", "1:65536",
                                   "4500:4500:1", "a:b", "-1:1", " 1:1"])
def test_bad_encap(ports, tmp_path):
    path = tmp_path / "sa.json"
    result = run("sa", "genkey", "--src", "10.9.0.1", "--dst", "10.9.0.2", "--encap=" + ports,
                 "-o", str(path))
    assert result.returncode == 2 and "SPORT:DPORT" in result.stderr
    assert not path.exists()


@pytest.mark.parametrize("args, cause", [
    (["--proto", "ah", "--suite", "aes128gcm16"], "no suite of AH"),
    (["--suite", "sha256"], "a suite of AH"),
    (["--proto", "ah", "--suite", "md5"], "md5 is weak"),
    (["--proto", "ah", "--encap", "4500:4500"], "only with ESP")])
def test_refused_protocols(args, cause, tmp_path):
    path = tmp_path / "sa.json"
    result = run("sa", "genkey", "--src", "10.9.0.1", "--dst", "10.9.0.2", *args, "-o", str(path))
    assert result.returncode == 1 and cause in result.stderr
    assert not path.exists()


AH_SA = {"src": "10.9.0.1", "dst": "10.9.0.2", "spi": 4097, "proto": "ah", "suite": "sha256",
         "auth_key": "5a" * 32, "protection": "wire"}
ESP_SA = {"src": "10.9.0.1", "dst": "10.9.0.2", "spi": 4097, "suite": "null-sha256", "esn": False,
          "auth_key": "5a" * 32, "protection": "wire"}


def sa_file(path, *sas, mode=0o600):
    path.write_text(json.dumps({"version": 1, "sas": sas}))
    path.chmod(mode)
    return str(path)


def test_export(tmp_path):
    path = tmp_path / "esp_sa"
    name = sa_file(tmp_path / "sa.json", ESP_SA, AH_SA)
    result = run("sa", "export", name, "--wireshark")
    assert result.returncode == 0 and "sas[1], sha256: not exported" in result.stderr
    rows = [line for line in result.stdout.splitlines() if not line.startswith("#")]
    assert rows == ['"IPv4","10.9.0.1","10.9.0.2","0x00001001","NULL","",'
                    f'"HMAC-SHA-256-128 [RFC4868]","0x{"5a" * 32}"']
    code, document = run_json("-j", "sa", "export", name, "--wireshark", "-o", str(path))
    assert code == 0 and document["file"] == str(path) and document["messages"]
    assert path.read_text() == result.stdout and path.stat().st_mode & 0o777 == 0o600
    again = run("sa", "export", name, "--wireshark", "-o", str(path))
    assert again.returncode == 1 and "never overwritten" in again.stderr
    assert path.read_text() == result.stdout


def test_export_refuses(tmp_path):
    path = tmp_path / "esp_sa"
    good = sa_file(tmp_path / "good.json", ESP_SA)
    shown, code = on_terminal("sa", "export", good, "--wireshark")
    assert code == 1 and "-o FILE" in shown and "5a5a" not in shown
    result = run("sa", "export", good)
    assert result.returncode == 2 and "--wireshark is missing" in result.stderr
    open_to_all = sa_file(tmp_path / "open.json", ESP_SA, mode=0o644)
    only_ah = sa_file(tmp_path / "ah.json", AH_SA)
    for name, cause in ((open_to_all, "mode 0644"), (only_ah, "no SA of the file"),
                        ("/nonexistent", "cannot be opened")):
        result = run("sa", "export", name, "--wireshark", "-o", str(path))
        assert result.returncode == 1 and cause in result.stderr
        assert result.stdout == "" and not path.exists()


def test_colour_only_where_wanted():
    assert "\033[" in on_terminal("policy", "check", "/nonexistent", NO_COLOR="")[0]
    assert "\033[" not in on_terminal("policy", "check", "/nonexistent", NO_COLOR="1")[0]
    assert "\033[" not in on_terminal("-j", "policy", "check", "/nonexistent", NO_COLOR="")[0]
    assert "\033[" not in run("policy", "check", "/nonexistent").stderr


def test_control_characters_do_not_reach_the_terminal():
    result = run("policy", "check", "/nonexistent\033[31m")
    assert result.returncode == 1 and "\033" not in result.stderr + result.stdout


def test_name_that_is_no_utf8_is_still_json():
    result = subprocess.run([PROGRAM, "-j", "policy", "check", b"/nonexistent\xff"],
                            capture_output=True, check=False)
    check_messages(json.loads(result.stdout.decode("utf-8")))


@pytest.mark.parametrize("args, code, said", [
    (["run", "--app", "x", "--policy", "-", "echo"], 125, "-- COMMAND... is missing"),
    (["run", "eth0", "echo", "--app", "x"], 125, "put -- before the command"),
    (["run", "eth0", "--app", "x"], 125, "-- COMMAND... is missing"),
    (["run", "eth0", "--app", "x", "--"], 125, "-- COMMAND... is missing"),
    (["run", "eth0", "--", "echo", "--app", "x"], 125, "--app NAME is missing"),
    (["run", "--app", "x", "--", "echo"], 125, "IFNAME or --policy FILE is missing"),
    (["run", "eth0", "--policy", "f", "--app", "x", "--", "echo"], 125, "not both"),
    (["app", "identify", "--pid", "1"], 2, "IFNAME or --policy FILE is missing"),
    (["app", "identify", "eth0", "--policy", "f", "--pid", "1"], 2, "not both"),
    (["app", "identify", "eth0"], 2, "--pid, --cgroup, --exe, --user or --group is missing"),
    (["app", "identify", "eth0", "--pid", "1", "--exe", "/x"], 2, "--pid says it all"),
    (["app", "identify", "eth0", "--cgroup", "a"], 2, "the path is relative"),
    (["app", "identify", "eth0", "--exe", "a"], 2, "--exe is an absolute path"),
    (["explain", "eth0", "--pid", "1", "--app", "x"], 2, "without --app"),
    (["explain", "eth0", "10.0.0.1", "10.0.0.2", "--forwarded", "--app", "x"], 2, "no application's"),
    (["app", "identify", "--policy", "/no/such", "--pid", "1"], 1, "No such file"),
])
def test_what_applications_refuse(args, code, said):
    done = run(*args)
    assert (done.returncode, done.stdout) == (code, "") and said in done.stderr
    told = run_json("-j", *args)
    assert told[0] == code and any(said in str(m["cause"]) + str(m["next"]) for m in told[1]["messages"])


def app_policy(path, *applications):
    path.write_text(json.dumps({
        "version": 1, "bypass_essential": [], "rules": [],
        "defaults": {"in": "discard", "out": "discard", "non_ip": "discard"},
        "applications": [{"name": name, "match": match,
                          "networks": [{"remote": "any", "class": "trusted"}]}
                         for name, match in applications]}))
    return str(path)


def test_app_identify_by_a_file(tmp_path):
    path = app_policy(tmp_path / "p.json", ("deep", {"cgroup": "/a/b"}), ("shallow", {"cgroup": "/a"}),
                      ("me", [{"user": 4294967294}, {"user": os.getuid(), "executable": sys.executable}]),
                      ("unit", {"unit": "c.service", "user": 7}), ("slice", {"cgroup": "/s.slice"}))

    def asked(*args):
        code, told = run_json("-j", "app", "identify", "--policy", path, *args)
        assert code == 0
        return told["application"], [(other["application"], other["because"])
                                     for other in told["also_matches"]]

    assert asked("--cgroup", "/a/b/c") == ("deep", [("shallow", "its cgroup is less deep")])
    assert asked("--cgroup", "/s.slice/c.service", "--user", "7") == \
        ("unit", [("slice", "its cgroup is less deep")])
    assert asked("--cgroup", "/ab") == (None, [])
    assert asked("--pid", str(os.getpid()))[0] == "me"
    assert asked("--user", str(os.getuid())) == (None, [])
    by = run_json("-j", "app", "identify", "--policy", path, "--pid", str(os.getpid()))[1]["by"]
    assert by.pop("line") == 1 and by == \
        {"match_index": 1, "user": os.getuid(), "executable": sys.executable}, \
        "as in the policy"


def test_run_finds_no_application(tmp_path):
    path = app_policy(tmp_path / "p.json", ("server", {"user": 1}))
    done = run("run", "--policy", path, "--app", "servr", "--", "true")
    assert done.returncode == 125 and 'did you mean "server"?' in done.stderr
    done = run("run", "--policy", path, "--app", "server", "--", "true")
    assert done.returncode == 125 and "names no cgroup" in done.stderr


def test_both_files_from_standard_input():
    result = run("attach", "none", "--policy", "-", "--sa", "-")
    assert result.returncode == 2 and "standard input" in result.stderr


def test_policy_check_lists_all_errors(tmp_path):
    path = tmp_path / "bad.json"
    path.write_text('{"version": 1,\n "bypass_essential": ["arp", "bogus"],\n'
                    ' "defaults": {"in": "discard", "out": "maybe", "non_ip": "discard"},\n'
                    ' "surprise": true}\n')
    code, document = run_json("-j", "policy", "check", str(path))
    errors = check_messages(document)
    assert code == 1 and document["valid"] is False
    assert document["errors"] == len(errors) >= 2
    assert all(re.search(r"bad\.json:\d+:\d+", error["object"]) for error in errors)
    text = run("policy", "check", str(path))
    assert text.returncode == 1 and text.stderr.count("error: ") == len(errors)


def test_policy_check_of_a_missing_file():
    code, document = run_json("-j", "policy", "check", "/nonexistent")
    assert code == 1 and check_messages(document)[0]["object"] == "/nonexistent"


def drop_reasons():
    text = (TREE / "bpf" / "abi.h").read_text()
    body = text[text.index("#define DROP_REASONS(X)"):text.index("enum drop_reason {")]
    return re.findall(r'X\((\w+), "(\w+)", "[^"]+",\s*"([^"]+)"\)', body)


def test_manual_has_every_drop_reason_and_its_next_step():
    manual = run("help", "--man-drops").stdout
    reasons = drop_reasons()
    assert len(reasons) > 20
    for identifier, word, text in reasons[1:]:
        entry = f".TP\n.B {word}\n" + text.replace("-", "\\-").replace('"', "\\(dq") + ".\nNext: "
        assert entry in manual
        # The advice for reasons that ctl/advice.c does not know:
        assert not manual.split(entry)[1].startswith("ipsecbpf monitor IFNAME shows"), identifier


def test_manual_has_every_warning():
    text = (TREE / "lib" / "policy_risk.h").read_text()
    risks = re.findall(r'X\(\w+, (\d+), "([a-z-]+)"', text)
    assert len(risks) > 10 and len({number for number, _ in risks}) == len(risks)
    manual = run("help", "--man-risks").stdout.replace("\\-", "-")
    for number, word in risks:
        assert f".TP\n.B {word}\n(W{number}) " in manual


def test_manual_has_every_option():
    manual = run("help", "--man-options").stdout.replace("\\-", "-")
    for parameter in options():
        words, option = parameter.values
        assert "--" + option["name"] in manual
        assert ".B ipsecbpf " + " ".join(words) in manual


def complete(*words):
    """What bash offers for the last of `words`."""
    script = ('eval "$("$0" help --bash-completion)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
              '_ipsecbpf; printf "%s\\n" "${COMPREPLY[@]}"')
    result = subprocess.run(["bash", "-c", script, PROGRAM, "ipsecbpf", *words],
                            capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return result.stdout.split()


def test_completion():
    assert complete("att") == ["attach"]
    assert {"list", "sockets", "identify"} <= set(complete("app", ""))
    assert complete("run", "lo", "--ap") == ["--app"]
    assert set(complete("run", "lo", "--app", "x", "--", "trunc")) == {"truncate"}
    assert complete("run", "--app", "x", "--", "cat", str(TREE / "Makef")) == [str(TREE / "Makefile")]
    assert complete("policy", "check", "--", str(TREE / "Makef")) == [str(TREE / "Makefile")]
    assert complete("policy", "") == ["check", "apply", "diff", "show", "test", "confirm",
                                       "import-app"]
    assert complete("policy", "import-app", "x", "--pe") == ["--peer"]
    assert "lo" in complete("status", "")
    assert complete("explain", "lo", "") == ["in", "out"]
    assert complete("explain", "lo", "in", "") == []
    assert complete("attach", "lo", "--xdp", "") == ["native", "generic"]
    assert complete("-j", "attach", "lo", "--sa-") == ["--sa-slots"]
    assert complete("help", "sa", "ge") == ["genkey"]
    assert complete("sa", "genkey", "--proto", "") == ["esp", "ah"]
    assert complete("sa", "export", "x", "--w") == ["--wireshark"]
    assert "sha256" in complete("sa", "genkey", "--suite", "sha")
    assert complete("policy", "check", str(TREE / "Makef")) == [str(TREE / "Makefile")]


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_completion_does_not_run_a_name(tmp_path):
    """Whoever may name an interface has no say in root's shell."""
    names = ["$(>RAN)", "`>RAN`", "a;b"]
    done = subprocess.run(
        ["unshare", "-mn", "bash", "-c",
         'mount -t sysfs none /sys; for n in "${@:2}"; do ip link add "$n" type bridge; done; '
         'eval "$("$1" help --bash-completion)"; COMP_WORDS=(ipsecbpf status "") COMP_CWORD=2; '
         '_ipsecbpf; printf "%s\\n" "${COMPREPLY[@]}"', "sh", PROGRAM, *names],
        cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stderr, list(tmp_path.iterdir())) == ("", [])
    assert sorted(shlex.split(done.stdout)) == sorted(["lo", *names])
    assert len(done.stdout.splitlines()) == 4


# ---- applications -------------------------------------------------------------------------------

def identify(tmp_path, executable, *args):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({
        "version": 1, "bypass_essential": [], "rules": [],
        "defaults": {"in": "discard", "out": "discard", "non_ip": "discard"},
        "applications": [{"name": "it", "match": {"executable": str(executable)},
                          "networks": [{"remote": "any", "class": "trusted"}]}]}))
    return run_json("-j", "app", "identify", "--policy", str(path), *args)


@pytest.mark.parametrize("lines, program", [
    (["#!/bin/sh"], "/bin/sh"), (["#! \t/bin/sh -e"], "/bin/sh"), (["#!{0}", "#!/bin/sh"], "/bin/sh"),
    (["#/bin/sh"], None), ([""], None), (["#!"], 1), (["#!{1}"], 1),
])
def test_scripts_are_their_interpreter(tmp_path, lines, program):
    """Scripts in turn, each the interpreter of the one before; 1: refused."""
    scripts = [tmp_path / f"script{i}" for i in range(len(lines) + 1)]
    for i, line in enumerate(lines):
        scripts[i].write_text(line.format(scripts[i + 1], scripts[0]) + "\n")
    code, told = identify(tmp_path, scripts[0], "--exe", str(scripts[0]))
    if program == 1:
        assert code == 1
    elif program:
        assert (told["application"], told["script"]) == (None, str(scripts[0]))
        assert (told["by"], told["executable"]) == (None, program)
    else:
        assert (told["application"], told["executable"]) == ("it", str(scripts[0]))
        assert "script" not in told


@pytest.mark.parametrize("option, value", [("cgroup", "//a"), ("cgroup", "/../a"), ("exe", "a"),
                                           ("cgroup", "a")])
def test_identify_refuses_bad_paths(tmp_path, option, value):
    assert identify(tmp_path, "/bin/sh", f"--{option}", value)[0] == 2
