/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ICV of AH (RFC 4302 3.3.3): over the IP packet in place, with the fields of the headers that
 * may change on the way zeroed and afterwards put back.
 *
 * Included by: ah_protect.c, ah_verify.c. Pure.
 */
#ifndef IPSECBPF_AH_ICV_H
#define IPSECBPF_AH_ICV_H

#include "ah.h"
#include "ip_layout.h"

#define AH_HEADERS_MAX 8192	/* octets in front of AH, of all packets of a burst together */

/* Packets whose ICVs the engine computes at once. */
struct ah_burst {
	struct crypto_op ops[BURST];
	struct packet *packets[BURST];
	struct ip_layout layout[BURST];	/* as the packet is protected; upper_off: of AH */
	uint32_t inner_len[BURST];	/* outbound: octets of the packet inside, */
	uint64_t inner_sum;		/* and of all of them */
	uint8_t icv[BURST][SUITE_ICV_MAX];	/* received, or computed */
	uint32_t saved_at[BURST];	/* into `saved` */
	uint8_t saved[AH_HEADERS_MAX];	/* the headers in front of AH as they were */
	uint32_t saved_len;
	unsigned int count;
};

/* Makes an empty burst. */
static inline void ah_burst_reset(struct ah_burst *burst)
{
	burst->inner_sum = 0;
	burst->saved_len = 0;
	burst->count = 0;
}

/*
 * Can the ICV be computed over what stands in front of layout->upper_off? DROP_NONE,
 * DROP_MALFORMED (an option's length lies) or DROP_UNSUPPORTED (a source route not used up: where
 * the packet will arrive is not in its destination field; more than AH_HEADERS_MAX octets).
 */
enum drop_reason ah_icv_check(const struct ip_layout *layout);

/* Is there room for one more packet? There is in an empty burst, if the check held. */
bool ah_icv_fits(const struct ah_burst *burst, const struct ip_layout *layout);

/*
 * Adds a packet that is laid out and checked, and fits: keeps its ICV, zeroes mutable fields and
 * the ICV field, and fills in its op. packet->seq is set.
 */
void ah_icv_add(const struct sa_runtime *sa, struct ah_burst *burst, struct packet *packet,
		const struct ip_layout *layout);

/* Puts the headers of packet number `i` back. */
void ah_icv_restore(const struct ah_burst *burst, unsigned int i);

/* Are the octets behind the IP packet there that ah_icv_add() leaves to the engine? */
static inline bool ah_icv_room(const struct packet *packet, uint32_t total)
{
	return packet->len - packet->l2_len + packet->tailroom >= total + CRYPTO_BEHIND;
}

#endif /* IPSECBPF_AH_ICV_H */
