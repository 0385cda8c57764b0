// SPDX-License-Identifier: BSD-2-Clause
/*
 * Inbound ESP (RFC 4303 3.4). Per packet: length, replay check; then one engine call opens the
 * burst; then per packet in order of arrival: ICV, replay commit, lifetime, padding, next header,
 * inner addresses. Nothing that did not pass the ICV changes the SA's window.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "esp.h"
#include "ip_layout.h"
#include "payload.h"

struct decap_burst {
	struct crypto_op ops[BURST];
	struct packet *packets[BURST];
	struct ip_layout layout[BURST];
	uint8_t aad[BURST][12];
	unsigned int count;
};

/* RFC 3948 2.1. SPI 0 is the non-ESP marker: that is IKE, never ours (section 2.2). */
static enum drop_reason check_udp(const struct ip_layout *layout)
{
	const uint8_t *udp = layout->ip + layout->upper_off;
	uint32_t len = layout->total - layout->upper_off;

	if (len < UDP_HEADER_LEN || load_be16(udp + 4) != len)
		return DROP_UDP_ENCAP;
	if (len < UDP_HEADER_LEN + ESP_HEADER_LEN || load_be32(udp + UDP_HEADER_LEN) == 0)
		return DROP_MALFORMED;
	return DROP_NONE;
}

/* layout->upper_off becomes where ESP, or UDP around it, stands. */
static enum drop_reason find_esp(const struct sa_runtime *sa, const struct packet *packet,
				 struct ip_layout *layout)
{
	const struct esp_suite *suite = sa->suite;
	uint32_t align = suite->block > 4 ? suite->block : 4;
	uint32_t around = ESP_HEADER_LEN + suite->iv_len + suite->icv_len;
	enum drop_reason reason;
	uint32_t len;

	reason = ip_layout_parse(packet, layout);
	if (reason == DROP_NONE)
		reason = ip_layout_find_upper(layout);
	if (reason != DROP_NONE)
		return reason;
	if (layout->fragment)
		return DROP_ESP_FRAGMENT;
	if (layout->family != sa->family ||
	    layout->next != (sa->encap_dport ? IPPROTO_UDP : IPPROTO_ESP))
		return DROP_MALFORMED;
	if (sa->encap_dport)
		reason = check_udp(layout);
	if (reason != DROP_NONE)
		return reason;
	len = layout->total - layout->upper_off - esp_udp_length(sa);
	/* The trailer ends on a word boundary and CBC works on whole blocks (RFC 4303 2.4). */
	if (len < around + align || (len - around) % align)
		return DROP_MALFORMED;
	return DROP_NONE;
}

/* What the ICV covers besides the packet (RFC 4106 section 5; RFC 4303 2.2.1). */
static void write_aad(const struct sa_runtime *sa, uint64_t seq, uint8_t aad[12],
		      struct crypto_op *op)
{
	memcpy(aad, &sa->spi, 4);
	if (sa->esn) {
		store_be32(aad + 4, (uint32_t)(seq >> 32));
		store_be32(aad + 8, (uint32_t)seq);
	} else {
		store_be32(aad + 4, (uint32_t)seq);
	}
	op->aad = aad;
	op->aad_len = sa->esn ? 12 : 8;
	store_be32(op->esn_hi, (uint32_t)(seq >> 32));
	op->esn_hi_len = sa->esn ? 4 : 0;
}

