// SPDX-License-Identifier: BSD-2-Clause
/*
 * Runs the fixtures that expand.py has made plain: packet in; verdict, whole packet out, mark, counters
 * and drop event expected. Every counter is compared, so that nothing is counted twice or besides.
 *
 * run_fixtures EXPANDED.json   prints each failure, and "N passed, N failed" as its last line
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <jansson.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datapath.h"
#include "lib/protections.h"
#include "lib/stats.h"

struct counters {
	uint64_t drops[DROP_SLOTS], passes[PASS_SLOTS];
};

struct run {
	struct datapath datapath;
	const json_t *group;
	struct ring_buffer *ring;
	struct drop_event event;	/* the last one */
	unsigned int events;
	unsigned int passed, failed;
	bool case_failed;
};

/* A case's complaint: the first one is headed by its name. */
#define complain(run, fixture, ...)						\
	do {									\
		if (!(run)->case_failed)					\
			printf("FAIL %s: %s\n",					\
			       json_string_value(json_object_get((run)->group, "group")),	\
			       json_string_value(json_object_get(fixture, "name")));	\
		(run)->case_failed = true;					\
		printf("     " __VA_ARGS__);					\
		putchar('\n');							\
	} while (0)

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static uint32_t number_of(const json_t *object, const char *key, uint32_t otherwise)
{
	const json_t *value = json_object_get(object, key);

	return value ? (uint32_t)json_integer_value(value) : otherwise;
}

static uint32_t parse_hex(const char *hex, uint8_t *out)
{
	uint32_t len = 0;
	unsigned int octet;

	for (; len < SHOT_MAX && sscanf(hex, "%2x", &octet) == 1; hex += 2)
		out[len++] = (uint8_t)octet;
	return len;
}

/* ---- a group's state ------------------------------------------------------------------------ */

static enum ip_family wire_address(const char *text, union wire_addr *ret_addr)
{
	memset(ret_addr, 0, sizeof(*ret_addr));
	if (inet_pton(AF_INET, text, ret_addr) == 1)
		return FAMILY_V4;
	return inet_pton(AF_INET6, text, ret_addr) == 1 ? FAMILY_V6 : FAMILY_COUNT;
}

static uint16_t sa_flags(const json_t *sa)
{
	uint32_t flags = strcmp(text_of(sa, "direction"), "in") ? SA_F_OUTBOUND : 0;

	flags |= json_is_true(json_object_get(sa, "esn")) ? SA_F_ESN : 0;
	flags |= json_is_true(json_object_get(sa, "any_src")) ? SA_F_ANY_SRC : 0;
	flags |= json_is_true(json_object_get(sa, "nested")) ? SA_F_NESTED : 0;
	return (uint16_t)flags;
}

/* The addresses between which fragments are known, and UDP for which to look. */
static int count_inbound(const struct pins *pins, const struct sad_key *key,
			 const struct sad_entry *entry)
{
	struct sad_peer peer = {
		.src = entry->src, .dst = key->dst, .proto = key->proto, .family = key->family,
	};
	uint32_t count = 0;

	if (entry->flags & (SA_F_OUTBOUND | SA_F_NESTED))
		return 0;
	if (key->encap_port) {
		pins->control->udp_sas++;
		return 0;
	}
	bpf_map_lookup_elem(pins->sad_peers_fd, &peer, &count);
	count++;
	return bpf_map_update_elem(pins->sad_peers_fd, &peer, &count, 0) ? -errno : 0;
}

static int store_sad(const struct pins *pins, const json_t *sa, uint32_t slot, uint32_t protect_id)
{
	struct sad_entry entry = {
		.slot = slot,
		.protect_id = protect_id,
		.flags = sa_flags(sa),
		.sa_gen = (uint8_t)number_of(sa, "gen", 1),
		.replay_window = number_of(sa, "window", 64),
		.encap_src_port = htobe16((uint16_t)number_of(sa, "sport", 0)),
	};
	struct sa_state state = {
		.replay_top = (uint64_t)json_integer_value(json_object_get(sa, "top")),
	};
	struct sad_key key = {
		.spi = htobe32(number_of(sa, "spi", 0)),
		.proto = (uint8_t)number_of(sa, "proto", IPPROTO_ESP),
		.encap_port = htobe16((uint16_t)number_of(sa, "dport", 0)),
	};

	key.family = wire_address(text_of(sa, "dst"), &key.dst);
	if (wire_address(text_of(sa, "src"), &entry.src) != key.family)
		return -EINVAL;
	if (bpf_map_update_elem(pins->sa_state_fd, &slot, &state, 0) ||
	    bpf_map_update_elem(pins->sad_fd, &key, &entry, BPF_NOEXIST))
		return -errno;
	return count_inbound(pins, &key, &entry);
}

