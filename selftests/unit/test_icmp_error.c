// SPDX-License-Identifier: BSD-2-Clause
/*
 * The packet-too-big message, octet by octet, with checksums computed here the slow way
 * (RFC 1071 4.1), and the packets that must not be answered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/icmp_error.h"

#define LINK	 14
#define BIG	 1500		/* octets of IP in the packets that are too big */
#define ECHO	 8
#define PROTO_ICMP   1
#define PROTO_UDP    17
#define PROTO_ICMPV6 58

static const uint8_t station[6] = { 2, 0, 0, 0, 0, 1 }, peer[6] = { 2, 0, 0, 0, 0, 2 };

struct frame {
	uint8_t data[2048];
	struct host_frame host;
	uint32_t link;
};

static uint16_t slow_sum(const uint8_t *data, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint32_t be16_at(const uint8_t *data)
{
	return (uint32_t)data[0] << 8 | data[1];
}

static void put16(uint8_t *data, uint32_t value)
{
	data[0] = (uint8_t)(value >> 8);
	data[1] = (uint8_t)value;
}

static void make_link(struct frame *frame, uint32_t tags, uint16_t ethertype)
{
	memset(frame, 0, sizeof(*frame));
	memcpy(frame->data, peer, 6);
	memcpy(frame->data + 6, station, 6);
	frame->link = LINK;
	for (uint32_t i = 0; i < tags; i++) {
		put16(frame->data + frame->link - 2, i + 1 < tags ? 0x88a8 : 0x8100);
		put16(frame->data + frame->link, 0x2005 + i);
		frame->link += 4;
	}
	put16(frame->data + frame->link - 2, ethertype);
	frame->host.data = frame->data;
	frame->host.len = frame->link + BIG;
	for (uint32_t i = 0; i < BIG; i++)
		frame->data[frame->link + i] = (uint8_t)(i * 7);
}

static uint8_t *make_ipv4(struct frame *frame, uint32_t tags, uint8_t protocol, uint8_t words)
{
	static const uint8_t src[4] = { 10, 9, 0, 1 }, dst[4] = { 10, 9, 0, 2 };
	uint8_t *ip;

	make_link(frame, tags, 0x0800);
	ip = frame->data + frame->link;
	memset(ip, 0, words * 4u);
	ip[0] = (uint8_t)(0x40 | words);
	put16(ip + 2, BIG);
	put16(ip + 6, 0x4000);
	ip[8] = 63;
	ip[9] = protocol;
	memcpy(ip + 12, src, 4);
	memcpy(ip + 16, dst, 4);
	return ip;
}

static uint8_t *make_ipv6(struct frame *frame, uint32_t tags, uint8_t next_header)
{
	uint8_t *ip;

	make_link(frame, tags, 0x86dd);
	ip = frame->data + frame->link;
	memset(ip, 0, 40);
	ip[0] = 0x60;
	put16(ip + 4, BIG - 40);
	ip[6] = next_header;
	ip[7] = 63;
	ip[8] = ip[24] = 0xfd;
	ip[23] = 1;
	ip[39] = 2;
	return ip;
}

/* The link header: to be tagged, from the peer, VLAN tags and ethertype as they were. */
static void assert_link(const struct frame *frame, const uint8_t *out)
{
	static const uint8_t none[6];

	assert_memory_equal(out, none, 6);
	assert_memory_equal(out + 6, peer, 6);
	assert_memory_equal(out + 12, frame->data + 12, frame->link - 12);
}

static void assert_ipv4_answer(const struct frame *frame, uint32_t mtu, uint32_t quote)
{
	const uint8_t *ip = frame->data + frame->link;
	uint8_t out[ICMP_ERROR_MAX], *answer = out + frame->link;
	uint32_t len;

	memset(out, 0xee, sizeof(out));
	len = icmp_too_big(&frame->host, mtu, out);
	assert_int_equal(len, frame->link + 20 + 8 + quote);
	assert_link(frame, out);
	assert_int_equal(answer[0], 0x45);
	assert_int_equal(be16_at(answer + 2), 28 + quote);
	assert_int_equal(be16_at(answer + 6) & 0x3fff, 0);
	assert_true(answer[8] > 0);
	assert_int_equal(answer[9], PROTO_ICMP);
	assert_int_equal(slow_sum(answer, 20, 0), 0xffff);
	assert_memory_equal(answer + 12, ip + 16, 4);
	assert_memory_equal(answer + 16, ip + 12, 4);
	assert_int_equal(answer[20], 3);
	assert_int_equal(answer[21], 4);
	assert_int_equal(slow_sum(answer + 20, 8 + quote, 0), 0xffff);
	assert_int_equal(be16_at(answer + 24), 0);	/* unused */
	assert_int_equal(be16_at(answer + 26), mtu);
	assert_memory_equal(answer + 28, ip, quote);
}

static void assert_ipv6_answer(const struct frame *frame, uint32_t mtu, uint32_t quote)
{
	const uint8_t *ip = frame->data + frame->link;
	uint8_t out[ICMP_ERROR_MAX], *answer = out + frame->link;
	uint32_t len, pseudo;

	memset(out, 0xee, sizeof(out));
	len = icmp_too_big(&frame->host, mtu, out);
	assert_int_equal(len, frame->link + 40 + 8 + quote);
	assert_link(frame, out);
	assert_int_equal(be16_at(answer), 0x6000);
	assert_int_equal(be16_at(answer + 4), 8 + quote);
	assert_int_equal(answer[6], PROTO_ICMPV6);
	assert_true(answer[7] > 0);
	assert_memory_equal(answer + 8, ip + 24, 16);
	assert_memory_equal(answer + 24, ip + 8, 16);
	assert_int_equal(answer[40], 2);
	assert_int_equal(answer[41], 0);
	pseudo = slow_sum(answer + 8, 32, 8 + quote + PROTO_ICMPV6);
	assert_int_equal(slow_sum(answer + 40, 8 + quote, pseudo), 0xffff);
	assert_int_equal(be16_at(answer + 44), mtu >> 16);
	assert_int_equal(be16_at(answer + 46), mtu & 0xffff);
	assert_memory_equal(answer + 48, ip, quote);
}

static void test_ipv4(void **state)
{
	struct frame frame;

	(void)state;
	for (uint32_t tags = 0; tags <= 2; tags++) {
		make_ipv4(&frame, tags, PROTO_UDP, 5);
		assert_ipv4_answer(&frame, 1438, 548);
	}
	make_ipv4(&frame, 0, PROTO_UDP, 15);
	assert_ipv4_answer(&frame, 576, 548);
	/* A short one is quoted whole, its odd last octet included. */
	make_ipv4(&frame, 0, PROTO_UDP, 5);
	frame.host.len = LINK + 201;
	assert_ipv4_answer(&frame, 68, 201);
	/* A first fragment may be answered, RFC 1122 3.2.2. */
	put16(make_ipv4(&frame, 0, PROTO_UDP, 5) + 6, 0x2000);
	assert_ipv4_answer(&frame, 1438, 548);
	make_ipv4(&frame, 0, PROTO_ICMP, 5)[20] = ECHO;
	assert_ipv4_answer(&frame, 1438, 548);
	make_ipv4(&frame, 0, PROTO_ICMP, 6)[24] = 0;		/* echo reply, behind an option */
	assert_ipv4_answer(&frame, 1438, 548);
}

static void test_ipv6(void **state)
{
	struct frame frame;

	(void)state;
	for (uint32_t tags = 0; tags <= 2; tags++) {
		make_ipv6(&frame, tags, PROTO_UDP);
		assert_ipv6_answer(&frame, 1414, 1280 - 48);
	}
	make_ipv6(&frame, 0, PROTO_UDP);
	assert_ipv6_answer(&frame, 65536 + 9, 1280 - 48);
	frame.host.len = LINK + 333;
	assert_ipv6_answer(&frame, 1280, 333);
	make_ipv6(&frame, 0, PROTO_ICMPV6)[40] = 128;
	assert_ipv6_answer(&frame, 1414, 1280 - 48);
}

static void assert_silent(const struct frame *frame)
{
	uint8_t out[ICMP_ERROR_MAX];

	assert_int_equal(icmp_too_big(&frame->host, 1400, out), 0);
}

static void test_silent(void **state)
{
	static const uint8_t errors[] = { 3, 4, 5, 11, 12 }, errors6[] = { 1, 2, 3, 4, 127 };
	struct frame frame;

	(void)state;
	for (size_t i = 0; i < sizeof(errors); i++) {
		make_ipv4(&frame, 0, PROTO_ICMP, 5)[20] = errors[i];
		assert_silent(&frame);
		make_ipv4(&frame, 1, PROTO_ICMP, 7)[28] = errors[i];
		assert_silent(&frame);
	}
	for (size_t i = 0; i < sizeof(errors6); i++) {
		make_ipv6(&frame, 0, PROTO_ICMPV6)[40] = errors6[i];
		assert_silent(&frame);
	}
	put16(make_ipv4(&frame, 0, PROTO_UDP, 5) + 6, 1);	/* a later fragment */
	assert_silent(&frame);
	put16(make_ipv4(&frame, 0, PROTO_UDP, 5) + 6, 0x1000);
	assert_silent(&frame);
	put16(make_ipv4(&frame, 0, PROTO_UDP, 5) + 6, 0x3fff);
	assert_silent(&frame);
	make_ipv4(&frame, 0, PROTO_UDP, 5)[16] = 224;		/* multicast */
	assert_silent(&frame);
	make_ipv4(&frame, 0, PROTO_UDP, 5)[16] = 239;
	assert_silent(&frame);
	make_link(&frame, 0, 0x0806);
	frame.data[LINK] = 0;					/* ARP */
	assert_silent(&frame);
}

/* Too short to be a packet that is too big: nothing is read beyond the end. */
static void test_short(void **state)
{
	struct frame frame;
	uint8_t out[ICMP_ERROR_MAX];

	(void)state;
	for (uint32_t len = 0; len < LINK + 40; len++) {
		make_ipv4(&frame, 0, PROTO_UDP, 5);
		frame.host.len = len;
		assert_int_equal(icmp_too_big(&frame.host, 1400, out), 0);
		make_ipv6(&frame, 2, PROTO_UDP);
		frame.host.len = len;
		assert_int_equal(icmp_too_big(&frame.host, 1400, out), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipv4),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_short),
	};

	return cmocka_run_group_tests_name("icmp_error", tests, NULL, NULL);
}
