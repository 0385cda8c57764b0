// SPDX-License-Identifier: BSD-2-Clause
#include "reassembly_piece.h"

#include <netinet/in.h>

#include "bytes.h"
#include "checksum.h"

#define IPV4_OFFSET 0x1fff
#define IPV4_MORE 0x2000
#define IPV6_FRAGMENT_LEN 8
#define IPV6_OFFSET 0xfff8
#define IPV6_MORE 0x0001
#define VLAN_ID 0x0fff

static bool parse_vlans(const struct packet *packet, struct reassembly_key *key)
{
	uint32_t tags = (packet->l2_len - ETHERNET_LEN) / VLAN_TAG_LEN;

	if (packet->l2_len > FRAGMENT_L2_MAX || (packet->l2_len - ETHERNET_LEN) % VLAN_TAG_LEN)
		return false;
	for (uint32_t i = 0; i < tags; i++) {
		const uint8_t *tag = packet->data + ETHERNET_TYPE + i * VLAN_TAG_LEN;

		/* The priority may differ from fragment to fragment. */
		key->vlans[i] = (uint16_t)((load_be16(tag + 2) & VLAN_ID) + 1);
	}
	return true;
}

static enum drop_reason parse_ipv4(const struct ip_layout *layout, struct reassembly_piece *piece)
{
	const uint8_t *ip = layout->ip;
	uint16_t fragment = load_be16(ip + IPV4_FRAGMENT);

	/* A new checksum is made in the end: it must not hide that one of these was wrong. */
	if (!layout->fragment || checksum_fold(checksum_add(0, ip, layout->upper_off)))
		return DROP_MALFORMED;
	memcpy(piece->key.src, ip + IPV4_SRC, 4);
	memcpy(piece->key.dst, ip + IPV4_DST, 4);
	piece->key.id = load_be16(ip + IPV4_ID);
	piece->key.protocol = ip[IPV4_PROTOCOL];
	piece->ecn = ip[IPV4_TOS] & IP_ECN_MASK;
	piece->off = (fragment & IPV4_OFFSET) * FRAGMENT_UNIT;
	piece->more = fragment & IPV4_MORE;
	piece->header_len = layout->upper_off;
	piece->data = layout->ip + layout->upper_off;
	piece->len = layout->total - layout->upper_off;
	return DROP_NONE;
}

static enum drop_reason parse_ipv6(struct ip_layout *layout, struct reassembly_piece *piece)
{
	const uint8_t *ip = layout->ip, *header;
	enum drop_reason reason = ip_layout_find_upper(layout);

	if (reason != DROP_NONE)
		return reason;
	if (!layout->fragment || layout->total - layout->upper_off < IPV6_FRAGMENT_LEN)
		return DROP_MALFORMED;
	header = ip + layout->upper_off;
	if (header[0] == IPPROTO_FRAGMENT)
		return DROP_MALFORMED;
	if (layout->upper_off > FRAGMENT_HEADERS_MAX)
		return DROP_UNSUPPORTED;
	memcpy(piece->key.src, ip + IPV6_SRC, 16);
	memcpy(piece->key.dst, ip + IPV6_DST, 16);
	piece->key.id = load_be32(header + 4);
	piece->ecn = ip[1] >> 4 & IP_ECN_MASK;
	piece->next = header[0];
	piece->next_off = layout->next_off;
	piece->off = load_be16(header + 2) & IPV6_OFFSET;
	piece->more = load_be16(header + 2) & IPV6_MORE;
	piece->header_len = layout->upper_off;
	piece->data = layout->ip + layout->upper_off + IPV6_FRAGMENT_LEN;
	piece->len = layout->total - layout->upper_off - IPV6_FRAGMENT_LEN;
	return DROP_NONE;
}

/* What must be there of an upper layer's header at the least. */
static uint32_t upper_min(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return TCP_LEN;
	case IPPROTO_AH:
		return 12;
	case IPPROTO_UDP:
	case IPPROTO_ESP:
		return 8;
	case IPPROTO_ICMPV6:
		return 4;
	default:
		return 0;
	}
}

/* RFC 7112: all headers up to the upper layer's are in the first fragment. */
static enum drop_reason check_chain(const struct reassembly_piece *piece)
{
	struct ip_layout walk = {
		.ip = piece->data, .total = piece->len, .next = piece->next, .family = FAMILY_V6,
	};
	enum drop_reason reason = ip_layout_find_upper(&walk);

	if (walk.fragment)
		return DROP_MALFORMED;
	if (reason == DROP_MALFORMED)
		return DROP_REASSEMBLY;		/* cut off */
	if (reason == DROP_NONE && walk.total - walk.upper_off < upper_min(walk.next))
		return DROP_REASSEMBLY;
	return reason;
}

enum drop_reason reassembly_piece_parse(const struct packet *fragment, uint32_t scope,
					struct reassembly_piece *piece)
{
	struct ip_layout layout;
	enum drop_reason reason = ip_layout_parse(fragment, &layout);

	*piece = (struct reassembly_piece){ .packet = fragment };
	if (reason != DROP_NONE)
		return reason;
	if (!parse_vlans(fragment, &piece->key))
		return DROP_MALFORMED;
	piece->key.scope = scope;
	piece->key.family = layout.family;
	reason = layout.family == FAMILY_V4 ? parse_ipv4(&layout, piece) :
					      parse_ipv6(&layout, piece);
	piece->end = piece->off + piece->len;
	return reason;
}

enum drop_reason reassembly_piece_check(const struct reassembly_piece *piece)
{
	if ((!piece->len && (piece->off || piece->more)) ||
	    piece->header_len + piece->end > reassembly_piece_max(piece) ||
	    (piece->more && piece->len % FRAGMENT_UNIT))
		return DROP_REASSEMBLY;
	if (piece->key.family == FAMILY_V6 && !piece->off)
		return check_chain(piece);
	return DROP_NONE;
}
