// SPDX-License-Identifier: BSD-2-Clause
/*
 * Outbound ESP (RFC 4303 3.3). Every packet of a burst is first validated, then numbered and laid
 * out; one engine call seals them all. The payload never moves: headers go left into the headroom,
 * the trailer grows into the tailroom.
 *
 *   transport  [l2][ip .. upper_off][ESP 8][IV][payload            ][pad][len][nh][ICV]
 *   tunnel     [l2][outer ip     ][ESP 8][IV][ip whole, as it was][pad][len][nh][ICV]
 *
 * An SA with encap_dport has [UDP 8] before ESP (RFC 3948 2.1).
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "checksum.h"
#include "esp.h"
#include "ip_layout.h"
#include "iv_pool.h"
#include "outer.h"
#include "payload.h"
#include "sequence.h"

/* What validation found out about one packet. */
struct plan {
	struct ip_layout layout;
	uint32_t front;		/* octets that go in before the payload */
	uint32_t kept;		/* octets of IP header that stay in front of ESP (transport) */
	uint32_t payload_len;	/* what ESP carries */
	uint32_t pad_len;
	uint32_t outer_total;	/* octets of the protected IP packet */
	uint8_t next_header;
};

struct encap_burst {
	struct crypto_op ops[BURST];
	struct packet *packets[BURST];
	uint32_t inner_len[BURST];
	uint8_t aad[BURST][12];
	uint64_t bytes;		/* of inner packets */
	unsigned int count;
};

static enum drop_reason plan_transport(const struct sa_runtime *sa, struct plan *plan)
{
	struct ip_layout *layout = &plan->layout;
	enum drop_reason reason;

	reason = payload_find_transport(sa, layout);
	if (reason != DROP_NONE)
		return reason;
	plan->kept = layout->upper_off;
	plan->payload_len = layout->total - layout->upper_off;
	plan->next_header = layout->next;
	return DROP_NONE;
}

static void plan_tunnel(const struct sa_runtime *sa, struct plan *plan)
{
	plan->kept = 0;
	plan->front = outer_length(sa);
	plan->payload_len = plan->layout.total;
	plan->next_header = plan->layout.family == FAMILY_V4 ? IPPROTO_IPIP : IPPROTO_IPV6;
}

/* Changes nothing: a packet refused here has used up no sequence number. */
static enum drop_reason plan_packet(const struct sa_runtime *sa, const struct packet *packet,
				    struct plan *plan)
{
	const struct esp_suite *suite = sa->suite;
	uint32_t align = suite->block > 4 ? suite->block : 4;
	enum drop_reason reason;
	uint32_t behind;

	reason = ip_layout_parse(packet, &plan->layout);
	if (reason != DROP_NONE)
		return reason;
	plan->front = 0;
	if (sa->tunnel)
		plan_tunnel(sa, plan);
	else
		reason = plan_transport(sa, plan);
	if (reason != DROP_NONE)
		return reason;
	plan->front += esp_udp_length(sa) + ESP_HEADER_LEN + suite->iv_len;
	plan->pad_len = -(plan->payload_len + ESP_TRAILER_LEN) & (align - 1);
	behind = plan->pad_len + ESP_TRAILER_LEN + suite->icv_len;
	plan->outer_total = plan->layout.total + plan->front + behind;
	if (plan->outer_total > IP_TOTAL_MAX)
		return DROP_TOO_BIG;
	if (packet->headroom < plan->front ||
	    packet->len - packet->l2_len + packet->tailroom < plan->layout.total + behind)
		return DROP_NO_BUFFER;
	return DROP_NONE;
}