static void decap_start(struct sa_runtime *sa, struct packet *packet, struct decap_burst *burst)
{
	struct ip_layout *layout = &burst->layout[burst->count];
	struct crypto_op *op = &burst->ops[burst->count];
	const struct esp_suite *suite = sa->suite;
	enum drop_reason reason;
	uint8_t *esp;

	reason = find_esp(sa, packet, layout);
	if (reason != DROP_NONE) {
		packet_drop(packet, reason);
		return;
	}
	esp = layout->ip + layout->upper_off + esp_udp_length(sa);
	reason = replay_check(sa->state, &sa->replay, load_be32(esp + 4), &packet->seq);
	if (reason != DROP_NONE) {
		sa->state->replayed++;
		packet_drop(packet, reason);
		return;
	}
	op->iv = esp + ESP_HEADER_LEN;
	op->data = esp + ESP_HEADER_LEN + suite->iv_len;
	op->icv = layout->ip + layout->total - suite->icv_len;
	op->len = (uint32_t)(op->icv - op->data);
	op->auth = esp;
	op->auth_len = (uint32_t)(op->icv - esp);
	op->err = -EIO;		/* unless the engine says otherwise */
	write_aad(sa, packet->seq, burst->aad[burst->count], op);
	burst->packets[burst->count++] = packet;
}

/*
 * Octets of the inner packet by its authenticated trailer, before anything else of it is looked at.
 * A trailer that lies is found next; TFC padding (RFC 4303 2.7) wears the SA out too.
 */
static uint32_t inner_length(const struct sa_runtime *sa, const struct ip_layout *layout,
			     const struct crypto_op *op)
{
	uint32_t len = op->len - ESP_TRAILER_LEN, pad_len = op->data[len];

	if (pad_len <= len)
		len -= pad_len;
	return sa->tunnel ? len : layout->upper_off + len;
}

/* Padding must be 1, 2, 3, ... and lie inside (RFC 4303 2.4); *ret_len is what it leaves. */
static bool padding_holds(const struct crypto_op *op, uint32_t *ret_len)
{
	uint32_t pad_len = op->data[op->len - 2], end = op->len - ESP_TRAILER_LEN;
	const uint8_t *pad;

	if (pad_len > end)
		return false;
	pad = op->data + end - pad_len;
	for (uint32_t i = 0; i < pad_len; i++)
		if (pad[i] != i + 1)
			return false;
	*ret_len = end - pad_len;
	return true;
}

static enum drop_reason decap_finish(struct sa_runtime *sa, struct packet *packet,
				     const struct ip_layout *layout, const struct crypto_op *op)
{
	struct payload payload = { .start = op->data };
	enum drop_reason reason;

	if (op->err == -EBADMSG) {
		sa->state->icv_failed++;
		return DROP_ICV;
	}
	if (op->err)
		return DROP_INTERNAL;
	reason = replay_commit(sa->state, &sa->replay, packet->seq);
	if (reason != DROP_NONE) {
		sa->state->replayed++;
		return reason;
	}
	if (!sa_within_limits(sa, 0, 0, inner_length(sa, layout, op)))
		return DROP_LIFETIME;
	if (!padding_holds(op, &payload.len))
		return DROP_PADDING;
	payload.next = op->data[op->len - 1];
	if (payload.next == IPPROTO_NONE)
		return DROP_DUMMY_NEXT_HEADER;
	return payload_deliver(sa, packet, layout, &payload);
}

static void decap_burst(struct sa_runtime *sa, struct packet **packets, unsigned int count)
{
	struct decap_burst burst;
	enum drop_reason reason;

	burst.count = 0;
	for (unsigned int i = 0; i < count; i++)
		if (packets[i]->state == PACKET_PROTECTED)
			decap_start(sa, packets[i], &burst);
	if (!burst.count)
		return;
	sa->engine->open(sa->key, burst.ops, burst.count);
	for (unsigned int i = 0; i < burst.count; i++) {
		struct packet *packet = burst.packets[i];

		reason = decap_finish(sa, packet, &burst.layout[i], &burst.ops[i]);
		if (reason != DROP_NONE) {
			packet_drop(packet, reason);
			continue;
		}
		packet->state = PACKET_VERIFIED;
		packet->family = packet->inner_family;
		sa->state->packets++;
		sa->state->bytes += packet->len - packet->l2_len;
	}
}

void esp_decap(struct sa_runtime *sa, struct packet **packets, unsigned int count)
{
	for (unsigned int done = 0; done < count; done += BURST)
		decap_burst(sa, packets + done, count - done < BURST ? count - done : BURST);
}
