// SPDX-License-Identifier: BSD-2-Clause
#include "fragment.h"

#include <netinet/in.h>

#include "bytes.h"
#include "checksum.h"
#include "ip_layout.h"
#include "tcpip.h"

#define UNIT 8			/* fragment offsets count these */
#define IPV4_OFFSET 0x1fff
#define IPV4_MORE 0x2000
#define IPV6_FRAGMENT_LEN 8
#define IPV6_MORE 0x0001

/* RFC 791 3.1 */
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_COPIED 0x80

/*
 * Copies the options that belong into every fragment (RFC 791 3.1, copied flag) to `out`, unless
 * that is NULL, padded to four octets. Returns their octets, or -1 if an option's length lies.
 */
static int copy_options(const uint8_t *ip, uint32_t header_len, uint8_t *out)
{
	uint32_t at = IPV4_LEN, copied = 0;

	while (at < header_len && ip[at] != OPTION_END) {
		uint32_t len = 1;

		if (ip[at] != OPTION_NOP) {
			if (at + 2 > header_len)
				return -1;
			len = ip[at + 1];
			if (len < 2 || len > header_len - at)
				return -1;
		}
		if (ip[at] & OPTION_COPIED) {
			if (out)
				memcpy(out + copied, ip + at, len);
			copied += len;
		}
		at += len;
	}
	while (copied % 4) {
		if (out)
			out[copied] = OPTION_END;
		copied++;
	}
	return (int)copied;
}

static enum drop_reason start_ipv4(struct fragment_iter *iter, const struct ip_layout *layout)
{
	uint16_t fragment = load_be16(layout->ip + IPV4_FRAGMENT);
	int options;

	if (fragment & IPV4_DF)
		return DROP_TOO_BIG;
	if ((fragment & IPV4_OFFSET) * UNIT + layout->total > UINT16_MAX ||
	    (fragment & IPV4_MORE && (layout->total - layout->upper_off) % UNIT))
		return DROP_MALFORMED;
	options = copy_options(layout->ip, layout->upper_off, NULL);
	if (options < 0)
		return DROP_MALFORMED;
	iter->header_len = IPV4_LEN + (uint32_t)options;
	iter->first_header_len = layout->upper_off;
	return DROP_NONE;
}

static enum drop_reason start_ipv6(struct fragment_iter *iter, struct ip_layout *layout)
{
	enum drop_reason reason = ip_layout_find_insertion(layout);

	if (reason != DROP_NONE)
		return reason;
	if (layout->fragment)
		return DROP_MALFORMED;
	iter->next_off = layout->next_off;
	iter->header_len = layout->upper_off + IPV6_FRAGMENT_LEN;
	iter->first_header_len = iter->header_len;
	return DROP_NONE;
}

enum drop_reason fragment_start(struct fragment_iter *iter, const struct packet *packet,
				uint32_t mtu, uint32_t id)
{
	struct ip_layout layout;
	enum drop_reason reason;

	*iter = (struct fragment_iter){ .packet = packet, .mtu = mtu, .id = id };
	reason = ip_layout_parse(packet, &layout);
	if (reason != DROP_NONE)
		return reason;
	iter->family = layout.family;
	if (layout.total <= mtu) {
		iter->whole = true;
	} else {
		reason = layout.family == FAMILY_V4 ? start_ipv4(iter, &layout) :
						      start_ipv6(iter, &layout);
		if (reason != DROP_NONE)
			return reason;
		/* The first header is the longest. */
		if (iter->first_header_len + UNIT > mtu)
			return DROP_TOO_BIG;
	}
	iter->part_off = layout.upper_off;
	iter->end = layout.total - layout.upper_off;
	return DROP_NONE;
}

