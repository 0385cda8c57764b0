/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a socket is bound and connected to, as keys of app_endpoints and app_flows. IPv4 in an IPv6
 * socket's clothes (RFC 4291 2.5.5.2) is IPv4: that is what its packets are.
 *
 * Called by: sock_hooks.h, sock_ops.h, sock_guard.h. Touches nothing.
 */
#ifndef IPSECBPF_SOCK_KEYS_H
#define IPSECBPF_SOCK_KEYS_H

#include <bpf/bpf_core_read.h>

#include "app.h"

#define V4_MAPPED bpf_htonl(0xffff)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sock_common {
	unsigned char skc_ipv6only : 1;
};

struct sock {
	struct sock_common __sk_common;
};

struct tcp_sock {
	__u8 bpf_sock_ops_cb_flags;
};

#pragma clang attribute pop

/* The address in the kernel of a socket that the verifier knows as one: it lets a helper read
 * there, but not the program. */
static __always_inline __u64 address_of(const void *socket)
{
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &socket);
	return address;
}

/* Does this IPv6 socket serve IPv6 alone? */
static __always_inline bool is_v6only(const void *socket)
{
	const struct sock *sk = (const struct sock *)address_of(socket);

	return BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only);
}

/* Does the kernel tell sock_ops of the state of this TCP socket? */
static __always_inline bool tells_states(const void *socket)
{
	const struct tcp_sock *sk = (const struct tcp_sock *)address_of(socket);

	return BPF_CORE_READ(sk, bpf_sock_ops_cb_flags) & BPF_SOCK_OPS_STATE_CB_FLAG;
}

static __always_inline bool is_v4_mapped(const union wire_addr *addr)
{
	return !addr->w[0] && !addr->w[1] && addr->w[2] == V4_MAPPED;
}

static __always_inline bool is_any_address(const union wire_addr *addr)
{
	return !(addr->w[0] | addr->w[1] | addr->w[2] | addr->w[3]);
}

/* A mapped address becomes the IPv4 one. Returns its enum ip_family. */
static __always_inline __u8 unmap_address(union wire_addr *addr)
{
	if (!is_v4_mapped(addr))
		return FAMILY_V6;
	addr->w[0] = addr->w[3];
	addr->w[2] = 0;
	addr->w[3] = 0;
	return FAMILY_V4;
}

/* A socket address that is bound: what the hooks can see of it differs. */
struct bound {
	union wire_addr addr;
	__u16 port;		/* host order */
	__u8 family;		/* AF_INET_FAMILY, AF_INET6_FAMILY */
	__u8 proto;
};

/* The endpoints of a bound socket: an IPv6 one that takes any address may serve IPv4 as well. */
static __always_inline void endpoint_keys(struct app_endpoint_key keys[APP_ENDPOINT_KEYS],
					  const struct bound *bound, const void *socket)
{
	__builtin_memset(keys, 0, APP_ENDPOINT_KEYS * sizeof(*keys));
	keys[0].local = bound->addr;
	keys[0].port = bpf_htons(bound->port);
	keys[0].proto = bound->proto;
	keys[0].family = bound->family == AF_INET6_FAMILY ? unmap_address(&keys[0].local) : FAMILY_V4;
	keys[1].family = FAMILY_COUNT;
	if (bound->family != AF_INET6_FAMILY || !is_any_address(&keys[0].local) || is_v6only(socket))
		return;
	keys[1].port = keys[0].port;
	keys[1].proto = keys[0].proto;
	keys[1].family = FAMILY_V4;
}

/* Where a socket is bound that the verifier knows as one. volatile: the verifier wants each field
 * read at its own place, clang would choose the place first. */
static __always_inline void bound_of(struct bound *bound, const volatile struct bpf_sock *sk)
{
	__builtin_memset(bound, 0, sizeof(*bound));
	bound->family = sk->family;
	bound->proto = sk->protocol;
	bound->port = sk->src_port;
	if (bound->family == AF_INET_FAMILY) {
		bound->addr.w[0] = sk->src_ip4;
		return;
	}
	bound->addr.w[0] = sk->src_ip6[0];
	bound->addr.w[1] = sk->src_ip6[1];
	bound->addr.w[2] = sk->src_ip6[2];
	bound->addr.w[3] = sk->src_ip6[3];
}

/* The connection of a connected one. */
static __always_inline void flow_key(struct app_flow_key *key, const volatile struct bpf_sock *sk)
{
	struct bound bound;

	bound_of(&bound, sk);
	__builtin_memset(key, 0, sizeof(*key));
	key->local = bound.addr;
	key->local_port = bpf_htons(bound.port);
	key->remote_port = sk->dst_port;
	key->proto = bound.proto;
	if (bound.family == AF_INET_FAMILY) {
		key->family = FAMILY_V4;
		key->remote.w[0] = sk->dst_ip4;
		return;
	}
	key->remote.w[0] = sk->dst_ip6[0];
	key->remote.w[1] = sk->dst_ip6[1];
	key->remote.w[2] = sk->dst_ip6[2];
	key->remote.w[3] = sk->dst_ip6[3];
	unmap_address(&key->local);
	key->family = unmap_address(&key->remote);
}

#endif /* IPSECBPF_SOCK_KEYS_H */