/* What lib/sad.c publishes, with slots and generations that the fixture chooses. */
static int store_sa(const struct pins *pins, const json_t *sa)
{
	uint32_t slot = number_of(sa, "slot", 0);
	uint32_t id = json_object_get(sa, "protect_id") ? number_of(sa, "protect_id", 0) :
		      protections_live_id(pins, text_of(sa, "peer"), text_of(sa, "protection"));
	bool inbound = !strcmp(text_of(sa, "direction"), "in");
	struct sa_slot value = {
		.protect_id = id,
		.sa_gen = (uint8_t)number_of(sa, "gen", 1),
		.used = !json_is_false(json_object_get(sa, "used")),
		.inbound = inbound,
	};
	struct out_sa out = { .slot = slot, .sa_gen = value.sa_gen };
	union wire_addr ignored;
	uint32_t key;

	if (!slot || (!id && !json_object_get(sa, "protect_id")))
		return -EINVAL;
	/* An outbound tag may name any slot: the largest show that all its octets are written. */
	if (slot < pins->attachment.sa_slots &&
	    bpf_map_update_elem(pins->sa_slots_fd, &slot, &value, 0))
		return -errno;
	if (inbound)
		return store_sad(pins, sa, slot, id);
	/* Without an SPI, only what tc_egress sees of it. */
	if (json_object_get(sa, "spi") && store_sad(pins, sa, slot, id))
		return -EINVAL;
	key = OUT_SA(id, wire_address(text_of(sa, "dst"), &ignored));
	return bpf_map_update_elem(pins->out_sa_fd, &key, &out, 0) ? -errno : 0;
}

static int apply_policy(struct run *run, const char *name, uint32_t trial_seconds)
{
	const json_t *policy = json_object_get(json_object_get(run->group, "policies"), name);
	char *text = json_dumps(policy, 0);
	struct ipsecbpf_report report = { 0 };
	struct policy *parsed;
	int err = -EINVAL;

	parsed = text ? policy_parse(text, strlen(text), name, &report) : NULL;
	if (parsed)
		err = datapath_apply(&run->datapath, parsed, trial_seconds);
	for (size_t i = 0; !parsed && i < report.count; i++)
		printf("%s: %s\n", report.items[i].object, report.items[i].cause);
	report_fini(&report);
	policy_free(parsed);
	free(text);
	if (err)
		printf("policy \"%s\": %s\n", name, strerror(-err));
	return err;
}

static int set_state(struct run *run, const char *name)
{
	static const char *const names[] = {
		[ATTACH_BLOCKED] = "blocked", [ATTACH_RUNNING] = "running", [ATTACH_GUARD] = "guard",
		[ATTACH_CLOSED] = "closed",
	};

	for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name)) {
			run->datapath.pins.control->state = i;
			return 0;
		}
	return -EINVAL;
}

static int store_own_address(const struct pins *pins, const char *text)
{
	struct own_address own = { 0 };
	uint8_t value = 1;

	own.family = wire_address(text, &own.addr);
	return bpf_map_update_elem(pins->own_addresses_fd, &own, &value, 0) ? -errno : 0;
}

static int on_event(void *context, void *data, size_t size)
{
	struct run *run = context;

	if (size >= sizeof(run->event))
		memcpy(&run->event, data, sizeof(run->event));
	run->events++;
	return 0;
}

static int open_group(struct run *run)
{
	const struct datapath_opts opts = {
		.generic = json_is_true(json_object_get(run->group, "generic")),
		.explaining = json_is_true(json_object_get(run->group, "explaining")),
		.mark_value = number_of(run->group, "mark_value", IPSECBPF_MARK_VALUE),
		.mark_mask = number_of(run->group, "mark_mask", IPSECBPF_MARK_MASK),
	};
	const json_t *sa, *own;
	size_t i;
	int err = datapath_open(&run->datapath, &opts);

	if (err)
		return err;
	run->ring = ring_buffer__new(run->datapath.pins.events_fd, on_event, run, NULL);
	if (!run->ring)
		err = -errno;
	if (!err && text_of(run->group, "policy"))
		err = apply_policy(run, text_of(run->group, "policy"), 0);
	json_array_foreach(json_object_get(run->group, "sas"), i, sa)
		if (!err)
			err = store_sa(&run->datapath.pins, sa);
	json_array_foreach(json_object_get(run->group, "own_addresses"), i, own)
		if (!err)
			err = store_own_address(&run->datapath.pins, json_string_value(own));
	return err;
}

/* ---- one case -------------------------------------------------------------------------------- */

/* The placeholder address in a packet becomes this attachment's secret one. */
static void insert_secret(const struct run *run, uint8_t *packet, uint32_t len)
{
	static const uint8_t placeholder[6] = { 0xde, 0xad, 0xbe, 0xef, 0, 1 };

	if (len >= 12 && !memcmp(packet, placeholder, 6))
		datapath_secret(&run->datapath, packet);
}

