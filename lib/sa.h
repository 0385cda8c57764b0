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

struct sa_config {
	union wire_addr src, dst;	/* outer addresses */
	__be32 spi;
	uint8_t proto;			/* IPPROTO_ESP */
	uint8_t family;			/* enum ip_family of src and dst */
	uint8_t direction;		/* enum spd_direction; see sa_resolve_direction() */
	bool tunnel;
	bool esn;
	bool direction_given;		/* the file says it; otherwise it follows from the addresses */
	uint16_t suite;			/* suite_index() */
	uint32_t replay_window;		/* packets, 0-4096 */
	uint32_t protect_id;		/* filled in at apply from `peer` and `protection` */
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
