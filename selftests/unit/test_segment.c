// SPDX-License-Identifier: BSD-2-Clause
/*
 * Segmentation: each segment must equal, octet for octet, the packet that frames.h builds for it;
 * damaged frames must be refused without reading past their end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "frames.h"
#include "lib/segment.h"

static uint8_t payload[65536];
static uint8_t super[FRAME_MAX], wanted[FRAME_MAX], got[FRAME_MAX];

static int setup(void **state)
{
	uint64_t seed = 5;

	(void)state;
	fill_random(&seed, payload, sizeof(payload));
	return 0;
}

static struct virtio_net_hdr vnet_csum(const struct frame_spec *spec)
{
	return (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = (uint16_t)frame_l4_off(spec),
		.csum_offset = 16,
	};
}

static struct virtio_net_hdr vnet_gso(const struct frame_spec *spec, uint16_t gso_size)
{
	struct virtio_net_hdr vnet = vnet_csum(spec);

	vnet.gso_type = spec->family == FAMILY_V4 ? VIRTIO_NET_HDR_GSO_TCPV4 :
						    VIRTIO_NET_HDR_GSO_TCPV6;
	vnet.gso_size = gso_size;
	return vnet;
}

/* The packet that cutting `spec` at `off` must give. */
static struct frame_spec expected_segment(const struct frame_spec *spec, uint32_t off, uint32_t mss)
{
	struct frame_spec part = *spec;
	uint32_t left = spec->payload_len - off;

	part.payload += off;
	part.payload_len = left < mss ? left : mss;
	part.seq += off;
	part.csum = CSUM_FULL;
	part.id = (uint16_t)(spec->id + off / mss);
	if (off + part.payload_len < spec->payload_len)
		part.flags &= (uint8_t)~(TCP_F_FIN | TCP_F_PSH);
	if (off)
		part.flags &= (uint8_t)~TCP_F_CWR;
	return part;
}

/* Cuts the frame built from spec and compares every segment. Returns how many there were. */
static unsigned int check_split(const struct frame_spec *spec, struct virtio_net_hdr vnet,
				uint32_t ip_max, uint32_t mss)
{
	struct host_frame frame = { .vnet = vnet, .data = super, .len = build_frame(spec, super) };
	struct packet packet = { .data = got };
	struct segment_iter iter;
	unsigned int count = 0;
	uint32_t off = 0;

	assert_int_equal(segment_start(&iter, &frame, ip_max), DROP_NONE);
	while (segment_next(&iter, &packet, sizeof(got))) {
		struct frame_spec part = expected_segment(spec, off, mss);
		uint32_t len = build_frame(&part, wanted);

		assert_int_equal(packet.state, PACKET_CLEAR);
		assert_int_equal(packet.family, spec->family);
		assert_int_equal(packet.l2_len, frame_l2_len(spec));
		assert_int_equal(packet.len, len);
		assert_memory_equal(got, wanted, len);
		off += part.payload_len;
		count++;
	}
	assert_int_equal(off, spec->payload_len);
	return count;
}

static void super_packets(void **state)
{
	(void)state;
	for (unsigned int vlans = 0; vlans <= 2; vlans++) {
		for (int family = 0; family < FAMILY_COUNT; family++) {
			uint32_t mss = family == FAMILY_V4 ? 1448 : 1428;
			struct frame_spec spec = frame_default((enum ip_family)family);

			spec.vlans = vlans;
			spec.payload = payload;
			spec.payload_len = 65000;
			spec.csum = CSUM_PARTIAL;
			spec.flags = TCP_F_ACK | TCP_F_PSH | TCP_F_FIN | TCP_F_CWR;
			assert_int_equal(check_split(&spec, vnet_gso(&spec, 1448), 1500, mss),
					 65000 / mss + 1);
		}
	}
}