/* Padding 1, 2, 3, ... (RFC 4303 2.4), pad length, next header. */
static void write_trailer(uint8_t *at, const struct plan *plan)
{
	static const uint8_t padding[16] = { 1, 2,  3,	4,  5,	6,  7,	8,
					     9, 10, 11, 12, 13, 14, 15, 16 };

	/*
	 * What is not padding falls where trailer and ICV, at least ESP_TRAILER_LEN + SUITE_ICV_MIN
	 * octets, are written next.
	 */
	memcpy(at, padding, 8);
	if (plan->pad_len > 8)
		memcpy(at + 8, padding + 8, 8);
	at[plan->pad_len] = (uint8_t)plan->pad_len;
	at[plan->pad_len + 1] = plan->next_header;
}

/* SPI and sequence number as the AEAD authenticates them (RFC 4106 section 5). */
static uint8_t write_aad(const struct sa_runtime *sa, uint64_t seq, uint8_t aad[12])
{
	memcpy(aad, &sa->spi, 4);
	if (!sa->esn) {
		store_be32(aad + 4, (uint32_t)seq);
		return 8;
	}
	store_be32(aad + 4, (uint32_t)(seq >> 32));
	store_be32(aad + 8, (uint32_t)seq);
	return 12;
}

/* Counter modes: the sequence number, unique under the key. CBC: unpredictable. */
static int write_iv(struct sa_runtime *sa, uint64_t seq, uint8_t *iv)
{
	if (sa->suite->counter_mode) {
		store_be32(iv, (uint32_t)(seq >> 32));
		store_be32(iv + 4, (uint32_t)seq);
		return 0;
	}
	return sa->iv_pool ? iv_pool_next(sa->iv_pool, iv, sa->suite->iv_len) : 0;
}

/* The checksum is 0 for none, or until finish_udp(). `octets` are those from UDP to the end. */
static void write_udp(const struct sa_runtime *sa, uint8_t *udp, uint32_t octets)
{
	memcpy(udp, &sa->encap_sport, 2);
	memcpy(udp + 2, &sa->encap_dport, 2);
	store_be16(udp + 4, (uint16_t)octets);
	store_be16(udp + 6, 0);
}

/*
 * Over IPv6 UDP must have a checksum, and 0 stands for none (RFC 8200 8.1). It covers what has been
 * encrypted. The addresses are the SA's: no routing header has segments left here.
 */
static void finish_udp(const struct packet *packet, uint8_t *udp)
{
	const uint8_t *ip = packet->data + packet->l2_len;
	uint32_t octets = load_be16(udp + 4);
	uint64_t sum = checksum_pseudo(0, FAMILY_V6, ip + 8, ip + 24, IPPROTO_UDP, octets);
	uint16_t checksum = checksum_fold(checksum_add(sum, udp, octets));

	store_raw16(udp + 6, checksum ? checksum : 0xffff);
}

/* Moves the headers and writes the outer header, UDP and the trailer. */
static void lay_out(struct sa_runtime *sa, struct packet *packet, const struct plan *plan)
{
	uint32_t moved = packet->l2_len + plan->kept;
	uint8_t *start = packet->data - plan->front;
	uint32_t behind = plan->pad_len + ESP_TRAILER_LEN + sa->suite->icv_len;
	uint32_t room = packet->len + packet->tailroom;
	uint32_t ip_len = sa->tunnel ? outer_length(sa) : plan->kept;
	uint8_t next = sa->encap_dport ? IPPROTO_UDP : IPPROTO_ESP;
	const struct outer_fields fields = {
		.inner = &plan->layout,
		.total = plan->outer_total,
		.next = next,
		.seq = packet->seq,
	};

	memmove(start, packet->data, moved);
	if (sa->tunnel)
		outer_write(sa, &fields, start + packet->l2_len);
	else
		ip_set_length_and_next(start + packet->l2_len, &plan->layout, plan->outer_total,
				       next);
	if (sa->encap_dport)
		write_udp(sa, start + packet->l2_len + ip_len, plan->outer_total - ip_len);
	write_trailer(packet->data + moved + plan->payload_len, plan);
	packet->tailroom = (uint16_t)(room - packet->l2_len - plan->layout.total - behind);
	packet->headroom -= (uint16_t)plan->front;
	packet->data = start;
	packet->len = packet->l2_len + plan->outer_total;
	packet->family = sa->family;
}

