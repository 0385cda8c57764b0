// SPDX-License-Identifier: BSD-2-Clause
/*
 * Policies replace one another by the thousand while packets flow (DESIGN rule: a load is all or
 * nothing, a packet sees one generation). Two processes shoot packets all the time:
 *
 * explain: one by one, at programs that note what they did. The serial of the policy that judged a
 *          packet tells what that policy says of it: rule, action, protect id, reason. And it is a
 *          policy that was in force while the packet was on its way.
 * flood:   at the programs as they are attached, flow cache and all. In the end each packet was
 *          decided as its stream is to be, and counted once, by the rule of its stream, through all
 *          policies.
 *
 *	reload_under_load [RELOADS [SECONDS]]
 *
 * does RELOADS (10000), or as many as there is time for, but never fewer than 1000. Prints what is
 * wrong, what was done, and as its last line "N passed, N failed".
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datapath.h"
#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/policy_store.h"
#include "lib/policy_trial.h"
#include "lib/rule_stats.h"
#include "lib/stats.h"
#include "numbered_policy.h"

#define RELOADS	      10000
#define RELOADS_LEAST 1000
#define TRIAL_EVERY   8		/* one of so many is tried first, then confirmed */
#define TRIAL_SECONDS 86400
#define FAULTS_SHOWN  5
#define UPPER_LEN     8
#define FRAGMENT_LEN  8
#define NS_PER_S      1000000000ull

/* ---- packets ------------------------------------------------------------------------------- */

enum shape {
	SHAPE_SAME,	/* the flow is the same each time: found in the flow cache */
	SHAPE_NEW,	/* another flow each time */
	SHAPE_LATER,	/* a later fragment, whose first never comes */
	SHAPE_FIRST,
	SHAPE_FOLLOWS,	/* the later fragment of that first */
	SHAPE_COUNT
};

struct frame {
	uint8_t data[ETH_HLEN + sizeof(struct ip6_hdr) + FRAGMENT_LEN + UPPER_LEN];
	uint32_t len;
};

struct packet {
	enum hook hook;
	enum ip_family family;
	enum stream stream;
	enum shape shape;
	uint32_t number;	/* of what changes from one to the next */
};

static uint16_t fragment_offset(const struct packet *packet)
{
	return packet->shape == SHAPE_LATER || packet->shape == SHAPE_FOLLOWS ? UPPER_LEN / 8 : 0;
}

static bool is_fragment(const struct packet *packet)
{
	return packet->shape >= SHAPE_LATER;
}

static uint8_t *write_ipv4(const struct packet *packet, uint8_t src, uint8_t dst, uint8_t *out)
{
	uint16_t more = packet->shape == SHAPE_FIRST ? IP_MF : 0;
	struct iphdr ip = {
		.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
		.tot_len = htobe16(sizeof(ip) + UPPER_LEN), .id = htobe16((uint16_t)packet->number),
		.frag_off = htobe16(fragment_offset(packet) | more),
		.saddr = htobe32(0x0a090000u | src), .daddr = htobe32(0x0a090000u | dst),
	};

	memcpy(out, &ip, sizeof(ip));
	return out + sizeof(ip);
}

static uint8_t *write_ipv6(const struct packet *packet, uint8_t src, uint8_t dst, uint8_t *out)
{
	uint16_t more = packet->shape == SHAPE_FIRST;
	struct ip6_frag fragment = {
		.ip6f_nxt = IPPROTO_UDP, .ip6f_ident = htobe32(packet->number),
		.ip6f_offlg = htobe16((uint16_t)(fragment_offset(packet) << 3 | more)),
	};
	struct ip6_hdr ip = { .ip6_flow = htobe32(6u << 28) };

	ip.ip6_hlim = 64;
	ip.ip6_nxt = is_fragment(packet) ? IPPROTO_FRAGMENT : IPPROTO_UDP;
	ip.ip6_plen = htobe16(UPPER_LEN + (is_fragment(packet) ? sizeof(fragment) : 0));
	memcpy(&ip.ip6_src, "\xfd\x00\x00\x09", 4);
	ip.ip6_dst = ip.ip6_src;
	ip.ip6_src.s6_addr[15] = src;
	ip.ip6_dst.s6_addr[15] = dst;
	memcpy(out, &ip, sizeof(ip));
	out += sizeof(ip);
	if (!is_fragment(packet))
		return out;
	memcpy(out, &fragment, sizeof(fragment));
	return out + sizeof(fragment);
}