static void gso_size_or_what_fits(void **state)
{
	struct frame_spec spec = frame_default(FAMILY_V4);

	(void)state;
	spec.payload = payload;
	spec.payload_len = 3000;
	spec.csum = CSUM_PARTIAL;
	assert_int_equal(check_split(&spec, vnet_gso(&spec, 1000), 1500, 1000), 3);
	assert_int_equal(check_split(&spec, vnet_gso(&spec, 1448), 1052, 1000), 3);
	assert_int_equal(check_split(&spec, vnet_gso(&spec, 1), 1052, 1), 3000);
	assert_int_equal(check_split(&spec, vnet_gso(&spec, 1448), 53, 1), 3000);
	assert_int_equal(check_split(&spec, vnet_gso(&spec, 3000), 9000, 3000), 1);
}

static void options_and_extensions(void **state)
{
	(void)state;
	for (unsigned int extra = 0; extra <= 40; extra += 8) {
		for (unsigned int options = 0; options <= 40; options += 4) {
			for (int family = 0; family < FAMILY_COUNT; family++) {
				struct frame_spec spec = frame_default((enum ip_family)family);

				spec.ip_extra = extra;
				spec.tcp_options = options;
				spec.payload = payload;
				spec.payload_len = 4999;
				spec.csum = CSUM_PARTIAL;
				check_split(&spec, vnet_gso(&spec, 65535),
					    frame_payload_off(&spec) - 14 + 701, 701);
			}
		}
	}
}

/* Not a super-packet, but too large for the wire after protection. */
static void large_single_segments(void **state)
{
	(void)state;
	for (int family = 0; family < FAMILY_COUNT; family++) {
		struct frame_spec spec = frame_default((enum ip_family)family);
		uint32_t headers = frame_payload_off(&spec) - 14;
		struct virtio_net_hdr none = { 0 };

		spec.payload = payload;
		spec.payload_len = 1501 - headers;
		spec.flags |= TCP_F_PSH;
		assert_int_equal(check_split(&spec, none, 1500, 1500 - headers), 2);
		assert_int_equal(check_split(&spec, none, 1501, 65535), 1);
		spec.csum = CSUM_PARTIAL;
		assert_int_equal(check_split(&spec, vnet_csum(&spec), 1500, 1500 - headers), 2);
		assert_int_equal(check_split(&spec, vnet_csum(&spec), 1501, 65535), 1);
	}
}

/* New checksums must not hide that the sender's was wrong. */
static void wrong_checksum_is_not_hidden(void **state)
{
	struct frame_spec spec = frame_default(FAMILY_V4);
	struct host_frame frame = { .data = super };
	struct packet packet = { .data = got };
	struct segment_iter iter;

	(void)state;
	spec.payload = payload;
	spec.payload_len = 2000;
	frame.len = build_frame(&spec, super);
	super[frame.len - 1] ^= 1;
	assert_int_equal(segment_start(&iter, &frame, 1500), DROP_MALFORMED);
	/* Passed on whole it is the receiver's to judge. */
	assert_int_equal(segment_start(&iter, &frame, 9000), DROP_NONE);
	assert_true(segment_next(&iter, &packet, sizeof(got)));
	assert_int_equal(packet.len, frame.len);
	assert_memory_equal(got, super, frame.len);
	assert_false(segment_next(&iter, &packet, sizeof(got)));
}

/* RFC 9293 3.8.5: the pointer counts from the segment's own sequence number. */
static void urgent_pointer(void **state)
{
	static const struct { uint32_t off; uint16_t urgent; uint8_t flags; } want[] = {
		{ 0, 1500, TCP_F_ACK | TCP_F_URG },
		{ 1000, 500, TCP_F_ACK | TCP_F_URG },
		{ 2000, 0, TCP_F_ACK },
	};
	struct frame_spec spec = frame_default(FAMILY_V4);
	struct host_frame frame = { .data = super };
	struct packet packet = { .data = got };
	struct segment_iter iter;

	(void)state;
	spec.payload = payload;
	spec.payload_len = 3000;
	spec.flags |= TCP_F_URG;
	spec.urgent = 1500;
	spec.csum = CSUM_PARTIAL;
	frame.len = build_frame(&spec, super);
	frame.vnet = vnet_gso(&spec, 1000);
	assert_int_equal(segment_start(&iter, &frame, 1500), DROP_NONE);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		struct frame_spec part = expected_segment(&spec, want[i].off, 1000);

		part.urgent = want[i].urgent;
		part.flags = want[i].flags;
		assert_true(segment_next(&iter, &packet, sizeof(got)));
		assert_int_equal(packet.len, build_frame(&part, wanted));
		assert_memory_equal(got, wanted, packet.len);
	}
}