/* Octets of header and of payload in the next fragment. */
static void next_size(const struct fragment_iter *iter, uint32_t *ret_header, uint32_t *ret_payload)
{
	uint32_t left = iter->end - iter->next;

	if (iter->whole) {
		*ret_header = iter->part_off;
		*ret_payload = left;
		return;
	}
	*ret_header = iter->next ? iter->header_len : iter->first_header_len;
	*ret_payload = iter->mtu - *ret_header;
	if (left <= *ret_payload)
		*ret_payload = left;
	else
		*ret_payload -= *ret_payload % UNIT;
}

static void emit_ipv4(const struct fragment_iter *iter, uint8_t *ip, uint32_t header_len,
		      uint32_t payload)
{
	const uint8_t *from = iter->packet->data + iter->packet->l2_len;
	uint16_t fragment = load_be16(from + IPV4_FRAGMENT);

	if (iter->next) {
		memcpy(ip, from, IPV4_LEN);
		copy_options(from, iter->part_off, ip + IPV4_LEN);
	} else {
		memcpy(ip, from, header_len);
	}
	ip[IPV4_VERSION_IHL] = (uint8_t)(0x40 | header_len / 4);
	fragment = (uint16_t)(fragment + iter->next / UNIT);
	if (iter->next + payload < iter->end)
		fragment |= IPV4_MORE;
	store_be16(ip + IPV4_FRAGMENT, fragment);
	store_be16(ip + IPV4_TOTAL_LEN, (uint16_t)(header_len + payload));
	checksum_ipv4(ip, header_len);
}

static void emit_ipv6(const struct fragment_iter *iter, uint8_t *ip, uint32_t payload)
{
	const uint8_t *from = iter->packet->data + iter->packet->l2_len;
	uint8_t *header = ip + iter->part_off;
	bool more = iter->next + payload < iter->end;

	memcpy(ip, from, iter->part_off);
	header[0] = ip[iter->next_off];
	header[1] = 0;
	store_be16(header + 2, (uint16_t)(iter->next | (more ? IPV6_MORE : 0)));
	store_be32(header + 4, iter->id);
	ip[iter->next_off] = IPPROTO_FRAGMENT;
	store_be16(ip + IPV6_PAYLOAD_LEN, (uint16_t)(iter->header_len - IPV6_LEN + payload));
}

/* The headers and the payload of one fragment: there is room for it. */
static void emit(const struct fragment_iter *iter, uint8_t *out, uint32_t header_len,
		 uint32_t payload)
{
	const struct packet *packet = iter->packet;
	const uint8_t *from = packet->data + packet->l2_len;

	memcpy(out, packet->data, packet->l2_len);
	out += packet->l2_len;
	if (iter->whole)
		memcpy(out, from, header_len);
	else if (iter->family == FAMILY_V4)
		emit_ipv4(iter, out, header_len, payload);
	else
		emit_ipv6(iter, out, payload);
	memcpy(out + header_len, from + iter->part_off + iter->next, payload);
}

bool fragment_next(struct fragment_iter *iter, struct packet *out, uint32_t room)
{
	uint32_t header_len, payload, len;

	if (iter->done)
		return false;
	next_size(iter, &header_len, &payload);
	len = iter->packet->l2_len + header_len + payload;
	out->l2_len = iter->packet->l2_len;
	out->family = iter->family;
	out->inner_family = iter->packet->inner_family;
	out->state = iter->packet->state;
	out->drop = DROP_NONE;
	if (len > room) {
		iter->done = true;
		out->len = 0;
		packet_drop(out, DROP_NO_BUFFER);
		return true;
	}
	emit(iter, out->data, header_len, payload);
	out->len = len;
	iter->next += payload;
	iter->done = iter->next >= iter->end;
	return true;
}

uint32_t fragment_left(const struct fragment_iter *iter)
{
	struct fragment_iter ahead = *iter;
	uint32_t count = 0;

	while (!ahead.done) {
		uint32_t header, payload;

		next_size(&ahead, &header, &payload);
		ahead.next += payload;
		ahead.done = ahead.next >= ahead.end;
		count++;
	}
	return count;
}
