// SPDX-License-Identifier: BSD-2-Clause
#include "packet_spec.h"

#include <endian.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_internal.h"

#define EPHEMERAL_PORT	  49152
#define HOP_LIMIT	  64
#define ND_HOP_LIMIT	  255	/* RFC 4861 7.1: anything less came through a router */
#define PORT_ESP_IN_UDP	  4500	/* RFC 3948 */
#define ICMP_ECHO_REQUEST 8
#define ICMPV6_ECHO_REQUEST 128
#define DCCP_HEADER_LEN	  16
#define TCP_HEADER_LEN	  20

/* Requests and their replies, both ways. */
static const struct {
	uint8_t proto, type, answer;
} icmp_answers[] = {
	{ PROTO_ICMP, 8, 0 },	  { PROTO_ICMP, 0, 8 },		/* echo */
	{ PROTO_ICMP, 13, 14 },	  { PROTO_ICMP, 14, 13 },	/* timestamp */
	{ PROTO_ICMPV6, 128, 129 }, { PROTO_ICMPV6, 129, 128 },	/* echo */
	{ PROTO_ICMPV6, 135, 136 }, { PROTO_ICMPV6, 136, 135 },	/* neighbour discovery */
};

/* ---- names --------------------------------------------------------------------------------- */

static bool parse_number(const char *text, unsigned long max, uint8_t *ret_number)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long number;

	if (!digits || digits > 3 || text[digits])
		return false;
	number = strtoul(text, NULL, 10);
	if (number > max)
		return false;
	*ret_number = (uint8_t)number;
	return true;
}

bool packet_protocol_parse(const char *text, uint8_t *ret_proto)
{
	for (const struct policy_protocol *p = policy_protocols; p->name; p++)
		if (!strcmp(p->name, text)) {
			*ret_proto = p->number;
			return true;
		}
	return parse_number(text, UINT8_MAX, ret_proto);
}

const char *packet_protocol_name(uint8_t proto, char out[4])
{
	const struct policy_protocol *known = policy_protocol_find(proto);

	if (known)
		return known->name;
	snprintf(out, 4, "%u", proto);
	return out;
}

bool packet_dscp_parse(const char *text, uint8_t *ret_dscp)
{
	for (const struct policy_dscp *dscp = policy_dscps; dscp->name; dscp++)
		if (!strcmp(dscp->name, text)) {
			*ret_dscp = dscp->number;
			return true;
		}
	return parse_number(text, DSCP_MAX, ret_dscp);
}

const char *packet_dscp_name(uint8_t dscp, char out[4])
{
	const char *name = policy_dscp_name(dscp);

	if (name)
		return name;
	snprintf(out, 4, "%u", dscp);
	return out;
}

/* ---- what fits together -------------------------------------------------------------------- */

static bool is_icmp(uint8_t proto)
{
	return proto == PROTO_ICMP || proto == PROTO_ICMPV6;
}

static bool has_ports(uint8_t proto)
{
	const struct policy_protocol *known = policy_protocol_find(proto);

	return known && known->ports;
}

static bool has_spi(uint8_t proto)
{
	return proto == IPPROTO_ESP || proto == IPPROTO_AH || proto == IPPROTO_UDP;
}

static const char *addresses_problem(unsigned int given, enum ip_family src, enum ip_family dst)
{
	if (!(given & GIVEN_SRC) || !(given & GIVEN_DST))
		return "a source and a destination address are needed";
	return src != dst ? "source and destination are of different families" : NULL;
}