static void write_frame(const struct packet *packet, struct frame *frame)
{
	bool out = packet->hook == HOOK_tc_egress;
	uint8_t remote = numbered_remote(packet->stream), *upper;
	uint32_t flow = packet->shape == SHAPE_NEW ? packet->number * 0x9e3779b1u : 4u << 16 | 5;

	*frame = (struct frame){ 0 };
	store_be16(frame->data + 2 * ETH_ALEN, packet->family == FAMILY_V4 ? ETH_P_IP : ETH_P_IPV6);
	upper = (packet->family == FAMILY_V4 ? write_ipv4 : write_ipv6)(
		packet, out ? 1 : remote, out ? remote : 1, frame->data + ETH_HLEN);
	store_be32(upper, flow);	/* both ports */
	store_be16(upper + 4, UPPER_LEN);
	frame->len = (uint32_t)(upper - frame->data) + UPPER_LEN;
}

/* What the hook says to that: 0 for passed on, or the reason why not. */
static enum drop_reason fate(enum hook hook, enum spd_action action)
{
	if (action == SPD_DISCARD)
		return DROP_POLICY_DISCARD;
	if (action == SPD_PROTECT)
		return hook == HOOK_tc_egress ? DROP_NO_SA_OUT : DROP_CLEAR_TEXT;
	return DROP_NONE;
}

static uint32_t hook_verdict(enum hook hook, enum drop_reason reason)
{
	if (hook == HOOK_tc_egress)
		return reason ? TC_ACT_SHOT : (uint32_t)TC_ACT_UNSPEC;
	return reason ? XDP_DROP : XDP_PASS;
}

/* ---- who shoots ---------------------------------------------------------------------------- */

/* What the processes know of each other: in memory that they share. */
struct board {
	uint32_t begun;		/* the last policy that may be in force */
	uint32_t done;		/* none before this one may be */
	uint64_t explained, flooded;	/* packets */
	uint32_t faults;
	uint64_t sent[FAMILY_COUNT][STREAM_COUNT], sent_by_hook[HOOK_COUNT][STREAM_COUNT];
};

struct shooter {
	struct datapath *datapath;
	struct board *board;
	int stop;
	uint32_t protect_id;	/* of the one pair that all policies have, once it is known */
	struct numbered_policy policy;
};

static void fault(struct board *board, const char *who, const struct packet *packet,
		  const char *what)
{
	char name[NAME_LEN];

	if (__atomic_fetch_add(&board->faults, 1, __ATOMIC_RELAXED) < FAULTS_SHOWN)
		printf("FAIL %s: %s, %s, shape %d: %s\n", who, hook_name(packet->hook),
		       numbered_rule_name(packet->family, packet->stream, name), packet->shape, what);
	fflush(stdout);
}

static bool is_over(int stop)
{
	struct pollfd closed = { .fd = stop };

	return poll(&closed, 1, 0) != 0;
}

/* The next packet of all kinds of them in turn. */
static void step(struct packet *packet, enum stream streams, enum shape shapes)
{
	if (++packet->shape < shapes)
		return;
	packet->shape = 0;
	if (++packet->stream < streams)
		return;
	packet->stream = 0;
	packet->number++;
	if (++packet->family < FAMILY_COUNT)
		return;
	packet->family = 0;
	packet->hook = packet->hook == HOOK_tc_egress ? HOOK_xdp_ingress : HOOK_tc_egress;
}