static int read_counters(const struct run *run, struct counters *ret_counters)
{
	struct ipsecbpf_stats stats;
	int err = stats_read(&run->datapath.pins, &stats);

	if (err)
		return err;
	memcpy(ret_counters->drops, stats.drops, sizeof(ret_counters->drops));
	memcpy(ret_counters->passes, stats.passes, sizeof(ret_counters->passes));
	return 0;
}

static void check_counters(struct run *run, const json_t *fixture, const struct counters *before)
{
	const char *reason = text_of(fixture, "reason"), *counter = text_of(fixture, "counter");
	struct counters after;
	bool known = !reason && !counter;

	if (read_counters(run, &after))
		complain(run, fixture, "counters cannot be read");
	for (int i = 0; i < DROP_REASON_COUNT; i++) {
		const char *name = drop_reason_name((enum drop_reason)i);
		uint64_t expected = reason && !strcmp(name, reason);

		known |= expected;
		if (after.drops[i] - before->drops[i] != expected)
			complain(run, fixture, "drops.%s rose by %llu, expected %llu", name,
				 (unsigned long long)(after.drops[i] - before->drops[i]),
				 (unsigned long long)expected);
	}
	for (int i = 0; i < PASS_COUNTER_COUNT; i++) {
		const char *name = pass_counter_name((enum pass_counter)i);
		uint64_t expected = counter && !strcmp(name, counter);

		known |= expected;
		if (after.passes[i] - before->passes[i] != expected)
			complain(run, fixture, "passes.%s rose by %llu, expected %llu", name,
				 (unsigned long long)(after.passes[i] - before->passes[i]),
				 (unsigned long long)expected);
	}
	if (!known)
		complain(run, fixture, "no counter is called \"%s\"", reason ? reason : counter);
}

static void check_event(struct run *run, const json_t *fixture, const struct shot *shot,
			enum hook hook)
{
	const char *reason = text_of(fixture, "reason");
	const struct drop_event *event = &run->event;
	uint32_t rule = number_of(fixture, "rule", SPD_RULE_DEFAULT);

	ring_buffer__consume(run->ring);
	if (run->events != (reason ? 1u : 0u)) {
		complain(run, fixture, "%u events, expected %u", run->events, reason ? 1u : 0u);
		return;
	}
	if (!reason)
		return;
	if (strcmp(drop_reason_name((enum drop_reason)event->reason), reason))
		complain(run, fixture, "event says %s",
			 drop_reason_name((enum drop_reason)event->reason));
	if (event->rule != rule)
		complain(run, fixture, "event names rule %d, expected %d", (int)event->rule,
			 (int)rule);
	if (event->len != shot->len || event->direction != (hook == HOOK_tc_egress))
		complain(run, fixture, "event has length %u and direction %u", event->len,
			 event->direction);
	if (json_object_get(fixture, "spi") && be32toh(event->spi) != number_of(fixture, "spi", 0))
		complain(run, fixture, "event names SPI 0x%08x", be32toh(event->spi));
}

static uint32_t verdict_number(enum hook hook, const char *word)
{
	static const struct {
		const char *word;
		uint32_t xdp, tc;
	} verdicts[] = {
		{ "pass", XDP_PASS, (uint32_t)TC_ACT_UNSPEC },
		{ "drop", XDP_DROP, TC_ACT_SHOT },
		{ "redirect", XDP_REDIRECT, TC_ACT_REDIRECT },
	};

	for (size_t i = 0; word && i < sizeof(verdicts) / sizeof(verdicts[0]); i++)
		if (!strcmp(verdicts[i].word, word))
			return hook == HOOK_xdp_ingress ? verdicts[i].xdp : verdicts[i].tc;
	return 99;
}

static void print_packet(const char *what, const uint8_t *data, uint32_t len)
{
	printf("     %-8s ", what);
	for (uint32_t i = 0; i < len; i++)
		printf("%02x", data[i]);
	putchar('\n');
}

static void check_packet(struct run *run, const json_t *fixture, const struct shot *shot)
{
	uint8_t expected[SHOT_MAX];
	uint32_t len = shot->len;

	if (text_of(fixture, "out"))
		len = parse_hex(text_of(fixture, "out"), expected);
	else
		memcpy(expected, shot->data, len);
	insert_secret(run, expected, len);
	if (len == shot->out_len && !memcmp(expected, shot->out, len))
		return;
	complain(run, fixture, "packet out differs");
	print_packet("expected", expected, len);
	print_packet("got", shot->out, shot->out_len);
}

