// SPDX-License-Identifier: BSD-2-Clause
#include "payload.h"

#include <netinet/in.h>
#include <string.h>

#include "outer.h"

/* Transport mode protects traffic between the SA's own two addresses only. */
static bool addresses_match(const struct sa_runtime *sa, const struct ip_layout *layout)
{
	if (layout->family != sa->family)
		return false;
	if (layout->family == FAMILY_V4)
		return !memcmp(layout->ip + 12, sa->src.b, 4) &&
		       !memcmp(layout->ip + 16, sa->dst.b, 4);
	return !memcmp(layout->ip + 8, sa->src.b, 16) && !memcmp(layout->ip + 24, sa->dst.b, 16);
}

enum drop_reason payload_find_transport(const struct sa_runtime *sa, struct ip_layout *layout)
{
	enum drop_reason reason = ip_layout_find_insertion(layout);

	if (reason != DROP_NONE)
		return reason;
	if (layout->fragment)
		return DROP_FRAGMENT_TRANSPORT;
	return addresses_match(sa, layout) ? DROP_NONE : DROP_SA_SELECTOR;
}

/* Cuts the packet to its payload and moves the headers that stay (moved octets) against it. */
static void close_up(struct packet *packet, const struct payload *payload, uint32_t moved)
{
	uint8_t *start = payload->start - moved;
	uint32_t room = packet->len + packet->tailroom;
	uint32_t shift = (uint32_t)(start - packet->data);

	memmove(start, packet->data, moved);
	packet->data = start;
	packet->headroom += (uint16_t)shift;
	packet->len = moved + payload->len;
	packet->tailroom = (uint16_t)(room - shift - packet->len);
}

static enum drop_reason deliver_transport(struct packet *packet, const struct ip_layout *layout,
					  const struct payload *payload)
{
	close_up(packet, payload, packet->l2_len + layout->upper_off);
	ip_set_length_and_next(packet->data + packet->l2_len, layout,
			       layout->upper_off + payload->len, payload->next);
	packet->inner_family = layout->family;
	return DROP_NONE;
}

/* The inner packet must be exactly what its header says; any length beyond is TFC padding. */
static enum drop_reason deliver_tunnel(struct packet *packet, const struct ip_layout *layout,
				       const struct payload *payload)
{
	uint8_t tos = outer_traffic_class(layout);
	struct ip_layout inner;
	enum drop_reason reason;

	if (payload->next != IPPROTO_IPIP && payload->next != IPPROTO_IPV6)
		return DROP_SA_SELECTOR;
	close_up(packet, payload, packet->l2_len);
	store_be16(packet->data + packet->l2_len - 2,
		   payload->next == IPPROTO_IPIP ? 0x0800 : 0x86dd);
	reason = ip_layout_parse(packet, &inner);
	if (reason != DROP_NONE)
		return reason;
	packet->tailroom += (uint16_t)(payload->len - inner.total);
	packet->len = packet->l2_len + inner.total;
	packet->inner_family = inner.family;
	return outer_merge_ecn(&inner, tos);
}

enum drop_reason payload_deliver(const struct sa_runtime *sa, struct packet *packet,
				 const struct ip_layout *layout, const struct payload *payload)
{
	if (sa->tunnel)
		return deliver_tunnel(packet, layout, payload);
	return deliver_transport(packet, layout, payload);
}