/* ---- packets that go whole ---- */

/* A UDP packet whose checksum comes out as zero must carry 0xffff (RFC 768). */
static void udp_zero_checksum(void **state)
{
	uint8_t data[14 + 20 + 8 + 2] = { [12] = 0x08, [14] = 0x45, [17] = 30, [23] = 17 };
	struct host_frame frame = { .data = data, .len = sizeof(data) };
	struct packet packet = { .data = got };
	struct segment_iter iter;

	(void)state;
	frame.vnet = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					      .csum_start = 34, .csum_offset = 6 };
	put16(data + 38, 10);
	put16(data + 40, 0x1234);
	put16(data + 42, 0xffff - 0x1234 - 10);
	assert_int_equal(segment_start(&iter, &frame, 1500), DROP_NONE);
	assert_true(segment_next(&iter, &packet, sizeof(got)));
	assert_int_equal(got[40], 0xff);
	assert_int_equal(got[41], 0xff);
	data[43] ^= 1;
	assert_int_equal(segment_start(&iter, &frame, 1500), DROP_NONE);
	assert_true(segment_next(&iter, &packet, sizeof(got)));
	assert_int_equal(naive_add(0x1234, got + 34, 10), 0xffff);
}

static void check_csum_place(struct host_frame *frame, uint32_t start, uint32_t off)
{
	bool good = start >= 34 && start + off + 2 <= frame->len;
	struct packet packet = { .data = got };
	struct segment_iter iter;
	uint32_t sum;

	frame->vnet = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					       .csum_start = (uint16_t)start,
					       .csum_offset = (uint16_t)off };
	assert_int_equal(segment_start(&iter, frame, 1500), good ? DROP_NONE : DROP_MALFORMED);
	if (!good)
		return;
	assert_true(segment_next(&iter, &packet, frame->len));
	memcpy(wanted, frame->data, frame->len);
	sum = ~naive_add(0, frame->data + start, frame->len - start) & 0xffff;
	put16(wanted + start + off, sum ? sum : 0xffff);
	assert_memory_equal(got, wanted, frame->len);
}

/* Any csum_start and csum_offset inside the packet is honoured, none outside is. */
static void checksum_anywhere(void **state)
{
	uint8_t data[80];
	struct host_frame frame = { .data = data, .len = sizeof(data) };
	uint64_t seed = 6;

	(void)state;
	fill_random(&seed, data, sizeof(data));
	memcpy(data + 12, "\x08\x00\x45\x00\x00\x42", 6);
	put16(data + 20, 0);
	data[23] = 253;
	for (uint32_t start = 0; start < 90; start++)
		for (uint32_t off = 0; off < 90; off++)
			check_csum_place(&frame, start, off);
	check_csum_place(&frame, 34, 65535);
	check_csum_place(&frame, 65535, 65535);
}

static void link_padding_is_cut(void **state)
{
	struct frame_spec spec = frame_default(FAMILY_V6);
	struct host_frame frame = { .data = super };
	struct packet packet = { .data = got };
	struct segment_iter iter;
	uint32_t len;

	(void)state;
	len = build_frame(&spec, super);
	frame.len = len + 6;
	memset(got, 0x5a, sizeof(got));
	assert_int_equal(segment_start(&iter, &frame, 1500), DROP_NONE);
	assert_true(segment_next(&iter, &packet, len));
	assert_int_equal(packet.len, len);
	assert_memory_equal(got, super, len);
	assert_int_equal(got[len], 0x5a);
}

/* ---- refusals ---- */