/* What the hook has read in the packet, of a group that is "explaining". */
static void check_reading(struct run *run, const json_t *fixture)
{
	struct packet_verdict note;

	if (datapath_note(&run->datapath, &note))
		complain(run, fixture, "cannot read what was noted");
	else if (note.vlan != number_of(fixture, "vlan", note.vlan) ||
		 note.dscp != number_of(fixture, "dscp", note.dscp))
		complain(run, fixture, "read VLAN %u, DSCP %u", note.vlan, note.dscp);
}

static enum hook hook_of(const json_t *fixture)
{
	const char *name = text_of(fixture, "hook");

	return !strcmp(name, "xdp") ? HOOK_xdp_ingress :
	       !strcmp(name, "egress") ? HOOK_tc_egress : HOOK_tc_host_port;
}

/* Changes that a case makes first; they stay for the cases after it. */
static int prepare(struct run *run, const json_t *fixture)
{
	int err = 0;

	if (text_of(fixture, "apply"))
		err = apply_policy(run, text_of(fixture, "apply"),
				   (uint32_t)number_of(fixture, "trial", 0));
	if (!err && json_object_get(fixture, "active"))
		run->datapath.pins.control->active =
			(uint64_t)json_integer_value(json_object_get(fixture, "active"));
	if (!err && json_object_get(fixture, "udp_sas"))
		run->datapath.pins.control->udp_sas = number_of(fixture, "udp_sas", 0);
	if (!err && text_of(fixture, "state"))
		err = set_state(run, text_of(fixture, "state"));
	if (!err)
		err = datapath_listen(&run->datapath,
				      !json_is_false(json_object_get(fixture, "socket")));
	/* Events are rationed: none for those who do not look. */
	run->datapath.pins.control->events_until =
		json_is_true(json_object_get(fixture, "watch")) ? UINT64_MAX : 0;
	ring_buffer__consume(run->ring);
	run->events = 0;
	return err;
}

static void run_case(struct run *run, const json_t *fixture)
{
	enum hook hook = hook_of(fixture);
	uint32_t mark = number_of(fixture, "mark", 0);
	struct counters before;
	uint8_t in[SHOT_MAX];
	struct shot shot = {
		.data = in,
		.len = parse_hex(text_of(fixture, "in"), in),
		.mark = mark,
		.ingress_ifindex = number_of(fixture, "ingress_ifindex", 0),
	};
	int err;

	run->case_failed = false;
	insert_secret(run, in, shot.len);
	err = prepare(run, fixture);
	if (!err)
		err = read_counters(run, &before);
	if (!err)
		err = datapath_shoot(&run->datapath, hook, &shot);
	if (err) {
		complain(run, fixture, "cannot run: %s", strerror(-err));
	} else {
		if (shot.verdict != verdict_number(hook, text_of(fixture, "verdict")))
			complain(run, fixture, "verdict %d, expected %s", (int)shot.verdict,
				 text_of(fixture, "verdict"));
		if (shot.mark_after != number_of(fixture, "mark_after", mark))
			complain(run, fixture, "mark 0x%08x, expected 0x%08x", shot.mark_after,
				 number_of(fixture, "mark_after", mark));
		check_packet(run, fixture, &shot);
		check_counters(run, fixture, &before);
		if (json_is_true(json_object_get(fixture, "watch")))
			check_event(run, fixture, &shot, hook);
		check_reading(run, fixture);
	}
	run->passed += !run->case_failed;
	run->failed += run->case_failed;
}

static void run_group(struct run *run)
{
	const json_t *cases = json_object_get(run->group, "cases"), *fixture;
	size_t i;
	int err = open_group(run);

	if (err) {
		printf("FAIL %s: cannot prepare: %s\n", text_of(run->group, "group"),
		       strerror(-err));
		run->failed += (unsigned int)json_array_size(cases);
	} else {
		json_array_foreach(cases, i, fixture)
			run_case(run, fixture);
	}
	ring_buffer__free(run->ring);
	run->ring = NULL;
	if (run->datapath.loader.object)
		datapath_close(&run->datapath);
}

int main(int argc, char **argv)
{
	struct run run = { 0 };
	json_error_t error;
	json_t *groups;
	size_t i;
	int err;

	if (argc != 2) {
		fprintf(stderr, "usage: run_fixtures EXPANDED.json\n");
		return 2;
	}
	groups = json_load_file(argv[1], 0, &error);
	if (!groups) {
		fprintf(stderr, "%s:%d: %s\n", argv[1], error.line, error.text);
		return 1;
	}
	err = datapath_isolate();
	if (err) {
		fprintf(stderr, "cannot make a network namespace: %s\n", strerror(-err));
		json_decref(groups);
		return 1;
	}
	json_array_foreach(groups, i, run.group)
		run_group(&run);
	json_decref(groups);
	printf("%u passed, %u failed\n", run.passed, run.failed);
	return run.failed || !run.passed;
}
