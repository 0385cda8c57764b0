/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Does a packet that this host did not make claim to come from it?
 * Called by: xdp_ingress, tc_egress. Reads own_addresses; writes nothing.
 */
#ifndef IPSECBPF_OWN_ADDRESS_H
#define IPSECBPF_OWN_ADDRESS_H

#include "maps.h"
#include "parse.h"

/* Addresses that are no station's own, whatever the map holds: address probes come from the
 * unspecified one (RFC 4862 5.4.2, DHCP). */
static __always_inline bool is_nobodys(const struct packet_info *info)
{
	const union wire_addr *src = &info->src;

	if (info->family == FAMILY_V4)
		return !src->w[0] || (src->w[0] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
	return !(src->w[0] | src->w[1] | src->w[2] | src->w[3]) ||
	       (src->w[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

static __always_inline bool is_own_address(const union wire_addr *addr, __u8 family)
{
	struct own_address key = { .addr = *addr, .family = family };

	return bpf_map_lookup_elem(&own_addresses, &key);
}

static __always_inline bool is_own_source(const struct packet_info *info)
{
	return info->is_ip && !is_nobodys(info) && is_own_address(&info->src, info->family);
}

/* Loopback addresses are in no map. */
static __always_inline bool is_loopback_address(const union wire_addr *addr, __u8 family)
{
	if (family == FAMILY_V4)
		return (addr->w[0] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !(addr->w[0] | addr->w[1] | addr->w[2]) && addr->w[3] == bpf_htonl(1);
}

static __always_inline bool is_here(const union wire_addr *addr, __u8 family)
{
	return is_loopback_address(addr, family) || is_own_address(addr, family);
}

#endif /* IPSECBPF_OWN_ADDRESS_H */