/* Did the policy that judged the packet judge it as that policy says, all of it? */
static void check_note(struct shooter *shooter, const struct packet *packet,
		       const struct packet_verdict *note, uint32_t verdict, uint32_t from)
{
	uint32_t until = __atomic_load_n(&shooter->board->begun, __ATOMIC_ACQUIRE);
	enum spd_action action = numbered_action(note->serial, packet->stream);
	enum drop_reason reason = fate(packet->hook, action);
	uint32_t place;
	char what[160];

	if (shooter->policy.number != note->serial)
		shooter->policy = numbered_policy(note->serial);
	place = shooter->policy.place[packet->family][packet->stream];
	if (note->action == SPD_PROTECT && !shooter->protect_id)
		shooter->protect_id = note->protect_id;
	if (note->asked && note->serial >= from && note->serial <= until && note->rule == place &&
	    note->action == action && note->reason == reason &&
	    (action != SPD_PROTECT || note->protect_id == shooter->protect_id) &&
	    verdict == hook_verdict(packet->hook, reason))
		return;
	snprintf(what, sizeof(what), "policy %u (%u to %u were in force) rule %u action %u reason %s "
		 "verdict %u, expected rule %u action %u", note->serial, from, until, note->rule,
		 note->action, drop_reason_name(note->reason), verdict, place, action);
	fault(shooter->board, "explain", packet, what);
}

static int explain(struct shooter *shooter)
{
	struct packet packet = { .hook = HOOK_tc_egress };
	struct packet_verdict note;
	struct frame frame;
	int err = 0;

	while (!err && !is_over(shooter->stop)) {
		struct shot shot = { .data = frame.data };
		uint32_t from = __atomic_load_n(&shooter->board->done, __ATOMIC_ACQUIRE);

		write_frame(&packet, &frame);
		shot.len = frame.len;
		err = datapath_shoot(shooter->datapath, packet.hook, &shot);
		if (!err)
			err = datapath_note(shooter->datapath, &note);
		if (!err)
			check_note(shooter, &packet, &note, shot.verdict, from);
		__atomic_fetch_add(&shooter->board->explained, 1, __ATOMIC_RELAXED);
		step(&packet, STREAM_COUNT, SHAPE_COUNT);
	}
	return err;
}

static int flood(struct shooter *shooter)
{
	struct packet packet = { .hook = HOOK_tc_egress };
	struct board *board = shooter->board;
	struct frame frame;
	int err = 0;

	while (!err && !is_over(shooter->stop)) {
		struct shot shot = { .data = frame.data };
		enum drop_reason reason = fate(packet.hook, numbered_action(0, packet.stream));

		write_frame(&packet, &frame);
		shot.len = frame.len;
		err = datapath_shoot(shooter->datapath, packet.hook, &shot);
		if (!err && shot.verdict != hook_verdict(packet.hook, reason))
			fault(board, "flood", &packet, "the other verdict");
		board->sent[packet.family][packet.stream]++;
		board->sent_by_hook[packet.hook][packet.stream]++;
		__atomic_fetch_add(&board->flooded, 1, __ATOMIC_RELAXED);
		step(&packet, STREAM_CHANGING, SHAPE_FIRST);
	}
	return err;
}

static pid_t start(int (*shoot)(struct shooter *), struct datapath *datapath, struct board *board,
		   const int stop[2])
{
	struct shooter shooter = { .datapath = datapath, .board = board, .stop = stop[0] };
	pid_t pid = fork();
	int err;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(stop[1]);
	err = shoot(&shooter);
	if (err)
		printf("FAIL a packet could not be sent: %s\n", strerror(-err));
	fflush(stdout);
	_exit(err != 0);
}

/* ---- who reloads --------------------------------------------------------------------------- */

struct test {
	struct datapath live, explaining;
	struct board *board;
	pid_t shooters[2];
	uint32_t reloads;
	uint64_t apply_ns, slowest_ns;
	unsigned int passed, failed;
};

