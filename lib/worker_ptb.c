// SPDX-License-Identifier: BSD-2-Clause
/*
 * Path MTU discovery for what we send protected. Such a message is not authenticated (RFC 4301 8.2),
 * so it must quote an SPI and a sequence number of ours that was sent lately, which nobody off the
 * path knows; it only ever lowers, not below what every link carries, and for ten minutes.
 */
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "checksum.h"
#include "esp.h"
#include "ip_layout.h"
#include "tcpip.h"
#include "worker_internal.h"

#define ICMP_HEADER_LEN 8
#define ICMP_MTU_V4	6	/* octets from the ICMP header (RFC 1191 section 4) */
#define ICMP_MTU_V6	4	/* RFC 4443 3.2 */
#define MTU_FLOOR_V4	576u	/* RFC 791: what every host takes */
#define MTU_FLOOR_V6	1280u
#define LATELY		65536u	/* packets */

/* The quoted beginning of a packet of ours. */
struct quote {
	struct outer outer;
	uint32_t seq;
	uint32_t total;		/* octets that the packet had */
};

static bool checksum_holds(const struct ip_layout *layout, const uint8_t *icmp, uint32_t len)
{
	uint64_t sum = 0;

	if (layout->family == FAMILY_V6)
		sum = checksum_pseudo(0, FAMILY_V6, layout->ip + IPV6_SRC, layout->ip + IPV6_DST,
				      IPPROTO_ICMPV6, len);
	return checksum_fold(checksum_add(sum, icmp, len)) == 0;
}

static uint32_t read_quoted_ipv4(const uint8_t *ip, uint32_t len, struct quote *quote,
				 uint8_t *ret_next)
{
	uint32_t header;

	if (len < IPV4_HEADER_LEN || ip[0] >> 4 != 4)
		return 0;
	header = (ip[0] & 0x0fu) * 4;
	if (header < IPV4_HEADER_LEN || (load_be16(ip + IPV4_FRAGMENT) & 0x1fff))
		return 0;
	quote->total = load_be16(ip + IPV4_TOTAL_LEN);
	memcpy(&quote->outer.src, ip + IPV4_SRC, 4);
	memcpy(&quote->outer.dst, ip + IPV4_DST, 4);
	*ret_next = ip[IPV4_PROTOCOL];
	return header;
}

static uint32_t read_quoted_ipv6(const uint8_t *ip, uint32_t len, struct quote *quote,
				 uint8_t *ret_next)
{
	uint32_t at = IPV6_HEADER_LEN;
	uint8_t next;

	if (len < IPV6_HEADER_LEN || ip[0] >> 4 != 6)
		return 0;
	quote->total = IPV6_HEADER_LEN + (uint32_t)load_be16(ip + IPV6_PAYLOAD_LEN);
	memcpy(&quote->outer.src, ip + IPV6_SRC, 16);
	memcpy(&quote->outer.dst, ip + IPV6_DST, 16);
	next = ip[IPV6_NEXT_HEADER];
	for (int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		bool fragment = next == IPPROTO_FRAGMENT;

		*ret_next = next;
		if (!fragment && next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_DSTOPTS)
			return at;
		/* Of our fragments, only the first shows what it is part of. */
		if (at + 8 > len || (fragment && (load_be16(ip + at + 2) & 0xfff8)))
			return 0;
		next = ip[at];
		at += fragment ? 8 : (ip[at + 1] + 1u) * 8;
	}
	return 0;
}

/* SPI and sequence number, which eight quoted octets show of ESP, but not of AH or UDP. */
static bool read_quote(const uint8_t *ip, uint32_t len, struct quote *quote)
{
	struct outer *outer = &quote->outer;
	uint8_t next = IPPROTO_NONE;
	uint32_t at;

	/* Where the quoted packet's upper layer begins; 0 if that is not quoted. */
	at = outer->family == FAMILY_V4 ? read_quoted_ipv4(ip, len, quote, &next)
					: read_quoted_ipv6(ip, len, quote, &next);
	outer->proto = next;
	if (!at)
		return false;
	if (next == IPPROTO_UDP) {
		if (at + UDP_HEADER_LEN > len)
			return false;
		memcpy(&outer->sport, ip + at, 2);
		memcpy(&outer->dport, ip + at + 2, 2);
		outer->proto = IPPROTO_ESP;
		at += UDP_HEADER_LEN;
	} else if (next == IPPROTO_AH) {
		at += 4;
	} else if (next != IPPROTO_ESP) {
		return false;
	}
	if (at + ESP_HEADER_LEN > len)
		return false;
	memcpy(&outer->spi, ip + at, 4);
	quote->seq = load_be32(ip + at + 4);
	return true;
}