static enum drop_reason start_with(const struct frame_spec *spec, struct virtio_net_hdr vnet,
				   uint32_t ip_max)
{
	struct host_frame frame = { .vnet = vnet, .data = super, .len = build_frame(spec, super) };
	struct segment_iter iter;

	return segment_start(&iter, &frame, ip_max);
}

static void bad_vnet_headers(void **state)
{
	struct frame_spec spec = frame_default(FAMILY_V4);
	struct virtio_net_hdr vnet;

	(void)state;
	spec.payload = payload;
	spec.payload_len = 4000;
	spec.csum = CSUM_PARTIAL;
	vnet = vnet_gso(&spec, 1000);
	assert_int_equal(start_with(&spec, vnet, 1500), DROP_NONE);
	assert_int_equal(start_with(&spec, vnet, 52), DROP_TOO_BIG);
	assert_int_equal(start_with(&spec, vnet, 53), DROP_NONE);
	vnet.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	assert_int_equal(start_with(&spec, vnet, 1500), DROP_NONE);
	vnet.gso_type = VIRTIO_NET_HDR_GSO_UDP;
	assert_int_equal(start_with(&spec, vnet, 1500), DROP_UNSUPPORTED);
	vnet.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	assert_int_equal(start_with(&spec, vnet, 1500), DROP_MALFORMED);
	assert_int_equal(start_with(&spec, vnet_gso(&spec, 0), 1500), DROP_MALFORMED);
	vnet = vnet_gso(&spec, 1000);
	vnet.csum_start++;
	assert_int_equal(start_with(&spec, vnet, 1500), DROP_MALFORMED);
	vnet = vnet_gso(&spec, 1000);
	vnet.csum_offset = 6;
	assert_int_equal(start_with(&spec, vnet, 1500), DROP_MALFORMED);
}

static void cannot_be_cut(void **state)
{
	struct frame_spec spec = frame_default(FAMILY_V4), bad;
	struct virtio_net_hdr none = { 0 };

	(void)state;
	spec.payload = payload;
	spec.payload_len = 4000;
	bad = spec;
	bad.flags = TCP_F_SYN;
	assert_int_equal(start_with(&bad, none, 1500), DROP_TOO_BIG);
	assert_int_equal(start_with(&bad, none, 9000), DROP_NONE);
	bad.flags = TCP_F_RST | TCP_F_ACK;
	assert_int_equal(start_with(&bad, none, 1500), DROP_TOO_BIG);
	bad = spec;
	bad.fragment = 0x2000;
	assert_int_equal(start_with(&bad, vnet_gso(&bad, 1000), 1500), DROP_UNSUPPORTED);
	assert_int_equal(start_with(&bad, none, 1500), DROP_TOO_BIG);
	assert_int_equal(start_with(&bad, none, 9000), DROP_NONE);
	bad = spec;
	bad.vlans = 3;
	assert_int_equal(start_with(&bad, vnet_gso(&bad, 1000), 1500), DROP_UNSUPPORTED);
}

/* A routing header with segments left changes the pseudo header: never cut. */
static void routing_header(void **state)
{
	struct frame_spec spec = frame_default(FAMILY_V6);
	struct host_frame frame = { .data = super };
	struct segment_iter iter;

	(void)state;
	spec.ip_extra = 24;
	spec.payload = payload;
	spec.payload_len = 4000;
	frame.len = build_frame(&spec, super);
	super[14 + 6] = 43;
	super[14 + 40 + 3] = 1;
	assert_int_equal(segment_start(&iter, &frame, 1500), DROP_TOO_BIG);
	super[14 + 40 + 3] = 0;
	assert_int_equal(segment_start(&iter, &frame, 1500), DROP_NONE);
}

