// SPDX-License-Identifier: BSD-2-Clause
/*
 * The classifier against a matcher that shares no code with it: random policies and packets with a
 * fixed seed, each packet through a whole hook. What protects a packet tells which rule matched.
 *
 * Prints each disagreement, and as its last line "N passed, N failed" (policies).
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>

#include "datapath.h"
#include "lib/bytes.h"
#include "lib/protections.h"
#include "lib/stats.h"
#include "selftests/unit/policy_reference.h"

#define POLICIES	   60
#define PACKETS_PER_POLICY 500
#define VLAN_HLEN 4
#define UPPER_LEN	   8

struct check {
	struct datapath datapath;
	const struct policy *policy;
	uint64_t expected_drops[DROP_SLOTS];
	unsigned int by_rule, packets;
};

/* ---- a packet's octets ------------------------------------------------------------------------ */

static uint32_t write_ipv4(const struct test_packet *packet, const union wire_addr *src,
			   const union wire_addr *dst, uint8_t *out)
{
	struct iphdr ip = {
		.version = 4, .ihl = 5, .tos = (uint8_t)(packet->dscp << 2), .ttl = 64, .protocol = packet->proto,
		.tot_len = htobe16(sizeof(ip) + UPPER_LEN),
		.frag_off = htobe16(packet->later ? 8 : 0),
		.saddr = src->w[0], .daddr = dst->w[0],
	};

	memcpy(out, &ip, sizeof(ip));
	return sizeof(ip);
}

static uint32_t write_ipv6(const struct test_packet *packet, const union wire_addr *src,
			   const union wire_addr *dst, uint8_t *out)
{
	struct ip6_frag fragment = {
		.ip6f_nxt = packet->proto, .ip6f_offlg = htobe16(8 << 3), .ip6f_ident = 1,
	};
	struct ip6_hdr ip = { .ip6_flow = htobe32(6u << 28 | (uint32_t)packet->dscp << 22) };

	ip.ip6_nxt = packet->later ? IPPROTO_FRAGMENT : packet->proto;
	ip.ip6_hlim = 64;
	ip.ip6_plen = htobe16(UPPER_LEN + (packet->later ? sizeof(fragment) : 0));
	memcpy(&ip.ip6_src, src, sizeof(ip.ip6_src));
	memcpy(&ip.ip6_dst, dst, sizeof(ip.ip6_dst));
	memcpy(out, &ip, sizeof(ip));
	if (!packet->later)
		return sizeof(ip);
	memcpy(out + sizeof(ip), &fragment, sizeof(fragment));
	return sizeof(ip) + sizeof(fragment);
}

static uint32_t write_packet(const struct test_packet *packet, uint8_t *out)
{
	bool in = packet->direction == SPD_IN;
	union wire_addr local = addr128_to_wire(packet->family, packet->local);
	union wire_addr remote = addr128_to_wire(packet->family, packet->remote);
	const union wire_addr *src = in ? &remote : &local, *dst = in ? &local : &remote;
	uint32_t len = ETH_HLEN;
	uint8_t *upper;

	memset(out, 2, 2 * ETH_ALEN);
	if (packet->vlan) {
		store_be16(out + 2 * ETH_ALEN, ETH_P_8021Q);
		store_be16(out + ETH_HLEN, packet->vlan);
		len += VLAN_HLEN;
	}
	store_be16(out + len - 2, packet->family == FAMILY_V4 ? ETH_P_IP : ETH_P_IPV6);
	len += packet->family == FAMILY_V4 ? write_ipv4(packet, src, dst, out + len)
					   : write_ipv6(packet, src, dst, out + len);
	upper = out + len;
	memset(upper, 0, UPPER_LEN);
	if (packet->proto == IPPROTO_ICMP || packet->proto == IPPROTO_ICMPV6) {
		upper[0] = packet->icmp_type;
		upper[1] = packet->icmp_code;
	} else {
		store_be16(upper, in ? packet->remote_port : packet->local_port);
		store_be16(upper + 2, in ? packet->local_port : packet->remote_port);
	}
	return len + UPPER_LEN;
}

/* ---- what ought to happen --------------------------------------------------------------------- */

static enum spd_action expected_action(const struct check *check, const struct test_packet *packet,
				       uint32_t rule)
{
	return rule == SPD_RULE_DEFAULT ? check->policy->default_action[packet->direction]
					: check->policy->rules[rule].action;
}

static bool right_inbound(struct check *check, const struct shot *shot, enum spd_action action)
{
	if (action == SPD_BYPASS)
		return shot->verdict == XDP_PASS;
	check->expected_drops[action == SPD_PROTECT ? DROP_CLEAR_TEXT : DROP_POLICY_DISCARD]++;
	return shot->verdict == XDP_DROP;
}