static const char *upper_problem(const struct packet_spec *spec, unsigned int given)
{
	if (is_icmp(spec->proto) && (spec->proto == PROTO_ICMPV6) != (spec->family == FAMILY_V6))
		return "icmp is a protocol of IPv4, icmpv6 of IPv6";
	if (given & (GIVEN_SRC_PORT | GIVEN_DST_PORT) && !has_ports(spec->proto))
		return given & GIVEN_PROTOCOL ? "the protocol has no ports"
					      : "ports need a protocol that has them";
	if (has_ports(spec->proto) && !(given & GIVEN_DST_PORT))
		return "the protocol needs a destination port";
	if (given & (GIVEN_ICMP_TYPE | GIVEN_ICMP_CODE) && !is_icmp(spec->proto))
		return "an ICMP type needs protocol icmp or icmpv6";
	if (given & GIVEN_ICMP_CODE && !(given & GIVEN_ICMP_TYPE))
		return "an ICMP code needs an ICMP type";
	if (given & GIVEN_SPI && !has_spi(spec->proto))
		return "an SPI needs protocol esp, ah, or udp (ESP in UDP)";
	if ((spec->proto == IPPROTO_ESP || spec->proto == IPPROTO_AH) && !(given & GIVEN_SPI))
		return "ESP and AH need an SPI";
	return NULL;
}

const char *packet_spec_finish(struct packet_spec *spec, unsigned int given,
			       enum ip_family src_family, enum ip_family dst_family)
{
	const char *problem;
	bool v6 = src_family == FAMILY_V6;

	if (given & GIVEN_ETHERTYPE)
		return given == GIVEN_ETHERTYPE ? NULL
						: "a frame that is not IP has no addresses, ports or DSCP";
	problem = addresses_problem(given, src_family, dst_family);
	if (problem)
		return problem;
	spec->family = (uint8_t)src_family;
	if (!(given & GIVEN_PROTOCOL))
		spec->proto = v6 ? PROTO_ICMPV6 : PROTO_ICMP;
	problem = upper_problem(spec, given);
	if (problem)
		return problem;
	if (is_icmp(spec->proto) && !(given & GIVEN_ICMP_TYPE))
		spec->icmp_type = v6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO_REQUEST;
	if (has_ports(spec->proto) && !(given & GIVEN_SRC_PORT))
		spec->src_port = EPHEMERAL_PORT;
	return NULL;
}

/* ---- frames -------------------------------------------------------------------------------- */

static uint8_t *put16(uint8_t *at, uint16_t value)
{
	*at++ = (uint8_t)(value >> 8);
	*at++ = (uint8_t)value;
	return at;
}

static uint8_t *put32(uint8_t *at, uint32_t value)
{
	return put16(put16(at, (uint16_t)(value >> 16)), (uint16_t)value);
}

/* SPI and sequence number, as ESP begins. */
static uint8_t *put_spi(uint8_t *at, uint32_t spi)
{
	return put32(put32(at, spi), 1);
}

/*
 * RFC 3948: what comes to port 4500 is ESP, or IKE behind a marker of zeros.
 */
static uint8_t *put_udp(uint8_t *at, const struct packet_spec *spec)
{
	bool marker = !spec->spi &&
		      (spec->src_port == PORT_ESP_IN_UDP || spec->dst_port == PORT_ESP_IN_UDP);
	uint16_t len = (uint16_t)(8 + (spec->spi ? 8 : marker ? 4 : 0));

	at = put16(put16(at, spec->src_port), spec->dst_port);
	at = put16(put16(at, len), 0);
	if (spec->spi)
		return put_spi(at, spec->spi);
	return marker ? put32(at, 0) : at;
}

/* The upper header, as far as hooks look. `at` points to zeros. */
static uint8_t *put_upper(uint8_t *at, const struct packet_spec *spec)
{
	switch (spec->proto) {
	case IPPROTO_UDP:
		return put_udp(at, spec);
	case IPPROTO_TCP:
		put16(put16(at, spec->src_port), spec->dst_port);
		at[12] = TCP_HEADER_LEN / 4 << 4;
		at[13] = 0x02; /* SYN */
		return at + TCP_HEADER_LEN;
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
	case IPPROTO_UDPLITE:
		put16(put16(at, spec->src_port), spec->dst_port);
		return at + DCCP_HEADER_LEN;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		at[0] = spec->icmp_type;
		at[1] = spec->icmp_code;
		return at + 8;
	case IPPROTO_ESP:
		return put_spi(at, spec->spi);
	case IPPROTO_AH:
		at[0] = IPPROTO_NONE;
		at[1] = 4; /* six words: an ICV of 12 octets */
		put_spi(at + 4, spec->spi);
		return at + 24;
	default:
		return at + 8;
	}
}

