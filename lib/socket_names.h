/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A socket's addresses, as packets have them: an IPv6 socket that speaks IPv4 is IPv4.
 *
 * Included by: app_scan_note.c, app_show.c, unit tests. No state.
 */
#ifndef IPSECBPF_SOCKET_NAMES_H
#define IPSECBPF_SOCKET_NAMES_H

#include <stdbool.h>

#include "abi_user.h"

struct socket_name {
	union wire_addr addr;
	__be16 port;
	uint8_t family;		/* enum ip_family */
};

/* False: it has none (not bound, not connected), or is no Internet socket. */
bool socket_local(int fd, struct socket_name *ret_name);
bool socket_remote(int fd, struct socket_name *ret_name);

/* Where it is spoken to: 0, 1, or 2 (bound to any IPv6 address and serving IPv4 as well). */
int socket_endpoints(int fd, uint8_t proto, struct app_endpoint_key keys[APP_ENDPOINT_KEYS]);

/* False: it is not connected. */
bool socket_flow(int fd, uint8_t proto, struct app_flow_key *ret_key);

#endif /* IPSECBPF_SOCKET_NAMES_H */
