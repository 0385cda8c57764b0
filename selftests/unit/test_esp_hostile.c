// SPDX-License-Identifier: BSD-2-Clause
/*
 * Damaged and cut packets, at every octet and bit. What matters is that nothing outside of them is
 * touched, which AddressSanitizer sees: build with SAN=-fsanitize=address,undefined.
 */
#include <sanitizer/asan_interface.h>

#include "esp_pair.h"

#define BEHIND 64

/*
 * A copy that ends exactly where it says, so that the sanitizer sees any step outside. The memory
 * behind it is poisoned, yet there: ipsec-mb's CMAC reads the last block of a message whole (and
 * uses what belongs to it), and a page may end there.
 */
static void decap_exact(struct pair *pair, const uint8_t *data, uint32_t len,
			const struct packet *like, struct packet *ret_packet)
{
	uint8_t *copy = malloc(len + BEHIND);
	struct packet *packet = ret_packet;

	assert_non_null(copy);
	memset(&pair->in_state, 0, sizeof(pair->in_state));
	memcpy(copy, data, len);
	ASAN_POISON_MEMORY_REGION(copy + len, BEHIND);
	*packet = *like;
	packet->data = copy;
	packet->len = len;
	packet->headroom = packet->tailroom = 0;
	packet->state = PACKET_PROTECTED;
	esp_decap(&pair->in, &packet, 1);
	ASAN_UNPOISON_MEMORY_REGION(copy + len, BEHIND);
	free(copy);
}

/* Length fields that agree with a frame of len octets; at udp_off, if not 0, UDP's too. */
static void agree(uint8_t *data, uint32_t len, enum ip_family family, uint32_t udp_off)
{
	if (len >= 18 + 6)
		store_be16(data + 18 + (family == FAMILY_V4 ? 2 : 4),
			   (uint16_t)(len - 18 - (family == FAMILY_V4 ? 0 : 40)));
	if (udp_off && len >= udp_off + 6)
		store_be16(data + udp_off + 4, (uint16_t)(len - udp_off));
}

/* Cut at each octet, with the lengths as they were, with IP's that agrees, and with UDP's too. */
static void truncated(struct pair *pair, const struct frame *frame, uint32_t udp_off)
{
	static uint8_t copy[FRAME_MAX];
	struct packet result;

	for (uint32_t len = 0; len < frame->packet.len; len++)
		for (int variant = 0; variant < 3; variant++) {
			memcpy(copy, frame->packet.data, frame->packet.len);
			if (variant)
				agree(copy, len, pair->config.family, variant == 2 ? udp_off : 0);
			decap_exact(pair, copy, len, &frame->packet, &result);
			assert_int_equal(result.state, PACKET_DEAD);
			if (variant == 2 && udp_off && len >= udp_off)
				assert_int_equal(result.drop == DROP_UDP_ENCAP, len < udp_off + 8);
		}
}

static void hostile(struct pair *pair)
{
	enum ip_family family = pair->config.family;
	static struct frame frame;
	struct packet result;
	uint32_t udp_off = 0;
	uint8_t *data;

	if (family == FAMILY_V4)
		frame_ipv4(&frame, 8, 61, 1);
	else
		frame_ipv6(&frame, (const uint8_t[]){ 1, IPPROTO_ROUTING, 0 }, 61, 1);
	encap(pair, &frame);
	assert_int_equal(frame.packet.state, PACKET_PROTECTED);
	data = frame.packet.data;
	if (pair->out.encap_dport)
		udp_off = 18 + (family == FAMILY_V4 ? 20 : 40) +
			  (pair->out.tunnel ? 0 : family == FAMILY_V4 ? 8 : 16);
	truncated(pair, &frame, udp_off);
	/* Every bit behind the Ethernet header; those of fields that ESP does not cover may pass. */
	for (uint32_t bit = 18 * 8; bit < frame.packet.len * 8; bit++) {
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		decap_exact(pair, data, frame.packet.len, &frame.packet, &result);
		if (bit / 8 >= frame.packet.len - 16)
			assert_int_equal(result.state, PACKET_DEAD);
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	decap_exact(pair, data, frame.packet.len, &frame.packet, &result);
	assert_int_equal(result.state, PACKET_VERIFIED);
}

static void test_hostile_packets(void **state)
{
	const struct esp_suite *suite;
	struct pair pair;

	(void)state;
	for (size_t s = 0; (suite = suite_at(s)); s++)
		for (int variant = 0; variant < 8; variant++) {
			pair_init(&pair, suite->name, NULL, variant & 1, variant & 2, true);
			if (variant & 4)
				pair_udp(&pair, 4500, 4500);
			hostile(&pair);
			pair_fini(&pair);
		}
}

/* The same from the host's side: whatever the header claims, encapsulation stays inside. */
static void test_hostile_clear_packets(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (int variant = 0; variant < 8; variant++) {
		enum ip_family family = variant & 1 ? FAMILY_V6 : FAMILY_V4;

		pair_init(&pair, "aes128-sha256", NULL, family, variant & 2, true);
		if (variant & 4)
			pair_udp(&pair, 4500, 4500);
		if (family == FAMILY_V4)
			frame_ipv4(&frame, 8, 21, 1);
		else
			frame_ipv6(&frame, (const uint8_t[]){ 1, IPPROTO_ROUTING, 0 }, 21, 1);
		for (uint32_t bit = 18 * 8; bit < frame.before_len * 8; bit++)
			for (uint32_t cut = 0; cut < frame.before_len; cut += bit % 8 ? 999 : 1) {
				uint32_t len = frame.before_len - cut;
				uint8_t *copy = malloc(96 + len + 48);
				struct packet p = { .data = copy + 96, .len = len, .l2_len = 18,
						    .headroom = 96, .tailroom = 48,
						    .family = family, .state = PACKET_CLEAR };
				struct packet *packet = &p;

				assert_non_null(copy);
				memcpy(p.data, frame.before, len);
				if (bit / 8 < len)
					p.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
				esp_encap(&pair.out, &packet, 1);
				free(copy);
			}
		pair_fini(&pair);
	}
}

/* Nothing is written behind the packet that came out, though there would be room. */
static void test_nothing_behind(void **state)
{
	const struct esp_suite *suite;
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (size_t s = 0; (suite = suite_at(s)); s++)
		for (uint32_t len = 0; len <= 33; len++) {
			const uint8_t *end;

			pair_init(&pair, suite->name, NULL, FAMILY_V4, len & 1, true);
			if (len & 2)
				pair_udp(&pair, 4500, 4500);
			frame_ipv4(&frame, 0, len, 0);
			memset(frame.packet.data + frame.packet.len, 0xa5, 96);
			encap(&pair, &frame);
			assert_int_equal(frame.packet.state, PACKET_PROTECTED);
			end = frame.packet.data + frame.packet.len;
			for (unsigned int i = 0; i < 32; i++)
				assert_int_equal(end[i], 0xa5);
			pair_fini(&pair);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_packets),
		cmocka_unit_test(test_hostile_clear_packets),
		cmocka_unit_test(test_nothing_behind),
	};

	return cmocka_run_group_tests_name("esp_hostile", tests, NULL, NULL);
}