static uint32_t reported_mtu(const struct ip_layout *layout, const uint8_t *icmp,
			     const struct quote *quote)
{
	static const uint32_t plateaus[] = { 4352, 2002, 1492, 1006, 0 }; /* RFC 1191 section 7 */
	uint32_t mtu;

	if (layout->family == FAMILY_V6) {
		mtu = load_be32(icmp + ICMP_MTU_V6);
		return mtu < MTU_FLOOR_V6 ? MTU_FLOOR_V6 : mtu;
	}
	mtu = load_be16(icmp + ICMP_MTU_V4);
	/* A router that is older than RFC 1191 does not say: the next smaller common size. */
	for (int i = 0; !mtu && plateaus[i]; i++)
		if (plateaus[i] < quote->total)
			mtu = plateaus[i];
	return mtu < MTU_FLOOR_V4 ? MTU_FLOOR_V4 : mtu;
}

static bool is_too_big(const struct ip_layout *layout, const uint8_t *icmp)
{
	if (layout->family == FAMILY_V4)
		return icmp[0] == ICMP_DEST_UNREACH && icmp[1] == ICMP_FRAG_NEEDED;
	return icmp[0] == ICMP6_PACKET_TOO_BIG;
}

/* Did we send this, and not long ago? The quote has the lower half of a number; 0 is none. */
static bool sent_lately(const struct worker_sa *sa, const struct quote *quote)
{
	uint64_t next = __atomic_load_n(&sa->sa.state->seq_next, __ATOMIC_RELAXED);
	uint32_t ago = (uint32_t)next - 1 - quote->seq;

	/* Not the source port: NAT may have changed it. */
	return !memcmp(&sa->sa.src, &quote->outer.src, sizeof(quote->outer.src)) &&
	       ago < LATELY && ago + 1 < next;
}

static void learn(struct worker *worker, struct worker_sa *sa, uint32_t mtu)
{
	struct sa_state *state = sa->sa.state;

	if (mtu >= worker_sas_mtu(&worker->sas, sa, worker->now_ns))
		return;
	state->path_mtu_ns = worker->now_ns;
	__atomic_store_n(&state->path_mtu, mtu, __ATOMIC_RELEASE);
	worker->stats->ptb_accepted++;
}

enum drop_reason worker_ptb(struct worker *worker, const struct packet *packet)
{
	struct ip_layout layout;
	struct quote quote = { 0 };
	struct worker_sa *sa;
	const uint8_t *icmp;
	uint32_t len;

	if (ip_layout_parse(packet, &layout) != DROP_NONE ||
	    ip_layout_find_upper(&layout) != DROP_NONE)
		return DROP_MALFORMED;
	icmp = layout.ip + layout.upper_off;
	len = layout.total - layout.upper_off;
	if (len < ICMP_HEADER_LEN || !is_too_big(&layout, icmp) ||
	    !checksum_holds(&layout, icmp, len))
		return DROP_PTB_REFUSED;
	quote.outer.family = layout.family;
	if (!read_quote(icmp + ICMP_HEADER_LEN, len - ICMP_HEADER_LEN, &quote))
		return DROP_PTB_REFUSED;
	sa = worker_sas_find(&worker->sas, &quote.outer, SPD_OUT);
	/* One that lies within another SA never meets the routers of the path. */
	if (!sa || sa->sa.within_id || !sent_lately(sa, &quote))
		return DROP_PTB_REFUSED;
	learn(worker, sa, reported_mtu(&layout, icmp, &quote));
	return DROP_NONE;
}