static void check(struct test *test, bool right, const char *what)
{
	if (right)
		test->passed++;
	else
		test->failed++;
	if (!right)
		printf("FAIL reload: %s\n", what);
}

static int install(struct test *test, const struct policy *policy, uint32_t number)
{
	const struct pins *pins = &test->live.pins;
	bool trial = number % TRIAL_EVERY == 0;
	uint32_t tried;
	int err = datapath_apply(&test->live, policy, trial ? TRIAL_SECONDS : 0);

	if (err || !trial)
		return err;
	tried = policy_generation(pins);
	err = policy_trial_end(pins, true);
	if (!err)
		policy_retire_generation(pins, !tried, NULL);
	return err;
}

static int reload(struct test *test, uint32_t number)
{
	struct numbered_policy numbered = numbered_policy(number);
	struct policy *policy;
	size_t len;
	char *text = numbered_text(&numbered, &len);
	uint64_t begin = clock_ns(), took;
	int err = -EINVAL;

	policy = text ? policy_parse(text, len, "numbered", NULL) : NULL;
	__atomic_store_n(&test->board->begun, number, __ATOMIC_RELEASE);
	if (policy)
		err = install(test, policy, number);
	if (!err)
		__atomic_store_n(&test->board->done, number, __ATOMIC_RELEASE);
	took = clock_ns() - begin;
	test->apply_ns += took;
	if (took > test->slowest_ns)
		test->slowest_ns = took;
	policy_free(policy);
	free(text);
	return err;
}

/* Until both have sent packets since then; false if one of them has ended. */
static bool packets_flow(const struct test *test, uint64_t explained, uint64_t flooded)
{
	const struct board *board = test->board;

	while (__atomic_load_n(&board->explained, __ATOMIC_RELAXED) == explained ||
	       __atomic_load_n(&board->flooded, __ATOMIC_RELAXED) == flooded) {
		for (int i = 0; i < 2; i++) {
			siginfo_t ended = { 0 };

			if (waitid(P_PID, (id_t)test->shooters[i], &ended,
				   WEXITED | WNOHANG | WNOWAIT) || ended.si_pid)
				return false;
		}
		poll(NULL, 0, 1);
	}
	return true;
}

static void reload_all(struct test *test, uint32_t reloads, uint64_t seconds)
{
	uint64_t end = clock_ns() + seconds * NS_PER_S;

	for (uint32_t i = 1; i <= reloads; i++) {
		uint64_t explained = __atomic_load_n(&test->board->explained, __ATOMIC_RELAXED);
		uint64_t flooded = __atomic_load_n(&test->board->flooded, __ATOMIC_RELAXED);

		if (reload(test, i + 1) || !packets_flow(test, explained, flooded)) {
			check(test, false, "a policy could not be applied, or packets have stopped");
			return;
		}
		test->reloads++;
		if (seconds && i >= RELOADS_LEAST && clock_ns() >= end)
			return;
	}
}

/* ---- what has been counted ----------------------------------------------------------------- */

static void check_equal(struct test *test, const char *what, uint64_t counted, uint64_t sent)
{
	char text[160];

	snprintf(text, sizeof(text), "%s: counted %llu, sent %llu", what,
		 (unsigned long long)counted, (unsigned long long)sent);
	check(test, counted == sent && sent, text);
}

