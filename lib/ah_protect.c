// SPDX-License-Identifier: BSD-2-Clause
/*
 * Outbound AH (RFC 4302 3.3). Every packet of a burst is first validated, then numbered and laid
 * out; one engine call computes all ICVs. The payload never moves: headers go left into the
 * headroom.
 *
 *   transport  [l2][ip .. upper_off][AH][payload            ]
 *   tunnel     [l2][outer ip       ][AH][ip whole, as it was]
 */
#include <netinet/in.h>
#include <string.h>

#include "ah.h"
#include "ah_icv.h"
#include "outer.h"
#include "payload.h"
#include "sequence.h"

/* What ipsec-mb authenticates at once, 65,534 octets, less the upper half of the number. */
#define AH_TOTAL_MAX 65530

/* What validation found out about one packet. */
struct plan {
	struct ip_layout layout;	/* of the clear packet */
	uint32_t kept;			/* octets of IP headers that stay in front of AH */
	uint32_t front;			/* octets that go in behind those */
	uint8_t next_header;
};

static enum drop_reason plan_transport(const struct sa_runtime *sa, struct plan *plan)
{
	enum drop_reason reason = payload_find_transport(sa, &plan->layout);

	if (reason == DROP_NONE)
		reason = ah_icv_check(&plan->layout);
	plan->kept = plan->layout.upper_off;
	plan->front = ah_length(sa);
	plan->next_header = plan->layout.next;
	return reason;
}

static void plan_tunnel(const struct sa_runtime *sa, struct plan *plan)
{
	plan->kept = 0;
	plan->front = outer_length(sa) + ah_length(sa);
	plan->next_header = plan->layout.family == FAMILY_V4 ? IPPROTO_IPIP : IPPROTO_IPV6;
}

/* Changes nothing: a packet refused here has used up no sequence number. */
static enum drop_reason plan_packet(const struct sa_runtime *sa, const struct packet *packet,
				    struct plan *plan)
{
	enum drop_reason reason = ip_layout_parse(packet, &plan->layout);

	if (reason != DROP_NONE)
		return reason;
	if (sa->tunnel)
		plan_tunnel(sa, plan);
	else
		reason = plan_transport(sa, plan);
	if (reason != DROP_NONE)
		return reason;
	if (plan->layout.total + plan->front > AH_TOTAL_MAX)
		return DROP_TOO_BIG;
	if (packet->headroom < plan->front || !ah_icv_room(packet, plan->layout.total))
		return DROP_NO_BUFFER;
	return DROP_NONE;
}

/* Moves the headers, writes the outer one, and says where things are then. */
static void lay_out(const struct sa_runtime *sa, struct packet *packet, const struct plan *plan,
		    struct ip_layout *ret_layout)
{
	uint8_t *start = packet->data - plan->front, *ip = start + packet->l2_len;
	uint32_t room = packet->len + packet->tailroom;
	const struct outer_fields fields = {
		.inner = &plan->layout,
		.total = plan->layout.total + plan->front,
		.next = IPPROTO_AH,
		.seq = packet->seq,
	};

	memmove(start, packet->data, packet->l2_len + plan->kept);
	if (sa->tunnel)
		outer_write(sa, &fields, ip);
	else
		ip_set_length_and_next(ip, &plan->layout, fields.total, IPPROTO_AH);
	packet->tailroom = (uint16_t)(room - packet->l2_len - plan->layout.total);
	packet->headroom -= (uint16_t)plan->front;
	packet->data = start;
	packet->len = packet->l2_len + fields.total;
	packet->family = sa->family;
	*ret_layout = (struct ip_layout){ .ip = ip, .total = fields.total, .family = sa->family };
	ret_layout->upper_off = plan->kept + plan->front - ah_length(sa);
}

/* Reserved field, ICV and padding are zero. */
static void write_ah(const struct sa_runtime *sa, uint64_t seq, uint8_t next_header, uint8_t *ah)
{
	uint32_t len = ah_length(sa);

	memset(ah, 0, len);
	ah[0] = next_header;
	ah[1] = (uint8_t)(len / 4 - 2);
	memcpy(ah + 4, &sa->spi, 4);
	store_be32(ah + 8, (uint32_t)seq);
}

static void finish_burst(struct sa_runtime *sa, struct ah_burst *burst)
{
	if (burst->count)
		sa->engine->seal(sa->key, burst->ops, burst->count);
	for (unsigned int i = 0; i < burst->count; i++) {
		const struct ip_layout *layout = &burst->layout[i];

		if (burst->ops[i].err) {
			packet_drop(burst->packets[i], DROP_INTERNAL);
			continue;
		}
		ah_icv_restore(burst, i);
		memcpy(layout->ip + layout->upper_off + AH_HEADER_LEN, burst->icv[i],
		       sa->suite->icv_len);
		burst->packets[i]->state = PACKET_PROTECTED;
		sa->state->packets++;
		sa->state->bytes += burst->inner_len[i];
	}
	ah_burst_reset(burst);
}

static void protect_one(struct sa_runtime *sa, struct packet *packet, struct ah_burst *burst)
{
	struct ip_layout layout;
	enum drop_reason reason;
	struct plan plan;

	reason = plan_packet(sa, packet, &plan);
	if (reason == DROP_NONE &&
	    !sa_within_limits(sa, burst->count, burst->inner_sum, plan.layout.total))
		reason = DROP_LIFETIME;
	if (reason == DROP_NONE)
		reason = sequence_take(sa, &packet->seq);
	if (reason != DROP_NONE) {
		packet_drop(packet, reason);
		return;
	}
	lay_out(sa, packet, &plan, &layout);
	write_ah(sa, packet->seq, plan.next_header, layout.ip + layout.upper_off);
	if (!ah_icv_fits(burst, &layout))
		finish_burst(sa, burst);
	burst->inner_len[burst->count] = plan.layout.total;
	burst->inner_sum += plan.layout.total;
	ah_icv_add(sa, burst, packet, &layout);
}

void ah_protect(struct sa_runtime *sa, struct packet **packets, unsigned int count)
{
	struct ah_burst burst;

	ah_burst_reset(&burst);
	for (unsigned int i = 0; i < count; i++)
		if (packets[i]->state == PACKET_CLEAR)
			protect_one(sa, packets[i], &burst);
	finish_burst(sa, &burst);
}
