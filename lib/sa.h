/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration of one SA (RFC 4301 4.4.2): what an administrator or IKE decides. Run-time state
 * is struct sa_state (bpf/abi.h) and struct sa_runtime (esp.h).
 *
 * Included by: sa_json (makes it), control (sends it), supervisor and worker (keep it).
 * Ownership:   holds keys. Whoever has one wipes it with sa_config_wipe() on every way out.
 */
#ifndef IPSECBPF_SA_H
#define IPSECBPF_SA_H

#include <stdbool.h>
#include <stdint.h>

#include "abi_user.h"
#include "suite.h"

#define SPI_RESERVED_MAX   255	/* RFC 4303 2.1 */
#define SA_FINGERPRINT_LEN 8	/* hex digits shown in place of a key */

/* Where an SA ends, whichever comes first. 0: no such limit. */
struct sa_limits {
	uint64_t bytes;			/* of inner packets */
	uint64_t packets;
	uint64_t seconds;		/* since it was added */
};

/* The DF bit of an outer IPv4 header in tunnel mode (RFC 4301 8.1). X(enumerator, JSON word) */
#define DF_RULES(X)		\
	X(COPY, "copy")		\
	X(SET, "set")		\
	X(CLEAR, "clear")

enum df_rule {
#define X(id, word) DF_##id,
	DF_RULES(X)
#undef X
};

#define DSCP_COPY 0xff		/* of sa_config.dscp: as in the inner header */
#define KEEPALIVE_DEFAULT 20	/* seconds (RFC 3948 section 4) */

struct sa_config {
	union wire_addr src, dst;	/* outer addresses */
	__be32 spi;
	uint8_t proto;			/* IPPROTO_ESP, IPPROTO_AH */
	uint8_t family;			/* enum ip_family of src and dst */
	uint8_t direction;		/* enum spd_direction; see sa_resolve_direction() */
	bool tunnel;
	bool esn;
	bool direction_given;		/* the file says it; otherwise it follows from the addresses */
	uint16_t suite;			/* suite_index() */
	uint32_t replay_window;		/* packets, 0-4096 */
	uint8_t dscp;			/* tunnel: of the outer header, or DSCP_COPY */
	uint8_t df;			/* tunnel: enum df_rule */
	bool follow_peer;		/* UDP: go where authenticated packets come from */
	bool reassemble;		/* outbound fragments; filled in at apply from the protection */
	__be16 encap_sport, encap_dport;	/* ESP in UDP (RFC 3948), ports on the wire; 0: plain */
	uint16_t keepalive;		/* UDP, outbound: seconds without traffic; 0: none */
	uint8_t next_hop_family;	/* enum ip_family of next_hop */
	bool next_hop_given;		/* tunnel, outbound: otherwise the route to dst says it */
	union wire_addr next_hop;
	struct sa_limits soft, hard;
	uint32_t protect_id;		/* filled in at apply from `peer` and `protection` */
	uint32_t within_id;		/* the same of the SA around this one on the wire; 0: none */
	char peer[NAME_LEN];		/* filled in at apply: whose address it is in the policy */
	char protection[NAME_LEN];
	uint8_t key[SUITE_KEY_MAX];	/* cipher key, then salt */
	uint8_t mac_key[SUITE_KEY_MAX];
};

/* Overwrites the keys (not removable by the optimiser). */
void sa_config_wipe(struct sa_config *sa);

/* Can a host have this address? Not unspecified, multicast, 0/8 or 240/4. */
bool sa_address_usable(enum ip_family family, const union wire_addr *addr);

/*
 * Must this cipher key be refused? So it is for 3DES if two of its three keys are equal (RFC 2451
 * section 2.3: that is DES, or half of the key) or one is weak or semi-weak to DES.
 */
bool sa_key_is_weak(const struct sa_config *sa);

/* First 8 hex digits of SHA-256 over suite name, keys and salt; `out` gets a NUL. */
void sa_fingerprint(const struct sa_config *sa, char out[SA_FINGERPRINT_LEN + 1]);

/*
 * 32 hex digits naming the cipher key alone (SHA-256 over a label, the cipher and the key, without
 * salt and SPI): what sequence number reservations are filed under, so that the same key in two
 * SAs shares one reservation (RFC 4106 section 2).
 */
void sa_key_id(const struct sa_config *sa, char out[33]);

#endif /* IPSECBPF_SA_H */