/* Drops and passes of the flood, by reason; nothing else may have happened to any packet. */
static void check_fates(struct test *test)
{
	const uint64_t *in = test->board->sent_by_hook[HOOK_xdp_ingress],
		       *out = test->board->sent_by_hook[HOOK_tc_egress];
	struct ipsecbpf_stats stats = { 0 };
	uint64_t dropped = 0;

	check(test, !stats_read(&test->live.pins, &stats), "counters cannot be read");
	check_equal(test, "in_bypass", stats.passes[PASS_IN_BYPASS], in[STREAM_BYPASSED]);
	check_equal(test, "out_bypass", stats.passes[PASS_OUT_BYPASS], out[STREAM_BYPASSED]);
	check_equal(test, "clear_text", stats.drops[DROP_CLEAR_TEXT], in[STREAM_PROTECTED]);
	check_equal(test, "no_sa_out", stats.drops[DROP_NO_SA_OUT], out[STREAM_PROTECTED]);
	check_equal(test, "policy_discard", stats.drops[DROP_POLICY_DISCARD],
		    in[STREAM_DISCARDED] + out[STREAM_DISCARDED]);
	for (int i = 0; i < DROP_REASON_COUNT; i++)
		dropped += stats.drops[i];
	check_equal(test, "all drops", dropped, in[STREAM_PROTECTED] + out[STREAM_PROTECTED] +
		    in[STREAM_DISCARDED] + out[STREAM_DISCARDED]);
}

/* The rules that decide the streams are in all policies: each has counted all of its own. */
static void check_rules(struct test *test)
{
	struct numbered_policy last = numbered_policy(test->board->done);
	struct rule_stats stats = { 0 };
	char name[NAME_LEN];
	bool readable = !rule_stats_read(&test->live.pins, &stats) && stats.count == last.rules;

	check(test, readable, "counters of rules cannot be read");
	check(test, stats.serial == last.number, "another policy is in force than the last");
	for (int family = 0; readable && family < FAMILY_COUNT; family++)
		for (int stream = 0; stream < STREAM_CHANGING; stream++) {
			const struct rule_stat *rule = &stats.rules[last.place[family][stream]];

			numbered_rule_name(family, stream, name);
			check(test, !strcmp(rule->name, name), rule->name);
			check_equal(test, name, rule->packets, test->board->sent[family][stream]);
		}
	rule_stats_fini(&stats);
}

/* ---- all of it ----------------------------------------------------------------------------- */

static int prepare(struct test *test)
{
	struct datapath_opts opts = { .mark_value = 1, .mark_mask = 1 };
	int err = datapath_isolate();

	test->board = mmap(NULL, sizeof(*test->board), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!err && test->board == MAP_FAILED)
		err = -errno;
	if (!err)
		err = datapath_open(&test->live, &opts);
	if (err)
		return err;
	opts.explaining = true;
	opts.live = &test->live.pins;
	err = datapath_open(&test->explaining, &opts);
	if (!err)
		err = reload(test, 1);
	return err;
}

static void end(struct test *test, int stop)
{
	close(stop);
	for (int i = 0; i < 2; i++) {
		int status;

		check(test, waitpid(test->shooters[i], &status, 0) == test->shooters[i] &&
		      WIFEXITED(status) && !WEXITSTATUS(status), "who sends packets has failed");
	}
	check(test, !test->board->faults, "packets were misjudged");
	check_fates(test);
	check_rules(test);
	printf("%u reloads, %.1f ms each, %.1f ms at most; %llu packets explained, %llu more, "
	       "%u misjudged\n", test->reloads, (double)test->apply_ns / 1e6 / (test->reloads + 1),
	       (double)test->slowest_ns / 1e6, (unsigned long long)test->board->explained,
	       (unsigned long long)test->board->flooded, test->board->faults);
	datapath_close(&test->explaining);
	datapath_close(&test->live);
}

int main(int argc, char **argv)
{
	uint32_t reloads = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : RELOADS;
	uint64_t seconds = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	struct test test = { 0 };
	int err = prepare(&test), stop[2];

	if (err || pipe(stop)) {
		fprintf(stderr, "cannot prepare: %s\n", strerror(err ? -err : errno));
		return 1;
	}
	test.shooters[0] = start(explain, &test.explaining, test.board, stop);
	test.shooters[1] = start(flood, &test.live, test.board, stop);
	reload_all(&test, reloads, seconds);
	end(&test, stop[1]);
	printf("%u passed, %u failed\n", test.passed, test.failed);
	return test.failed || !test.passed;
}
