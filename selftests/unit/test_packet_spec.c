// SPDX-License-Identifier: BSD-2-Clause
/* Packets from words, their frames and answers; captures; lines of /proc/net/tcp. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/capture_file.h"
#include "lib/packet_spec.h"
#include "lib/process_sockets.h"

#define V4(a) { .b = { 10, 0, 0, a } }

static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };

static struct packet_spec two_hosts(uint8_t proto)
{
	return (struct packet_spec){ .src = V4(1), .dst = V4(2), .proto = proto };
}

/* ---- what fits together -------------------------------------------------------------------- */

static void test_problems(void **state)
{
	static const struct {
		unsigned int given;
		uint8_t proto;
		enum ip_family src, dst;
		const char *problem;
	} cases[] = {
		{ GIVEN_SRC, 0, FAMILY_V4, FAMILY_V4, "destination address" },
		{ GIVEN_SRC | GIVEN_DST, 0, FAMILY_V4, FAMILY_V6, "different families" },
		{ GIVEN_SRC | GIVEN_DST | GIVEN_PROTOCOL, 6, 0, 0, "needs a destination port" },
		{ GIVEN_SRC | GIVEN_DST | GIVEN_DST_PORT, 0, 0, 0, "ports need a protocol" },
		{ GIVEN_SRC | GIVEN_DST | GIVEN_PROTOCOL | GIVEN_DST_PORT, 47, 0, 0, "no ports" },
		{ GIVEN_SRC | GIVEN_DST | GIVEN_PROTOCOL, 58, 0, 0, "icmpv6 of IPv6" },
		{ GIVEN_SRC | GIVEN_DST | GIVEN_PROTOCOL, 1, FAMILY_V6, FAMILY_V6, "of IPv4" },
		{ GIVEN_SRC | GIVEN_DST | GIVEN_ICMP_CODE, 0, 0, 0, "code needs an ICMP type" },
		{ GIVEN_SRC | GIVEN_DST | GIVEN_PROTOCOL | GIVEN_ICMP_TYPE, 47, 0, 0, "type needs" },
		{ GIVEN_SRC | GIVEN_DST | GIVEN_PROTOCOL, 50, 0, 0, "need an SPI" },
		{ GIVEN_SRC | GIVEN_DST | GIVEN_SPI, 0, 0, 0, "an SPI needs" },
		{ GIVEN_ETHERTYPE | GIVEN_SRC, 0, 0, 0, "not IP" },
		{ GIVEN_ETHERTYPE | GIVEN_DSCP, 0, 0, 0, "not IP" },
		{ GIVEN_ETHERTYPE, 0, 0, 0, NULL },
		{ GIVEN_SRC | GIVEN_DST, 0, 0, 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct packet_spec spec = two_hosts(cases[i].proto);
		const char *problem = packet_spec_finish(&spec, cases[i].given, cases[i].src,
							 cases[i].dst);

		if (!cases[i].problem)
			assert_null(problem);
		else if (!problem || !strstr(problem, cases[i].problem))
			fail_msg("case %zu: \"%s\"", i, problem ? problem : "nothing wrong");
	}
}

static void test_what_is_left_out(void **state)
{
	struct packet_spec spec = two_hosts(0);

	(void)state;
	assert_null(packet_spec_finish(&spec, GIVEN_SRC | GIVEN_DST, FAMILY_V6, FAMILY_V6));
	assert_int_equal(spec.proto, 58);
	assert_int_equal(spec.icmp_type, 128);
	spec = two_hosts(6);
	assert_null(packet_spec_finish(&spec, GIVEN_SRC | GIVEN_DST | GIVEN_PROTOCOL |
				       GIVEN_DST_PORT, FAMILY_V4, FAMILY_V4));
	assert_int_equal(spec.src_port, 49152);
}

static void test_protocols(void **state)
{
	char number[4];
	uint8_t proto;

	(void)state;
	assert_true(packet_protocol_parse("tcp", &proto) && proto == 6);
	assert_true(packet_protocol_parse("255", &proto) && proto == 255);
	assert_false(packet_protocol_parse("256", &proto));
	assert_false(packet_protocol_parse("", &proto));
	assert_false(packet_protocol_parse("6x", &proto));
	assert_false(packet_protocol_parse("-1", &proto));
	assert_string_equal(packet_protocol_name(17, number), "udp");
	assert_string_equal(packet_protocol_name(253, number), "253");
}

static void test_dscps(void **state)
{
	char number[4];
	uint8_t dscp;

	(void)state;
	assert_true(packet_dscp_parse("ef", &dscp) && dscp == 46);
	assert_true(packet_dscp_parse("default", &dscp) && dscp == 0);
	assert_true(packet_dscp_parse("63", &dscp) && dscp == 63);
	assert_false(packet_dscp_parse("64", &dscp));
	assert_false(packet_dscp_parse("", &dscp));
	assert_false(packet_dscp_parse("af14", &dscp));
	assert_string_equal(packet_dscp_name(0, number), "cs0");
	assert_string_equal(packet_dscp_name(44, number), "va");
	assert_string_equal(packet_dscp_name(63, number), "63");
}

/* ---- frames -------------------------------------------------------------------------------- */

static void assert_octets(const uint8_t *frame, uint32_t len, const char *hex)
{
	char text[2 * PACKET_SPEC_FRAME_MAX + 1] = "";

	for (uint32_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", frame[i]);
	assert_string_equal(text, hex);
}

static void test_frames(void **state)
{
	uint8_t frame[PACKET_SPEC_FRAME_MAX];
	struct packet_spec spec = two_hosts(17);

	(void)state;
	spec.src_port = 500;
	spec.dst_port = 4500;
	assert_octets(frame, packet_spec_build(&spec, mac, frame),
		      "020000000001" "020000000000" "0800"
		      "45000020" "00000000" "40110000" "0a000001" "0a000002"
		      "01f41194" "000c0000" "00000000");
	spec.spi = 0x1001;
	spec.vlan = 7;
	spec.dscp = 46;
	assert_octets(frame, packet_spec_build(&spec, mac, frame),
		      "020000000001" "020000000000" "81000007" "0800"
		      "45b80024" "00000000" "40110000" "0a000001" "0a000002"
		      "01f41194" "00100000" "00001001" "00000001");
	spec = (struct packet_spec){ .family = FAMILY_V6, .proto = 58, .icmp_type = 135 };
	spec.dst.b[15] = 9;
	assert_octets(frame, packet_spec_build(&spec, mac, frame),
		      "020000000001" "020000000000" "86dd" "60000000" "0008" "3a" "ff"
		      "00000000000000000000000000000000" "00000000000000000000000000000009"
		      "8700000000000000");
	/* Four bits of the codepoint end the first octet, two begin the next one. */
	spec.dscp = 0x2d;
	packet_spec_build(&spec, mac, frame);
	assert_memory_equal(frame + 14, "\x6b\x40\0\0", 4);
}

/* What a hook has read can be written again. */
static void test_read_and_written(void **state)
{
	struct packet_verdict seen = {
		.is_ip = 1, .proto = 17, .src = V4(1), .dst = V4(2), .vlan = 9, .dscp = 10,
	};
	struct packet_spec spec, answer;

	(void)state;
	assert_true(packet_spec_of(&seen, &spec));
	assert_int_equal(spec.vlan, 9);
	assert_int_equal(spec.dscp, 10);
	assert_true(packet_spec_answer(&spec, &answer));
	assert_int_equal(answer.vlan, 9);
	assert_int_equal(answer.dscp, 10);
}

/* ---- answers ------------------------------------------------------------------------------- */

static void test_answers(void **state)
{
	struct packet_spec spec = two_hosts(6), answer, again;

	(void)state;
	spec.src_port = 50000;
	spec.dst_port = 80;
	assert_true(packet_spec_answer(&spec, &answer));
	assert_int_equal(answer.src.b[3], 2);
	assert_int_equal(answer.src_port, 80);
	assert_true(packet_spec_answer(&answer, &again));
	assert_memory_equal(&again, &spec, sizeof(spec));
	spec = two_hosts(1);
	spec.icmp_type = 8;
	assert_true(packet_spec_answer(&spec, &answer));
	assert_int_equal(answer.icmp_type, 0);
	spec.icmp_type = 3;
	assert_false(packet_spec_answer(&spec, &answer));
	spec = two_hosts(17);
	spec.dst = (union wire_addr){ .b = { 224, 0, 0, 1 } };
	assert_false(packet_spec_answer(&spec, &answer));
	spec.dst = (union wire_addr){ .b = { 255, 255, 255, 255 } };
	assert_false(packet_spec_answer(&spec, &answer));
	spec = two_hosts(50);
	spec.spi = 256;
	assert_false(packet_spec_answer(&spec, &answer));
}

/* ---- captures ------------------------------------------------------------------------------ */

/* Little endian pcapng: a section, an Ethernet interface, one packet of 16 octets. */
static const uint8_t sections[] = {
	0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 28, 0, 0, 0,
	1, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 4, 0, 20, 0, 0, 0,
	6, 0, 0, 0, 48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 16, 0, 0, 0,
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0, 13, 14, 48, 0, 0, 0,
};

/* Big endian pcap with nanoseconds: a packet of 16 octets. */
static const uint8_t plain[] = {
	0xa1, 0xb2, 0x3c, 0x4d, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 16,
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0, 13, 14,
};

/* Reads all packets; how many, or the error. */
static int read_all(const uint8_t *octets, size_t len, struct capture_frame *frame)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct ipsecbpf_report report = { 0 };
	int count = 0, result = -1;
	struct capture *capture;
	FILE *file;

	assert_non_null(copy);
	memcpy(copy, octets, len);
	file = fmemopen(copy, len ? len : 1, "r");
	capture = capture_start(file, "test", &report);
	while (capture && (result = capture_next(capture, frame)) > 0) {
		assert_in_range(frame->len, frame->problem ? 0 : 14, CAPTURE_FRAME_MAX);
		assert_int_equal(frame->number, ++count);
	}
	assert_true((result < 0) == (report.errors == 1));
	capture_close(capture);
	fclose(file);
	report_fini(&report);
	free(copy);
	return result < 0 ? -1 : count;
}

static void test_captures(void **state)
{
	struct capture_frame frame;

	(void)state;
	assert_int_equal(read_all(sections, sizeof(sections), &frame), 1);
	assert_int_equal(frame.len, 16);
	assert_int_equal(frame.data[15], 14);
	memset(&frame, 0, sizeof(frame));
	assert_int_equal(read_all(plain, sizeof(plain), &frame), 1);
	assert_int_equal(frame.data[15], 14);
	/* Cut anywhere but at the end of the headers, it is an error. */
	for (size_t len = 1; len < sizeof(sections); len++)
		assert_int_equal(read_all(sections, len, &frame), len == 28 || len == 48 ? 0 : -1);
	for (size_t len = 1; len < sizeof(plain); len++)
		assert_int_equal(read_all(plain, len, &frame), len == 24 ? 0 : -1);
}

/* For the sanitizers: whatever it says, nothing beyond it is read. */
static void test_mutated_captures(void **state)
{
	uint8_t copy[sizeof(sections)];
	struct capture_frame frame;
	unsigned int seed = 7;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		bool ng = round & 1;
		size_t len = ng ? sizeof(sections) : sizeof(plain);

		memcpy(copy, ng ? sections : plain, len);
		for (int i = 0; i < 1 + round % 3; i++)
			copy[(size_t)rand_r(&seed) % len] = (uint8_t)rand_r(&seed);
		read_all(copy, len, &frame);
	}
}

