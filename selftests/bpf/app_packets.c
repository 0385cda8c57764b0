// SPDX-License-Identifier: BSD-2-Clause
/*
 * Single packets and applications: whose a packet is by what was noted of sockets, whose rules decide it,
 * and when clear text passes under an optional protection.
 *
 * Prints what is wrong, and as its last line "N passed, N failed".
 */
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "app_testing.h"

#define LOCAL	  0x0a090001u
#define REMOTE	  0x0a090002u
#define OPTIONAL  0x0a090003u	/* who may be spoken to in the clear */
#define MANDATORY 0x0a090004u
#define STRANGER  0x0a090005u
#define GROUP	  0xe0000001u
#define RATE 3			/* of application 1 */
#define MANY 500
#define ECHO 0x0800	/* type and code */

enum { SERVED_ID = 5, OPTIONAL_ID, MANDATORY_ID, INNER_ID };
enum place {
	RULE_HOST, RULE_FIRST_80, RULE_FIRST_ASK, RULE_FIRST_NEVER, RULE_SECOND, RULE_OPTIONAL,
	RULE_MANDATORY, RULE_FIRST_INNER, RULE_FIRST_ECHO,
};

static const struct app_rule rules[] = {
	[RULE_HOST] = { .remote = REMOTE, .action = SPD_BYPASS },
	[RULE_FIRST_80] = { .app = FIRST, .local_port = 80, .action = SPD_DISCARD },
	[RULE_FIRST_ASK] = { .app = FIRST, .remote_port = 443, .action = SPD_PROTECT,
			     .protect_id = SERVED_ID, .level = LEVEL_OPTIONAL },
	[RULE_FIRST_NEVER] = { .app = FIRST, .remote_port = 444, .action = SPD_PROTECT,
			       .level = LEVEL_OPTIONAL },
	[RULE_SECOND] = { .app = SECOND, .action = SPD_BYPASS },
	[RULE_OPTIONAL] = { .remote = OPTIONAL, .action = SPD_PROTECT, .protect_id = OPTIONAL_ID,
			    .level = LEVEL_OPTIONAL },
	[RULE_MANDATORY] = { .remote = MANDATORY, .action = SPD_PROTECT,
			     .protect_id = MANDATORY_ID },
	[RULE_FIRST_INNER] = { .app = FIRST, .local_port = 90, .action = SPD_PROTECT,
			       .protect_id = INNER_ID },
	[RULE_FIRST_ECHO] = { .app = FIRST, .local_port = ECHO >> 8, .action = SPD_DISCARD },
};

/* ---- packets, and what becomes of them ------------------------------------------------------- */

static struct app_packet from(uint32_t remote, uint8_t proto, uint16_t remote_port,
			      uint16_t local_port)
{
	return (struct app_packet){
		.proto = proto, .src = remote, .dst = LOCAL, .src_port = remote_port,
		.dst_port = local_port,
	};
}

static struct app_packet to(uint32_t remote, uint8_t proto, uint16_t local_port,
			    uint16_t remote_port)
{
	return (struct app_packet){
		.proto = proto, .src = LOCAL, .dst = remote, .src_port = local_port,
		.dst_port = remote_port,
	};
}

static struct app_change shoot(struct test *test, enum hook hook, struct app_packet packet)
{
	struct app_change change = { -2, -2, -2, -2 };
	uint32_t verdict;

	if (app_world_shoot(&test->world, hook, &packet, &verdict, &change))
		check(test, false, "a packet could not be sent");
	return change;
}

static void decided(struct test *test, enum hook hook, struct app_packet packet, int rule,
		    const char *what)
{
	struct app_change change = shoot(test, hook, packet);
	char text[160];

	snprintf(text, sizeof(text), "%s: rule %d decided, expected %d (drop reason %d)", what,
		 change.rule, rule, change.dropped);
	check(test, change.rule == rule, text);
}