/* Slots were filled with protect ids, so the tag names the id. */
static bool right_outbound(struct check *check, const struct shot *shot, enum spd_action action,
			   uint32_t rule)
{
	const struct policy *policy = check->policy;
	const struct protection *protection;

	switch (action) {
	case SPD_BYPASS:
		return shot->verdict == (uint32_t)TC_ACT_UNSPEC;
	case SPD_PROTECT:
		protection = &policy->protections[policy->rules[rule].protection];
		return shot->verdict == TC_ACT_REDIRECT && shot->out[ETH_ALEN] == HOST_TAG_SA &&
		       load_be32(shot->out + ETH_ALEN + 2) ==
			       protections_live_id(&check->datapath.pins, "b", protection->name);
	default:
		check->expected_drops[DROP_POLICY_DISCARD]++;
		return shot->verdict == TC_ACT_SHOT;
	}
}

static bool check_packet(struct check *check, const struct test_packet *packet)
{
	uint32_t rule = reference_verdict(check->policy, DATAPATH_POLICY_IFNAME, packet);
	enum spd_action action = expected_action(check, packet, rule);
	bool in = packet->direction == SPD_IN, right;
	uint8_t data[128];
	struct shot shot = {
		.data = data,
		.len = write_packet(packet, data),
		.ingress_ifindex = packet->forwarded,
	};
	int err = datapath_shoot(&check->datapath, in ? HOOK_xdp_ingress : HOOK_tc_egress, &shot);

	right = !err && (in ? right_inbound(check, &shot, action)
			    : right_outbound(check, &shot, action, rule));
	check->by_rule += rule != SPD_RULE_DEFAULT;
	check->packets++;
	if (!right)
		printf("FAIL %s %s proto %u ports %u %u icmp %u %u vlan %u dscp %u%s%s: verdict %d, expected rule %d, error %d\n",
		       in ? "in" : "out", packet->family == FAMILY_V4 ? "v4" : "v6", packet->proto,
		       packet->local_port, packet->remote_port, packet->icmp_type,
		       packet->icmp_code, packet->vlan, packet->dscp, packet->later ? " later" : "",
		       packet->forwarded ? " forwarded" : "", (int)shot.verdict, (int)rule, err);
	return right;
}

static bool right_counters(struct check *check, const struct ipsecbpf_stats *before)
{
	struct ipsecbpf_stats after;
	bool right = true;

	if (stats_read(&check->datapath.pins, &after))
		return false;
	for (int i = 0; i < DROP_REASON_COUNT; i++) {
		uint64_t rose = after.drops[i] - before->drops[i];

		if (rose == check->expected_drops[i])
			continue;
		printf("FAIL drops.%s rose by %llu, expected %llu\n",
		       drop_reason_name((enum drop_reason)i), (unsigned long long)rose,
		       (unsigned long long)check->expected_drops[i]);
		right = false;
	}
	return right;
}

static bool check_policy(struct check *check)
{
	struct policy *policy = random_policy();
	struct ipsecbpf_stats before;
	bool right;

	check->policy = policy;
	memset(check->expected_drops, 0, sizeof(check->expected_drops));
	right = !datapath_apply(&check->datapath, policy, 0) &&
		!stats_read(&check->datapath.pins, &before);
	for (int i = 0; right && i < PACKETS_PER_POLICY; i++) {
		struct test_packet packet = random_packet();

		right = check_packet(check, &packet);
	}
	right = right && right_counters(check, &before);
	if (!right) {
		char *text = policy_show(policy);

		printf("%s", text ? text : "");
		free(text);
	}
	policy_free(policy);
	return right;
}

static int fill_out_sa(const struct pins *pins)
{
	for (uint32_t id = 1; id < PROTECT_MAX; id++)
		for (uint32_t family = 0; family < FAMILY_COUNT; family++) {
			struct out_sa value = { .slot = id };
			uint32_t key = OUT_SA(id, family);

			if (bpf_map_update_elem(pins->out_sa_fd, &key, &value, 0))
				return -errno;
		}
	return 0;
}

int main(void)
{
	const struct datapath_opts opts = { .mark_value = 1, .mark_mask = 1 };
	unsigned int passed = 0, failed = 0;
	static struct check check;
	int err = datapath_isolate();

	if (!err)
		err = datapath_open(&check.datapath, &opts);
	if (!err)
		err = fill_out_sa(&check.datapath.pins);
	if (err) {
		fprintf(stderr, "cannot prepare: %s\n", strerror(-err));
		return 1;
	}
	seed = 2;
	for (int i = 0; i < POLICIES; i++) {
		if (check_policy(&check))
			passed++;
		else
			failed++;
	}
	datapath_close(&check.datapath);
	/* Both kinds must be many, or the comparison says little. */
	if (check.by_rule < check.packets / 5 || check.by_rule > check.packets / 5 * 4) {
		printf("FAIL %u of %u packets met a rule\n", check.by_rule, check.packets);
		failed++;
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