static void fill_op(const struct sa_runtime *sa, uint8_t *esp, uint32_t cipher_len,
		    struct crypto_op *op)
{
	const struct esp_suite *suite = sa->suite;

	op->iv = esp + ESP_HEADER_LEN;
	op->data = esp + ESP_HEADER_LEN + suite->iv_len;
	op->len = cipher_len;
	op->auth = esp;
	op->auth_len = ESP_HEADER_LEN + suite->iv_len + cipher_len;
	op->icv = op->data + cipher_len;
	op->err = -EIO;		/* unless the engine says otherwise */
}

static void encap_one(struct sa_runtime *sa, struct packet *packet, struct encap_burst *burst)
{
	struct crypto_op *op = &burst->ops[burst->count];
	uint8_t *aad = burst->aad[burst->count];
	enum drop_reason reason;
	struct plan plan;
	uint8_t *esp;

	reason = plan_packet(sa, packet, &plan);
	if (reason == DROP_NONE &&
	    !sa_within_limits(sa, burst->count, burst->bytes, plan.layout.total))
		reason = DROP_LIFETIME;
	if (reason == DROP_NONE)
		reason = sequence_take(sa, &packet->seq);
	if (reason != DROP_NONE) {
		packet_drop(packet, reason);
		return;
	}
	esp = packet->data + packet->l2_len + plan.kept - ESP_HEADER_LEN - sa->suite->iv_len;
	lay_out(sa, packet, &plan);
	memcpy(esp, &sa->spi, 4);
	store_be32(esp + 4, (uint32_t)packet->seq);
	if (write_iv(sa, packet->seq, esp + ESP_HEADER_LEN)) {
		packet_drop(packet, DROP_INTERNAL);
		return;
	}
	fill_op(sa, esp, plan.payload_len + plan.pad_len + ESP_TRAILER_LEN, op);
	op->aad = aad;
	op->aad_len = write_aad(sa, packet->seq, aad);
	store_be32(op->esn_hi, (uint32_t)(packet->seq >> 32));
	op->esn_hi_len = sa->esn ? 4 : 0;
	burst->inner_len[burst->count] = plan.layout.total;
	burst->bytes += plan.layout.total;
	burst->packets[burst->count++] = packet;
}

static void finish_burst(struct sa_runtime *sa, const struct encap_burst *burst)
{
	uint32_t before_data = UDP_HEADER_LEN + ESP_HEADER_LEN + sa->suite->iv_len;
	bool udp_checksum = sa->encap_dport && sa->family == FAMILY_V6;
	uint64_t packets = 0, bytes = 0;

	for (unsigned int i = 0; i < burst->count; i++) {
		if (burst->ops[i].err) {
			packet_drop(burst->packets[i], DROP_INTERNAL);
			continue;
		}
		if (udp_checksum)
			finish_udp(burst->packets[i], burst->ops[i].data - before_data);
		burst->packets[i]->state = PACKET_PROTECTED;
		packets++;
		bytes += burst->inner_len[i];
	}
	sa->state->packets += packets;
	sa->state->bytes += bytes;
}

static void encap_burst(struct sa_runtime *sa, struct packet **packets, unsigned int count)
{
	struct encap_burst burst;

	burst.count = 0;
	burst.bytes = 0;
	for (unsigned int i = 0; i < count; i++)
		if (packets[i]->state == PACKET_CLEAR)
			encap_one(sa, packets[i], &burst);
	if (!burst.count)
		return;
	sa->engine->seal(sa->key, burst.ops, burst.count);
	finish_burst(sa, &burst);
}

void esp_encap(struct sa_runtime *sa, struct packet **packets, unsigned int count)
{
	for (unsigned int done = 0; done < count; done += BURST)
		encap_burst(sa, packets + done, count - done < BURST ? count - done : BURST);
}
