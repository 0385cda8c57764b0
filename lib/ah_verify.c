// SPDX-License-Identifier: BSD-2-Clause
/*
 * Inbound AH (RFC 4302 3.4). Per packet: length, options, replay check; then one engine call
 * verifies the burst; then per packet in order of arrival: ICV, replay commit, limits, inner
 * packet. Nothing that did not pass the ICV changes the SA's window.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "ah.h"
#include "ah_icv.h"
#include "payload.h"

static uint32_t header_length(const uint8_t *ah)
{
	return (ah[1] + 2u) * 4;
}

/* As long as its ICV and the padding ask for; in IPv4 also with padding to 8 octets. */
static bool length_holds(const struct sa_runtime *sa, uint32_t ah_len)
{
	uint32_t least = ah_length(sa);

	return ah_len == least || ah_len == ((least + 7) & -8u);
}

static enum drop_reason find_ah(const struct sa_runtime *sa, const struct packet *packet,
				struct ip_layout *layout)
{
	enum drop_reason reason;
	uint32_t len, ah_len;

	reason = ip_layout_parse(packet, layout);
	if (reason == DROP_NONE)
		reason = ip_layout_find_upper(layout);
	if (reason != DROP_NONE)
		return reason;
	if (layout->fragment)
		return DROP_ESP_FRAGMENT;
	if (layout->next != IPPROTO_AH || layout->family != sa->family)
		return DROP_MALFORMED;
	len = layout->total - layout->upper_off;
	if (len < ah_length(sa))
		return DROP_MALFORMED;
	ah_len = header_length(layout->ip + layout->upper_off);
	if (!length_holds(sa, ah_len) || len < ah_len)
		return DROP_MALFORMED;
	if (!ah_icv_room(packet, layout->total))
		return DROP_NO_BUFFER;
	return ah_icv_check(layout);
}

static enum drop_reason finish_packet(struct sa_runtime *sa, struct packet *packet,
				      const struct ip_layout *layout, int err)
{
	uint8_t *ah = layout->ip + layout->upper_off;
	uint32_t around = layout->upper_off + header_length(ah);
	const struct payload payload = {
		.start = layout->ip + around,
		.len = layout->total - around,
		.next = ah[0],
	};
	enum drop_reason reason;

	if (err == -EBADMSG) {
		sa->state->icv_failed++;
		return DROP_ICV;
	}
	if (err)
		return DROP_INTERNAL;
	reason = replay_commit(sa->state, &sa->replay, packet->seq);
	if (reason != DROP_NONE) {
		sa->state->replayed++;
		return reason;
	}
	if (!sa_within_limits(sa, 0, 0, payload.len + (sa->tunnel ? 0 : layout->upper_off)))
		return DROP_LIFETIME;
	return payload_deliver(sa, packet, layout, &payload);
}

static void finish_burst(struct sa_runtime *sa, struct ah_burst *burst)
{
	if (burst->count)
		sa->engine->open(sa->key, burst->ops, burst->count);
	for (unsigned int i = 0; i < burst->count; i++) {
		struct packet *packet = burst->packets[i];
		enum drop_reason reason;

		ah_icv_restore(burst, i);
		reason = finish_packet(sa, packet, &burst->layout[i], burst->ops[i].err);
		if (reason != DROP_NONE) {
			packet_drop(packet, reason);
			continue;
		}
		packet->state = PACKET_VERIFIED;
		packet->family = packet->inner_family;
		sa->state->packets++;
		sa->state->bytes += packet->len - packet->l2_len;
	}
	ah_burst_reset(burst);
}

static void verify_one(struct sa_runtime *sa, struct packet *packet, struct ah_burst *burst)
{
	struct ip_layout layout;
	enum drop_reason reason;

	reason = find_ah(sa, packet, &layout);
	if (reason != DROP_NONE) {
		packet_drop(packet, reason);
		return;
	}
	if (!ah_icv_fits(burst, &layout))
		finish_burst(sa, burst);
	reason = replay_check(sa->state, &sa->replay, load_be32(layout.ip + layout.upper_off + 8),
			      &packet->seq);
	if (reason != DROP_NONE) {
		sa->state->replayed++;
		packet_drop(packet, reason);
		return;
	}
	ah_icv_add(sa, burst, packet, &layout);
}

void ah_verify(struct sa_runtime *sa, struct packet **packets, unsigned int count)
{
	struct ah_burst burst;

	ah_burst_reset(&burst);
	for (unsigned int i = 0; i < count; i++)
		if (packets[i]->state == PACKET_PROTECTED)
			verify_one(sa, packets[i], &burst);
	finish_burst(sa, &burst);
}
