/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A second opinion on policies: a matcher that reads struct policy directly and shares no code with
 * the compiler or the classifier, and random policies and packets to ask it about.
 *
 * Included by: test_policy_compile.c, ../bpf/cross_check.c.
 */
#ifndef POLICY_REFERENCE_H
#define POLICY_REFERENCE_H

#include <fnmatch.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/policy.h"

#define RANDOM_RULES 9		/* most rules of a random policy */

struct test_packet {
	enum spd_direction direction;
	enum ip_family family;
	struct addr128 local, remote;
	uint8_t proto;
	bool later;		/* a fragment but the first: ports and ICMP type are not in it */
	bool proto_hidden;	/* nor is the protocol (IPv6, later) */
	uint16_t local_port, remote_port;
	uint8_t icmp_type, icmp_code;
	uint16_t vlan;		/* 0: untagged */
	uint8_t dscp;
	bool forwarded;
};

/* ---- the reference: rules as the documentation states them ---- */

static bool in_range(struct addr128 lo, struct addr128 hi, struct addr128 addr)
{
	unsigned __int128 l = (unsigned __int128)lo.hi << 64 | lo.lo;
	unsigned __int128 h = (unsigned __int128)hi.hi << 64 | hi.lo;
	unsigned __int128 a = (unsigned __int128)addr.hi << 64 | addr.lo;

	return l <= a && a <= h;
}

static bool in_list(const struct address_list *list, enum ip_family family, struct addr128 addr)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].family == family &&
		    in_range(list->items[i].lo, list->items[i].hi, addr))
			return true;
	return list->count == 0;
}

static bool port_in_list(const struct port_list *list, uint16_t port)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].lo <= port && port <= list->items[i].hi)
			return true;
	return list->count == 0;
}

static bool protocol_in_rule(const struct rule *rule, const struct test_packet *packet)
{
	const uint8_t of_other_family = packet->family == FAMILY_V6 ? 1 : 58;

	for (size_t i = 0; i < rule->protocol_count; i++)
		if ((packet->proto_hidden || rule->protocols[i] == packet->proto) &&
		    rule->protocols[i] != of_other_family)
			return true;
	return rule->protocol_count == 0;
}

/* Never bypassed on a guess: what is unseen fits a rule unless the rule lets it pass in the clear. */
static bool suits_later_fragment(const struct rule *rule, const struct test_packet *packet)
{
	if (packet->proto_hidden && rule->protocol_count && rule->action == SPD_BYPASS)
		return false;
	return rule->action != SPD_BYPASS ||
	       !(rule->local_port.count || rule->remote_port.count || rule->icmp_given);
}

static bool upper_in_rule(const struct rule *rule, const struct test_packet *packet)
{
	if (rule->icmp_given)
		return packet->icmp_type >= rule->icmp_type_lo &&
		       packet->icmp_type <= rule->icmp_type_hi &&
		       packet->icmp_code >= rule->icmp_code_lo &&
		       packet->icmp_code <= rule->icmp_code_hi;
	return port_in_list(&rule->local_port, packet->local_port) &&
	       port_in_list(&rule->remote_port, packet->remote_port);
}

static bool rule_matches(const struct rule *rule, const char *ifname,
			 const struct test_packet *packet)
{
	bool interface = rule->interface_count == 0;

	for (size_t i = 0; i < rule->interface_count; i++)
		interface = interface || !fnmatch(rule->interfaces[i], ifname, 0);
	if (!interface || (rule->direction == RULE_IN && packet->direction == SPD_OUT) ||
	    (rule->direction == RULE_OUT && packet->direction == SPD_IN))
		return false;
	if ((rule->origin == ORIGIN_LOCAL && packet->forwarded) ||
	    (rule->origin == ORIGIN_FORWARDED && !packet->forwarded))
		return false;
	if (packet->later ? !suits_later_fragment(rule, packet) : !upper_in_rule(rule, packet))
		return false;
	return in_list(&rule->local, packet->family, packet->local) &&
	       in_list(&rule->remote, packet->family, packet->remote) &&
	       protocol_in_rule(rule, packet) && port_in_list(&rule->vlan, packet->vlan) &&
	       port_in_list(&rule->dscp, packet->dscp);
}