/* ---- sockets ------------------------------------------------------------------------------- */

static void test_socket_lines(void **state)
{
	struct packet_spec spec;
	unsigned long inode;

	(void)state;
	assert_true(process_socket_line(
		"   0: 0100000A:C350 0200000A:0050 01 00000000:00000000 00:00000000 00000000     0"
		"        0 4711 1 0000000000000000 20 4 30 10 -1", FAMILY_V4, &spec, &inode));
	assert_int_equal(inode, 4711);
	assert_int_equal(spec.src.b[0] * 1000 + spec.src.b[3], 10001);
	assert_int_equal(spec.dst.b[0] * 1000 + spec.dst.b[3], 10002);
	assert_int_equal(spec.src_port, 50000);
	assert_int_equal(spec.dst_port, 80);
	assert_true(process_socket_line(
		"   0: 0000000000000000FFFF00000100000A:C350 0000000000000000FFFF00000200000A:0050 01"
		" 00000000:00000000 00:00000000 00000000     0        0 5 1 0", FAMILY_V6, &spec,
		&inode));
	assert_int_equal(spec.family, FAMILY_V4);
	assert_int_equal(spec.dst.b[3], 2);
	assert_true(process_socket_line(
		"   0: 000000FD000000000000000001000000:C350 000000FD000000000000000002000000:0050 01"
		" 00000000:00000000 00:00000000 00000000     0        0 5 1 0", FAMILY_V6, &spec,
		&inode));
	assert_int_equal(spec.family, FAMILY_V6);
	assert_int_equal(spec.dst.b[0], 0xfd);
	assert_int_equal(spec.dst.b[15], 2);
	/* Listening; the heading. */
	assert_false(process_socket_line(
		"   0: 0100000A:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0"
		"        0 4711 1 0", FAMILY_V4, &spec, &inode));
	assert_false(process_socket_line("  sl  local_address rem_address   st", FAMILY_V4, &spec,
					 &inode));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_problems),
		cmocka_unit_test(test_what_is_left_out),
		cmocka_unit_test(test_protocols),
		cmocka_unit_test(test_dscps),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_read_and_written),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_captures),
		cmocka_unit_test(test_mutated_captures),
		cmocka_unit_test(test_socket_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