static void passes(struct test *test, enum hook hook, struct app_packet packet, int app,
		   const char *what)
{
	struct app_change change = shoot(test, hook, packet);
	int counter = hook == HOOK_tc_egress ? PASS_OUT_OPTIONAL : PASS_IN_OPTIONAL;
	char text[160];

	snprintf(text, sizeof(text), "%s: counted for application %d, expected %d; counter %d, drop "
		 "reason %d", what, change.optional, app, change.passed, change.dropped);
	check(test, change.optional == app && change.passed == counter && change.dropped < 0, text);
}

static void drops(struct test *test, enum hook hook, struct app_packet packet,
		  enum drop_reason reason, const char *what)
{
	struct app_change change = shoot(test, hook, packet);
	char text[160];

	snprintf(text, sizeof(text), "%s: drop reason %d, expected %d", what, change.dropped,
		 (int)reason);
	check(test, change.dropped == (int)reason && change.optional < 0, text);
}

/* ---- what was noted -------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void note_flow(struct test *test, int fd, struct app_flow_key key, uint32_t app,
		      uint64_t until_ns)
{
	const struct app_flow flow = { .who = { .uid = app }, .until_ns = until_ns };

	check(test, !bpf_map_update_elem(fd, &key, &flow, 0), "a connection cannot be noted");
}

static void forget(int fd)
{
	uint8_t key[64];

	while (!bpf_map_get_next_key(fd, NULL, key))
		bpf_map_delete_elem(fd, key);
}

static void forget_all(struct test *test)
{
	forget(test->pins->app_flows_fd);
	forget(test->pins->app_closed_fd);
	forget(test->pins->app_exchanges_fd);
	forget(test->pins->app_endpoints_fd);
}

/* ---- whose packet ---------------------------------------------------------------------------- */

static void test_flows(struct test *test)
{
	int flows = test->pins->app_flows_fd;
	struct app_packet packet = from(REMOTE, IPPROTO_TCP, 4000, 80);

	test->topic = "flows";
	decided(test, HOOK_xdp_ingress, packet, RULE_HOST, "nobody's connection");
	note_flow(test, flows, app_key_of_flow(IPPROTO_TCP, LOCAL, 80, REMOTE, 4000), FIRST, 0);
	decided(test, HOOK_xdp_ingress, packet, RULE_FIRST_80, "the application's own rule");
	decided(test, HOOK_xdp_ingress, packet, RULE_FIRST_80, "the same once more");
	decided(test, HOOK_tc_egress, to(REMOTE, IPPROTO_TCP, 80, 4000), RULE_FIRST_80, "outbound");
	decided(test, HOOK_xdp_ingress, from(REMOTE, IPPROTO_TCP, 4001, 80), RULE_HOST,
		"another connection to that port");
	packet.proto = IPPROTO_UDP;
	decided(test, HOOK_xdp_ingress, packet, RULE_HOST, "UDP between the same ports");
	note_flow(test, flows, app_key_of_flow(IPPROTO_TCP, LOCAL, 81, REMOTE, 4000), FIRST, 0);
	decided(test, HOOK_xdp_ingress, from(REMOTE, IPPROTO_TCP, 4000, 81), RULE_HOST,
		"what no rule of the application's matches is the host's");
	note_flow(test, flows, app_key_of_flow(IPPROTO_TCP, LOCAL, 80, STRANGER, 4000), FIRST, 0);
	decided(test, HOOK_xdp_ingress, from(STRANGER, IPPROTO_TCP, 4000, 82), APP_DEFAULT(SPD_IN),
		"and if none of the host's does, the default's");
	forget_all(test);
}

/* The same packet is one application's, then another's, remembered each time. */
static void test_exclusive(struct test *test)
{
	int flows = test->pins->app_flows_fd;
	struct app_flow_key key = app_key_of_flow(IPPROTO_TCP, LOCAL, 80, REMOTE, 4000);
	struct app_packet packet = from(REMOTE, IPPROTO_TCP, 4000, 80);

	test->topic = "exclusive";
	for (int i = 0; i < 3; i++) {
		note_flow(test, flows, key, FIRST, 0);
		decided(test, HOOK_xdp_ingress, packet, RULE_FIRST_80, "of the first application");
		note_flow(test, flows, key, SECOND, 0);
		decided(test, HOOK_xdp_ingress, packet, RULE_SECOND, "of the second");
		forget_all(test);
		decided(test, HOOK_xdp_ingress, packet, RULE_HOST, "of none");
	}
}