static void no_room(void **state)
{
	struct frame_spec spec = frame_default(FAMILY_V4);
	struct host_frame frame = { .data = super };
	struct packet packet = { .data = got };
	struct segment_iter iter;

	(void)state;
	spec.payload = payload;
	spec.payload_len = 4000;
	frame.len = build_frame(&spec, super);
	assert_int_equal(segment_start(&iter, &frame, 1500), DROP_NONE);
	assert_true(segment_next(&iter, &packet, 1513));
	assert_int_equal(packet.state, PACKET_DEAD);
	assert_int_equal(packet.drop, DROP_TOO_BIG);
	assert_false(segment_next(&iter, &packet, 1514));
}

/* ---- damage: exact-size heap copies, so that ASan sees every octet too far ---- */

static void run_copy(const uint8_t *data, uint32_t len, struct virtio_net_hdr vnet, uint32_t ip_max)
{
	struct host_frame frame = { .vnet = vnet, .data = malloc(len ? len : 1), .len = len };
	uint8_t *out = malloc(2048);
	struct packet packet = { .data = out };
	struct segment_iter iter;
	uint32_t budget = 70000;

	memcpy(frame.data, data, len);
	if (segment_start(&iter, &frame, ip_max) == DROP_NONE) {
		while (segment_next(&iter, &packet, 2048)) {
			assert_true(packet.len <= 2048);
			assert_true(budget-- > 0);
		}
	}
	free(out);
	free(frame.data);
}

static void every_truncation(void **state)
{
	(void)state;
	for (int family = 0; family < FAMILY_COUNT; family++) {
		struct frame_spec spec = frame_default((enum ip_family)family);
		uint32_t len;

		spec.vlans = 1;
		spec.ip_extra = 16;
		spec.payload = payload;
		spec.payload_len = 300;
		spec.csum = CSUM_PARTIAL;
		len = build_frame(&spec, wanted);
		for (uint32_t cut = 0; cut < len; cut++) {
			struct host_frame frame = { .data = wanted, .len = cut };
			struct segment_iter iter;

			frame.vnet = vnet_gso(&spec, 100);
			assert_int_equal(segment_start(&iter, &frame, 1500), DROP_MALFORMED);
			run_copy(wanted, cut, vnet_gso(&spec, 100), 1500);
			run_copy(wanted, cut, vnet_csum(&spec), 200);
		}
	}
}

/* Random octets over the headers of good frames, and wholly random packets. */
static void random_damage(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (unsigned int round = 0; round < 40000; round++) {
		struct frame_spec spec = frame_default(round & 1 ? FAMILY_V6 : FAMILY_V4);
		struct virtio_net_hdr vnet;
		uint32_t len;

		spec.vlans = next_random(&seed) % 3;
		spec.ip_extra = next_random(&seed) % 6 * 8;
		spec.payload = payload;
		spec.payload_len = next_random(&seed) % 600;
		len = build_frame(&spec, wanted);
		vnet = vnet_gso(&spec, (uint16_t)(1 + next_random(&seed) % 200));
		for (unsigned int i = next_random(&seed) % 4; i > 0; i--)
			wanted[12 + next_random(&seed) % (frame_payload_off(&spec) - 12)] =
				(uint8_t)next_random(&seed);
		if (round % 8 == 0)
			fill_random(&seed, wanted + 14, len - 14);
		if (round % 5 == 0)
			fill_random(&seed, (uint8_t *)&vnet, sizeof(vnet));
		run_copy(wanted, len - next_random(&seed) % 3, vnet, next_random(&seed) % 700);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(super_packets),
		cmocka_unit_test(gso_size_or_what_fits),
		cmocka_unit_test(options_and_extensions),
		cmocka_unit_test(large_single_segments),
		cmocka_unit_test(wrong_checksum_is_not_hidden),
		cmocka_unit_test(urgent_pointer),
		cmocka_unit_test(udp_zero_checksum),
		cmocka_unit_test(checksum_anywhere),
		cmocka_unit_test(link_padding_is_cut),
		cmocka_unit_test(bad_vnet_headers),
		cmocka_unit_test(cannot_be_cut),
		cmocka_unit_test(routing_header),
		cmocka_unit_test(no_room),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(random_damage),
	};

	return cmocka_run_group_tests_name("segment", tests, setup, NULL);
}
