/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A packet as people name it (addresses, protocol, ports), and the frame that shows a hook all of
 * that. Only headers that policy can see are made, without payload and without checksums.
 *
 * Included by: explain, policy_test, and the CLI's explain.
 * Ownership:   plain values. Pure.
 */
#ifndef IPSECBPF_PACKET_SPEC_H
#define IPSECBPF_PACKET_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "abi_user.h"

#define PACKET_SPEC_FRAME_MAX 128	/* octets: Ethernet, a tag, IPv6, the upper header */

/* Numbers are in host byte order. */
struct packet_spec {
	union wire_addr src, dst;
	uint32_t spi;			/* ESP, AH; UDP: ESP in UDP; 0: none */
	uint16_t ethertype;		/* not an IP packet at all; 0: IP */
	uint16_t vlan;			/* 0: no tag */
	uint16_t src_port, dst_port;
	uint8_t family;			/* enum ip_family */
	uint8_t proto;
	uint8_t icmp_type, icmp_code;
	uint8_t dscp;
};

/* What was said of the packet; the rest is filled in. */
enum packet_given {
	GIVEN_SRC = 1, GIVEN_DST = 2, GIVEN_PROTOCOL = 4, GIVEN_SRC_PORT = 8, GIVEN_DST_PORT = 16,
	GIVEN_ICMP_TYPE = 32, GIVEN_ICMP_CODE = 64, GIVEN_SPI = 128, GIVEN_ETHERTYPE = 256,
	GIVEN_DSCP = 512,
};

/*
 * Checks that the parts fit together and fills in what is left out: without a protocol it is a
 * ping, without a source port one that no service has. `given`: bits of enum packet_given; the two
 * families are those of the addresses. NULL, or what is wrong.
 */
const char *packet_spec_finish(struct packet_spec *spec, unsigned int given,
			       enum ip_family src_family, enum ip_family dst_family);

/* A protocol's name as in policies, or number. False: it is neither. */
bool packet_protocol_parse(const char *text, uint8_t *ret_proto);
/* The name, or the number written to `out`. */
const char *packet_protocol_name(uint8_t proto, char out[4]);

/* The same of a DSCP. */
bool packet_dscp_parse(const char *text, uint8_t *ret_dscp);
const char *packet_dscp_name(uint8_t dscp, char out[4]);

/* Writes the frame; its length. `dst_mac` is its destination address. */
uint32_t packet_spec_build(const struct packet_spec *spec, const uint8_t dst_mac[6],
			   uint8_t frame[PACKET_SPEC_FRAME_MAX]);

/* What a hook has read of a packet. False: not IP, or nothing that can be written again. */
bool packet_spec_of(const struct packet_verdict *seen, struct packet_spec *ret_spec);

/* The packet that answers this one, with the same tag and DSCP. False: none does (multicast, ICMP errors, ESP, AH). */
bool packet_spec_answer(const struct packet_spec *spec, struct packet_spec *ret_answer);

#endif /* IPSECBPF_PACKET_SPEC_H */