static inline uint32_t reference_verdict(const struct policy *policy, const char *ifname,
				  const struct test_packet *packet)
{
	for (size_t i = 0; i < policy->rule_count; i++)
		if (rule_matches(&policy->rules[i], ifname, packet))
			return (uint32_t)i;
	return SPD_RULE_DEFAULT;
}

/* ---- random policies and packets, from few values so that they meet ---- */

static unsigned int seed;

static unsigned int below(unsigned int limit)
{
	return (unsigned int)rand_r(&seed) % limit;
}

static void print_addresses(FILE *out, const char *key)
{
	static const char *const pool[] = {
		"10.0.0.0/30", "10.0.0.1", "10.0.0.2-10.0.0.5", "10.0.0.4/31", "0.0.0.0/0",
		"fd00::/126", "fd00::1", "fd00::2-fd00::5", "::/0", "255.255.255.255",
	};
	/* Which of few groups of addresses each has: lists are disjoint. */
	static const unsigned int groups[] = {
		0x007, 0x002, 0x00c, 0x008, 0x03f, 0x1c0, 0x080, 0x300, 0xfc0, 0x010,
	};
	unsigned int count = 1 + below(3), used = 0;

	if (below(3) == 0)
		return;
	fprintf(out, ",\"%s\":[", key);
	for (unsigned int i = 0; i < count; i++) {
		unsigned int choice = below(10);

		if (used & groups[choice])
			continue;
		fprintf(out, "%s\"%s\"", used ? "," : "", pool[choice]);
		used |= groups[choice];
	}
	fputc(']', out);
}

static void print_ports(FILE *out, const char *key)
{
	unsigned int count = 1 + below(3), used = 0;

	if (below(2))
		return;
	fprintf(out, ",\"%s\":[", key);
	for (unsigned int i = 0; i < count; i++) {
		unsigned int lo = below(6), hi = lo + below(3), ports = (2u << hi) - (1u << lo);

		if (used & ports)
			continue;
		fprintf(out, "%s\"%u-%u\"", used ? "," : "", lo, hi);
		used |= ports;
	}
	fputc(']', out);
}

static void print_protocols(FILE *out)
{
	switch (below(5)) {
	case 0:
		fputs(",\"protocol\":[\"tcp\",\"udp\"]", out);
		print_ports(out, "local_port");
		print_ports(out, "remote_port");
		break;
	case 1:
		fprintf(out, ",\"protocol\":\"icmp\",\"icmp_type\":\"%u-3\",\"icmp_code\":%u",
			below(4), below(2));
		break;
	case 2:
		fprintf(out, ",\"protocol\":\"icmpv6\",\"icmp_type\":%u", below(4));
		break;
	case 3:
		fputs(",\"protocol\":[1,58,6,47]", out);
		break;
	}
}

static void print_tags(FILE *out)
{
	static const char *const vlans[] = { "0", "\"1-4094\"", "[0,2]", "[\"1-2\",7]" };
	static const char *const dscps[] = { "\"ef\"", "[0,1]", "\"1-45\"", "\"cs0\"" };

	if (below(8) == 0)
		fprintf(out, ",\"vlan\":%s", vlans[below(4)]);
	if (below(8) == 0)
		fprintf(out, ",\"dscp\":%s", dscps[below(4)]);
}

static void print_rule(FILE *out, unsigned int index)
{
	static const char *const directions[] = {
		"both", "in", "out", "out\",\"origin\":\"local", "out\",\"origin\":\"forwarded",
	};
	static const char *const interfaces[] = { "[\"eth0\",\"wlan*\"]", "\"eth1\"", "\"e*\"" };

	fprintf(out, "%s{\"name\":\"%u\",\"direction\":\"%s\"", index ? "," : "", index,
		directions[below(5)]);
	if (below(3) == 0)
		fprintf(out, ",\"interface\":%s", interfaces[below(3)]);
	print_addresses(out, "local");
	print_addresses(out, "remote");
	print_protocols(out);
	print_tags(out);
	switch (below(4)) {
	case 0:
	case 1:
		fputs(",\"action\":\"bypass\"}", out);
		break;
	case 2:
		fputs(",\"action\":\"discard\"}", out);
		break;
	default:
		fprintf(out, ",\"action\":\"protect\",\"peer\":\"b\",\"protection\":\"vpn%u\"}",
			index);
	}
}