static void test_closed(struct test *test)
{
	int closed = test->pins->app_closed_fd;
	int exchanges = test->pins->app_exchanges_fd;
	struct app_flow_key key = app_key_of_flow(IPPROTO_TCP, LOCAL, 80, REMOTE, 4000);
	struct app_packet packet = from(REMOTE, IPPROTO_TCP, 4000, 80);

	test->topic = "closed";
	note_flow(test, closed, key, FIRST, now_ns() + APP_CLOSED_NS);
	decided(test, HOOK_xdp_ingress, packet, RULE_FIRST_80, "closed just now");
	note_flow(test, closed, key, FIRST, now_ns() - 1);
	decided(test, HOOK_xdp_ingress, packet, RULE_HOST, "closed long ago");
	note_flow(test, closed, key, FIRST, now_ns() + APP_CLOSED_NS);
	note_flow(test, test->pins->app_flows_fd, key, SECOND, 0);
	decided(test, HOOK_xdp_ingress, packet, RULE_SECOND, "and opened anew by another");
	forget_all(test);
	key = app_key_of_flow(IPPROTO_ICMP, LOCAL, 77, REMOTE, 0);
	note_flow(test, exchanges, key, FIRST, now_ns() + APP_CLOSED_NS);
	decided(test, HOOK_xdp_ingress, from(REMOTE, IPPROTO_ICMP, ECHO, 77), RULE_FIRST_ECHO,
		"an echo with its identifier");
	decided(test, HOOK_xdp_ingress, from(REMOTE, IPPROTO_ICMP, ECHO, 78), RULE_HOST,
		"with another");
	forget_all(test);
}

static void test_endpoints(struct test *test)
{
	struct app_packet packet = from(REMOTE, IPPROTO_UDP, 4000, 80), v6 = packet;
	struct app_endpoint_key any = app_key_of_endpoint(IPPROTO_UDP, 0, 80);

	test->topic = "endpoints";
	note_endpoint(test, any, FIRST);
	decided(test, HOOK_xdp_ingress, packet, RULE_FIRST_80, "any address");
	decided(test, HOOK_tc_egress, to(REMOTE, IPPROTO_UDP, 80, 4000), RULE_FIRST_80,
		"any address, outbound");
	v6.v6 = true;
	decided(test, HOOK_xdp_ingress, v6, RULE_HOST, "IPv6 is another");
	note_endpoint(test, app_key_of_endpoint(IPPROTO_UDP, LOCAL, 80), SECOND);
	decided(test, HOOK_xdp_ingress, packet, RULE_SECOND, "one address before any");
	packet.dst = STRANGER;
	decided(test, HOOK_xdp_ingress, packet, RULE_HOST, "to be forwarded: for no socket here");
	packet.dst = GROUP;
	decided(test, HOOK_xdp_ingress, packet, RULE_FIRST_80, "to a group");
	packet = from(REMOTE, IPPROTO_UDP, 4000, 80);
	packet.fragment = 2;
	decided(test, HOOK_xdp_ingress, packet, RULE_HOST, "a fragment without ports");
	packet = to(REMOTE, IPPROTO_UDP, 80, 4000);
	packet.ingress_ifindex = 1;
	decided(test, HOOK_tc_egress, packet, APP_DEFAULT(SPD_OUT), "forwarded from such an address");
	note_endpoint(test, app_key_of_endpoint(IPPROTO_TCP, LOCAL, 80), FIRST);
	note_flow(test, test->pins->app_flows_fd, app_key_of_flow(IPPROTO_TCP, LOCAL, 80, REMOTE, 4000),
		  SECOND, 0);
	decided(test, HOOK_xdp_ingress, from(REMOTE, IPPROTO_TCP, 4000, 80), RULE_SECOND,
		"a connection before its listener");
	decided(test, HOOK_xdp_ingress, from(REMOTE, IPPROTO_TCP, 4001, 80), RULE_FIRST_80,
		"the listener");
	forget_all(test);
}