static uint8_t *put_ip(uint8_t *ip, const struct packet_spec *spec)
{
	bool nd = spec->proto == PROTO_ICMPV6 && spec->icmp_type >= 133 && spec->icmp_type <= 137;
	uint8_t *upper, *end;

	if (spec->family == FAMILY_V4) {
		upper = ip + 20;
		end = put_upper(upper, spec);
		ip[0] = 0x45;
		ip[1] = (uint8_t)(spec->dscp << 2);
		put16(ip + 2, (uint16_t)(end - ip));
		ip[8] = HOP_LIMIT;
		ip[9] = spec->proto;
		memcpy(ip + 12, &spec->src, 4);
		memcpy(ip + 16, &spec->dst, 4);
		return end;
	}
	upper = ip + 40;
	end = put_upper(upper, spec);
	put16(ip, (uint16_t)(0x6000 | spec->dscp << 6));
	put16(ip + 4, (uint16_t)(end - upper));
	ip[6] = spec->proto;
	ip[7] = nd ? ND_HOP_LIMIT : HOP_LIMIT;
	memcpy(ip + 8, &spec->src, 16);
	memcpy(ip + 24, &spec->dst, 16);
	return end;
}

uint32_t packet_spec_build(const struct packet_spec *spec, const uint8_t dst_mac[6],
			   uint8_t frame[PACKET_SPEC_FRAME_MAX])
{
	uint8_t *at = frame + 2 * ETH_ALEN;
	uint16_t ip = spec->family == FAMILY_V4 ? ETH_P_IP : ETH_P_IPV6;

	memset(frame, 0, PACKET_SPEC_FRAME_MAX);
	memcpy(frame, dst_mac, ETH_ALEN);
	frame[ETH_ALEN] = 0x02; /* locally administered: nobody's */
	if (spec->vlan)
		at = put16(put16(at, ETH_P_8021Q), spec->vlan);
	at = put16(at, spec->ethertype ? spec->ethertype : ip);
	at = spec->ethertype ? at + 46 : put_ip(at, spec);
	return (uint32_t)(at - frame);
}

bool packet_spec_of(const struct packet_verdict *seen, struct packet_spec *ret_spec)
{
	if (!seen->is_ip || seen->fragment)
		return false;
	*ret_spec = (struct packet_spec){
		.src = seen->src,
		.dst = seen->dst,
		.spi = be32toh(seen->spi),
		.src_port = be16toh(seen->src_port),
		.dst_port = be16toh(seen->dst_port),
		.family = seen->family,
		.proto = seen->proto,
		.icmp_type = seen->icmp_type,
		.icmp_code = seen->icmp_code,
		.vlan = seen->vlan,
		.dscp = seen->dscp,
	};
	return true;
}

/* ---- answers ------------------------------------------------------------------------------- */

/* Nobody answers from an address of many. */
static bool is_one_station(uint8_t family, const union wire_addr *addr)
{
	if (family == FAMILY_V6)
		return addr->b[0] != 0xff;
	return addr->b[0] && addr->b[0] >> 4 != 0xe && be32toh(addr->w[0]) != UINT32_MAX;
}

bool packet_spec_answer(const struct packet_spec *spec, struct packet_spec *ret_answer)
{
	struct packet_spec answer = *spec;
	bool found = !is_icmp(spec->proto);

	if (spec->ethertype || spec->spi || !is_one_station(spec->family, &spec->dst) ||
	    !is_one_station(spec->family, &spec->src))
		return false;
	answer.src = spec->dst;
	answer.dst = spec->src;
	answer.src_port = spec->dst_port;
	answer.dst_port = spec->src_port;
	for (size_t i = 0; i < sizeof(icmp_answers) / sizeof(icmp_answers[0]); i++)
		if (icmp_answers[i].proto == spec->proto &&
		    icmp_answers[i].type == spec->icmp_type) {
			answer.icmp_type = icmp_answers[i].answer;
			found = true;
		}
	if (found)
		*ret_answer = answer;
	return found;
}
