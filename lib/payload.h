/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What ESP and AH carry, where they do the same with it: finding it in a packet to be protected in
 * transport mode, and making a packet of it again in either mode.
 *
 * Included by: esp_encap.c, esp_decap.c, ah_protect.c, ah_verify.c. Pure.
 */
#ifndef IPSECBPF_PAYLOAD_H
#define IPSECBPF_PAYLOAD_H

#include "ip_layout.h"
#include "sa_runtime.h"

#define IP_TOTAL_MAX 65535	/* octets of a packet, protected or not */

/* Of an authenticated packet. */
struct payload {
	uint8_t *start;		/* in the packet */
	uint32_t len;
	uint8_t next;		/* its protocol */
};

/*
 * Transport mode, outbound: moves `layout` (from ip_layout_parse()) to where the ESP or AH header
 * goes. DROP_NONE, DROP_FRAGMENT_TRANSPORT, DROP_SA_SELECTOR (not between the SA's own two
 * addresses), or as ip_layout_find_insertion().
 */
enum drop_reason payload_find_transport(const struct sa_runtime *sa, struct ip_layout *layout);

/*
 * Inbound: closes the packet up over what stood before and behind the payload, and makes it the
 * packet that was protected: of transport mode with the headers that were in front (up to
 * layout->upper_off), of tunnel mode the inner one, with its ethertype and the outer header's ECN.
 * Sets inner_family. DROP_NONE; tunnel mode: DROP_SA_SELECTOR if it is no IP packet,
 * DROP_MALFORMED, DROP_ECN.
 */
enum drop_reason payload_deliver(const struct sa_runtime *sa, struct packet *packet,
				 const struct ip_layout *layout, const struct payload *payload);

#endif /* IPSECBPF_PAYLOAD_H */