static void lets_in(struct test *test, struct app_packet packet, const char *what)
{
	struct app_change change = shoot(test, HOOK_xdp_ingress, packet);
	char text[160];

	snprintf(text, sizeof(text), "%s: drop reason %d", what, change.dropped);
	check(test, change.passed == PASS_IN_BYPASS, text);
}

/* What came out of an SA for port 90; `fragment`: the first of a packet that app_packet's follow. */
static void take_out(struct test *test, bool fragment, int verdict, const char *what)
{
	uint8_t data[64] = { HOST_TAG_SA, 1, 0, 0, 0, 3, 2, 0, 0, 0, 0, 1, 8, 0,
			     0x45, 0, 0, 50, 0, fragment ? 7 : 0, fragment ? 0x20 : 0, 0,
			     64, IPPROTO_UDP, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1,
			     0x0f, 0xa0, 0, 90, 0, 30 };
	struct shot shot = { .data = data, .len = sizeof(data) };

	check(test, !datapath_shoot(&test->world.datapath, HOOK_tc_host_port, &shot) &&
	      (int)shot.verdict == verdict, what);
}

static void put_inner_sa(struct test *test)
{
	const struct sa_slot slot = { .protect_id = INNER_ID, .sa_gen = 1, .used = 1, .inbound = 1 };
	uint32_t key = 3;

	check(test, !bpf_map_update_elem(test->pins->sa_slots_fd, &key, &slot, 0), "no SA");
}

/* The host's rules let them in; but whose they are only their first shows. */
static void test_fragments(struct test *test)
{
	struct app_packet first = from(REMOTE, IPPROTO_UDP, 4000, 5);
	struct app_packet later = first, applications = from(REMOTE, IPPROTO_UDP, 4000, 80);

	test->topic = "fragments";
	first.fragment = applications.fragment = 1;
	later.fragment = 2;
	drops(test, HOOK_xdp_ingress, later, DROP_CLEAR_TEXT, "a later one without a first");
	note_endpoint(test, app_key_of_endpoint(IPPROTO_UDP, LOCAL, 80), FIRST);
	drops(test, HOOK_xdp_ingress, applications, DROP_POLICY_DISCARD, "an application's first");
	drops(test, HOOK_xdp_ingress, later, DROP_CLEAR_TEXT, "what follows it");
	lets_in(test, first, "the host's first");
	lets_in(test, later, "what follows it");
	lets_in(test, later, "all that follows it");
	later.src_port = later.dst_port = 0xffff;
	lets_in(test, later, "ports are not read");
	later.proto = IPPROTO_TCP;
	drops(test, HOOK_xdp_ingress, later, DROP_CLEAR_TEXT, "another protocol's");
	later.proto = IPPROTO_UDP;
	put_inner_sa(test);
	note_endpoint(test, app_key_of_endpoint(IPPROTO_UDP, LOCAL, 90), FIRST);
	take_out(test, true, TC_ACT_REDIRECT, "a first out of an SA");
	drops(test, HOOK_xdp_ingress, later, DROP_CLEAR_TEXT, "one in the clear among an SA's");
	app_world_put(&test->world, test->policy);
	drops(test, HOOK_xdp_ingress, later, DROP_CLEAR_TEXT, "by another policy than its first");
	forget_all(test);
}

/* What came out of an SA is whose it is, too: only then does policy expect it. */
static void test_inner(struct test *test)
{
	test->topic = "inner";
	put_inner_sa(test);
	take_out(test, false, TC_ACT_SHOT, "an SA of the application's serves the host");
	note_endpoint(test, app_key_of_endpoint(IPPROTO_UDP, LOCAL, 90), FIRST);
	take_out(test, false, TC_ACT_REDIRECT, "an SA of the application's does not serve it");
	forget_all(test);
}

/* ---- optional -------------------------------------------------------------------------------- */

static void set(struct test *test, int fd, uint32_t key, uint32_t value)
{
	check(test, !bpf_map_update_elem(fd, &key, &value, 0), "a map cannot be written");
}

