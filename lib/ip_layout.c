// SPDX-License-Identifier: BSD-2-Clause
#include "ip_layout.h"

#include <netinet/in.h>

#define EXTENSION_HEADERS_MAX 8

static enum drop_reason parse_ipv4(struct ip_layout *layout, uint32_t room)
{
	const uint8_t *ip = layout->ip;
	uint32_t header_len = (ip[0] & 0x0fu) * 4;

	layout->total = load_be16(ip + 2);
	if (header_len < IPV4_HEADER_LEN || layout->total < header_len || layout->total > room)
		return DROP_MALFORMED;
	layout->family = FAMILY_V4;
	layout->upper_off = header_len;
	layout->next_off = 9;
	layout->next = ip[9];
	layout->fragment = (load_be16(ip + 6) & 0x3fff) != 0;	/* more fragments, or an offset */
	return DROP_NONE;
}

static enum drop_reason parse_ipv6(struct ip_layout *layout, uint32_t room)
{
	const uint8_t *ip = layout->ip;

	if (room < IPV6_HEADER_LEN)
		return DROP_MALFORMED;
	layout->total = IPV6_HEADER_LEN + (uint32_t)load_be16(ip + 4);
	if (layout->total > room)
		return DROP_MALFORMED;
	layout->family = FAMILY_V6;
	layout->upper_off = IPV6_HEADER_LEN;
	layout->next_off = 6;
	layout->next = ip[6];
	layout->fragment = false;
	return DROP_NONE;
}

enum drop_reason ip_layout_parse(const struct packet *packet, struct ip_layout *ret_layout)
{
	uint32_t room = packet->len - packet->l2_len;
	uint16_t ethertype;

	if (packet->l2_len < 14 || packet->len < (uint32_t)packet->l2_len + IPV4_HEADER_LEN)
		return DROP_MALFORMED;
	ret_layout->ip = packet->data + packet->l2_len;
	ethertype = load_be16(ret_layout->ip - 2);
	if (ethertype == 0x0800 && ret_layout->ip[0] >> 4 == 4)
		return parse_ipv4(ret_layout, room);
	if (ethertype == 0x86dd && ret_layout->ip[0] >> 4 == 6)
		return parse_ipv6(ret_layout, room);
	return DROP_MALFORMED;
}

/* Steps over one extension header: its first two octets and its whole length must be there. */
static bool step_over(struct ip_layout *layout)
{
	const uint8_t *at = layout->ip + layout->upper_off;
	uint32_t len;

	if (layout->upper_off + 2 > layout->total)
		return false;
	len = (at[1] + 1u) * 8;
	if (len > layout->total - layout->upper_off)
		return false;
	layout->next = at[0];
	layout->next_off = layout->upper_off;
	layout->upper_off += len;
	return true;
}

/* A routing header with segments left: this packet's destination is not its final one. */
static bool on_the_way(const struct ip_layout *layout)
{
	return layout->upper_off + 4 <= layout->total && layout->ip[layout->upper_off + 3] != 0;
}

enum drop_reason ip_layout_find_insertion(struct ip_layout *layout)
{
	struct ip_layout walk = *layout;

	if (layout->family == FAMILY_V4)
		return DROP_NONE;
	for (unsigned int depth = 0; depth <= EXTENSION_HEADERS_MAX; depth++) {
		uint8_t type = walk.next;

		if (type == IPPROTO_FRAGMENT) {
			layout->fragment = true;
			return DROP_NONE;
		}
		if (type != IPPROTO_HOPOPTS && type != IPPROTO_ROUTING && type != IPPROTO_DSTOPTS)
			return DROP_NONE;
		if (type == IPPROTO_ROUTING && on_the_way(&walk))
			return DROP_UNSUPPORTED;
		if (!step_over(&walk))
			return DROP_MALFORMED;
		if (type != IPPROTO_DSTOPTS)
			*layout = walk;
	}
	return DROP_UNSUPPORTED;
}

enum drop_reason ip_layout_find_upper(struct ip_layout *layout)
{
	if (layout->family == FAMILY_V4)
		return DROP_NONE;
	for (unsigned int depth = 0; depth <= EXTENSION_HEADERS_MAX; depth++) {
		switch (layout->next) {
		case IPPROTO_FRAGMENT:
			layout->fragment = true;
			return DROP_NONE;
		case IPPROTO_ROUTING:
			if (on_the_way(layout))
				return DROP_UNSUPPORTED;
			break;
		case IPPROTO_HOPOPTS:
		case IPPROTO_DSTOPTS:
			break;
		default:
			return DROP_NONE;
		}
		if (!step_over(layout))
			return DROP_MALFORMED;
	}
	return DROP_UNSUPPORTED;
}