/* Of a tunnel: every field that has a choice, made at random. */
static void print_protection(FILE *out, unsigned int index)
{
	static const char *const protocols[] = {
		"esp", "ah", "esp\",\"type\":\"authentication",
		"ah\",\"suites\":[\"sha512\",\"aesxcbc\"],\"type\":\"authentication",
	};

	fprintf(out, "%s\"vpn%u\":{\"mode\":\"tunnel\",\"protocol\":\"%s\"", index ? "," : "",
		index, protocols[below(4)]);
	if (below(2))
		fprintf(out, ",\"fragments\":\"%s\"", below(2) ? "discard" : "reassemble");
	/* Into one of the last two, of which one may lie in the other: at most three deep. */
	if (index < RANDOM_RULES - 1 && below(3) == 0) {
		unsigned int outer = index < RANDOM_RULES - 2 && below(2) ? RANDOM_RULES - 2 :
									     RANDOM_RULES - 1;

		if (below(2))
			fprintf(out, ",\"within\":\"vpn%u\"", outer);
		else
			fprintf(out, ",\"within\":{\"peer\":\"%s\",\"protection\":\"vpn%u\"}",
				below(2) ? "b" : "gateway", outer);
	}
	fputc('}', out);
}

/* Each rule has a protection of its own, so that what protects a packet tells the rule. */
static void print_head(FILE *out)
{
	fputs("{\"version\":1,\"bypass_essential\":[],\"defaults\":{\"in\":\"bypass\","
	      "\"out\":\"discard\",\"non_ip\":\"bypass\"},"
	      "\"peers\":{\"b\":{\"addresses\":[\"10.0.0.2\",\"fd00::2\"]},"
	      "\"gateway\":{\"addresses\":[\"192.0.2.1\"]}},\"protections\":{", out);
	for (unsigned int i = 0; i < RANDOM_RULES; i++)
		print_protection(out, i);
	fputs("},\"rules\":[", out);
}

/* A policy that parses; contradictory ones (families apart, unreachable rules) are thrown away. */
static inline struct policy *random_policy(void)
{
	struct policy *policy = NULL;

	while (!policy) {
		unsigned int count = 4 + below(RANDOM_RULES - 3);
		char *text = NULL;
		size_t len;
		FILE *out = open_memstream(&text, &len);

		print_head(out);
		for (unsigned int i = 0; i < count; i++)
			print_rule(out, i);
		fputs("]}", out);
		fclose(out);
		policy = policy_parse(text, len, "random", NULL);
		free(text);
	}
	return policy;
}

static struct addr128 random_address(enum ip_family family)
{
	static const uint64_t high[] = { 0, 0xfd00ull << 48, 0xfd00ull << 48, 0xfe00ull << 48 };
	uint64_t low = below(8);

	if (family == FAMILY_V4)
		return (struct addr128){ 0, below(8) ? 0x0a000000 + low : 0xffffffff - low % 2 };
	return (struct addr128){ high[below(4)], low };
}

static inline struct test_packet random_packet(void)
{
	static const uint8_t protocols[] = { 1, 58, 6, 17, 47 }, dscps[] = { 0, 1, 46 };
	struct test_packet packet = {
		.direction = below(2), .family = below(2), .proto = protocols[below(5)],
		.local_port = (uint16_t)below(9), .remote_port = (uint16_t)below(9),
		.icmp_type = (uint8_t)below(5), .icmp_code = (uint8_t)below(3),
		.vlan = (uint16_t)below(4), .dscp = dscps[below(3)],
	};

	packet.local = random_address(packet.family);
	packet.remote = random_address(packet.family);
	packet.later = below(8) == 0;
	packet.forwarded = packet.direction == SPD_OUT && below(2);
	return packet;
}

#endif /* POLICY_REFERENCE_H */