static void test_optional_in(struct test *test)
{
	struct app_packet packet = from(OPTIONAL, IPPROTO_UDP, 4000, 1), other = packet;
	const struct pins *pins = test->pins;

	test->topic = "optional, inbound";
	passes(test, HOOK_xdp_ingress, packet, 0, "no SA ever");
	drops(test, HOOK_xdp_ingress, from(MANDATORY, IPPROTO_UDP, 4000, 1), DROP_CLEAR_TEXT,
	      "mandatory");
	other.dst = GROUP;
	drops(test, HOOK_xdp_ingress, other, DROP_CLEAR_TEXT, "to a group");
	other.dst = STRANGER;
	drops(test, HOOK_xdp_ingress, other, DROP_CLEAR_TEXT, "to be forwarded");
	set(test, pins->had_sa_fd, OPTIONAL_ID, 1);
	drops(test, HOOK_xdp_ingress, packet, DROP_CLEAR_TEXT, "an SA has served it");
	set(test, pins->had_sa_fd, OPTIONAL_ID, 0);
	pins->control->state = ATTACH_GUARD;
	drops(test, HOOK_xdp_ingress, packet, DROP_CLEAR_TEXT, "detached");
	pins->control->state = ATTACH_RUNNING;
	note_endpoint(test, app_key_of_endpoint(IPPROTO_UDP, 0, 1), FIRST);
	passes(test, HOOK_xdp_ingress, from(STRANGER, IPPROTO_UDP, 443, 1), FIRST,
	       "of an application");
	forget_all(test);
}

static void test_optional_out(struct test *test)
{
	struct app_packet packet = to(OPTIONAL, IPPROTO_UDP, 1, 4000), other = packet;
	const struct pins *pins = test->pins;
	struct out_sa sa = { .slot = 3, .sa_gen = 1 };
	uint32_t key = OUT_SA(OPTIONAL_ID, FAMILY_V4);
	struct app_change change;

	test->topic = "optional, outbound";
	passes(test, HOOK_tc_egress, packet, 0, "no SA ever");
	drops(test, HOOK_tc_egress, to(MANDATORY, IPPROTO_UDP, 1, 4000), DROP_NO_SA_OUT, "mandatory");
	other.group_frame = true;
	drops(test, HOOK_tc_egress, other, DROP_NO_SA_OUT, "in a frame to a group");
	note_endpoint(test, app_key_of_endpoint(IPPROTO_UDP, 0, 1), FIRST);
	passes(test, HOOK_tc_egress, to(STRANGER, IPPROTO_UDP, 1, 444), FIRST, "a peer without SAs");
	drops(test, HOOK_tc_egress, to(GROUP, IPPROTO_UDP, 1, 444), DROP_NO_SA_OUT, "to a group");
	drops(test, HOOK_tc_egress, to(0xffffffff, IPPROTO_UDP, 1, 444), DROP_NO_SA_OUT, "to all");
	forget_all(test);
	pins->control->state = ATTACH_GUARD;
	drops(test, HOOK_tc_egress, packet, DROP_GUARD, "detached");
	pins->control->state = ATTACH_RUNNING;
	set(test, pins->had_sa_fd, OPTIONAL_ID, 1);
	drops(test, HOOK_tc_egress, packet, DROP_NO_SA_OUT, "an SA has served it");
	check(test, !bpf_map_update_elem(pins->out_sa_fd, &key, &sa, 0), "no SA");
	change = shoot(test, HOOK_tc_egress, packet);
	check(test, change.passed == PASS_OUT_PROTECT && change.optional < 0, "one serves it");
	sa.slot = 0;
	check(test, !bpf_map_update_elem(pins->out_sa_fd, &key, &sa, 0), "no SA");
	set(test, pins->had_sa_fd, OPTIONAL_ID, 0);
}

/* Many at once: in one slice of time, or in two. */
static void test_rate(struct test *test)
{
	uint8_t data[64] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,
			     0x45, 0, 0, 50, 0, 0, 0, 0, 64, IPPROTO_UDP, 0, 0, 10, 9, 0, 5,
			     10, 9, 0, 1, 1, 0xbb, 0, 1, 0, 30 };
	struct shot shot = { .data = data, .len = sizeof(data), .repeat = MANY };
	struct app_counters before, after;
	uint64_t passed, dropped;
	char text[100];

	test->topic = "rate";
	note_endpoint(test, app_key_of_endpoint(IPPROTO_UDP, 0, 1), FIRST);
	app_world_count(&test->world, &before);
	check(test, !datapath_shoot(&test->world.datapath, HOOK_xdp_ingress, &shot), "packets");
	app_world_count(&test->world, &after);
	passed = after.passes[PASS_IN_OPTIONAL] - before.passes[PASS_IN_OPTIONAL];
	dropped = after.drops[DROP_OPTIONAL_RATE] - before.drops[DROP_OPTIONAL_RATE];
	snprintf(text, sizeof(text), "%llu of %d passed, %llu dropped", (unsigned long long)passed,
		 MANY, (unsigned long long)dropped);
	check(test, passed && passed <= 2 * RATE && passed + dropped == MANY, text);
	passes(test, HOOK_xdp_ingress, from(OPTIONAL, IPPROTO_UDP, 4000, 2), 0,
	       "another's budget is its own");
	forget_all(test);
}

/* ---- explaining ------------------------------------------------------------------------------ */

static void explained(struct test *test, struct app_world *oracle, uint32_t ask, uint32_t app,
		      const char *what)
{
	int fd = bpf_map__fd(oracle->datapath.loader.object->maps.verdicts);
	struct packet_verdict note = { .app = ask };
	struct app_packet packet = from(REMOTE, IPPROTO_UDP, 443, 1);
	struct app_change change;
	uint32_t zero = 0, verdict;
	char text[160];
	int err;

	err = bpf_map_update_elem(fd, &zero, &note, 0);
	if (!err)
		err = app_world_shoot(oracle, HOOK_xdp_ingress, &packet, &verdict, &change);
	if (!err)
		err = datapath_note(&oracle->datapath, &note);
	snprintf(text, sizeof(text), "%s: application %u, expected %u; rule %d, level %u, error %d",
		 what, note.app, app, (int)note.rule, note.level, err);
	check(test, !err && note.app == app && note.asked &&
	      note.rule == (app == FIRST ? RULE_FIRST_ASK : app ? RULE_SECOND : RULE_HOST) &&
	      note.level == (app == FIRST ? LEVEL_OPTIONAL : LEVEL_MANDATORY), text);
}

static void test_explain(struct test *test)
{
	const struct datapath_opts opts = {
		.explaining = true, .live = &test->world.datapath.pins,
	};
	struct app_world oracle;

	test->topic = "explain";
	if (app_world_open(&oracle, &opts)) {
		check(test, false, "the private instance");
		return;
	}
	oracle.counts[0] = test->world.counts[test->world.generation];
	note_endpoint(test, app_key_of_endpoint(IPPROTO_UDP, 0, 1), SECOND);
	explained(test, &oracle, 0, 0, "of the host");
	explained(test, &oracle, FIRST, FIRST, "of an application");
	explained(test, &oracle, APP_ASK_MAPS, SECOND, "whose the live maps say");
	oracle.counts[0] = (struct inner_map){ 0 };
	app_world_close(&oracle);
	forget_all(test);
}

int main(void)
{
	const struct app_policy policy = {
		.rules = rules, .rule_count = sizeof(rules) / sizeof(rules[0]),
		.patterns = patterns, .pattern_count = sizeof(patterns) / sizeof(patterns[0]),
		.apps = 2, .optional_rate = { MANY, RATE }, .flows_max = { 0, 2, 2 }, .spread = true,
	};
	const struct own_address own = { .addr = app_wire(LOCAL, false), .family = FAMILY_V4 };
	struct test test = { .policy = &policy };
	uint8_t one = 1;

	if (!test_begin(&test) || bpf_map_update_elem(test.pins->own_addresses_fd, &own, &one, 0))
		return 1;
	test_flows(&test);
	test_exclusive(&test);
	test_closed(&test);
	test_endpoints(&test);
	test_fragments(&test);
	test_inner(&test);
	test_optional_in(&test);
	test_optional_out(&test);
	test_rate(&test);
	test_explain(&test);
	return test_end(&test);
}
