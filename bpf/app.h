/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whose is a packet? The application of the socket that sends it, where that is known; otherwise by
 * what was noted of applications' sockets: the connection, one that was closed lately, the local
 * address it is sent to. Who that is a socket's identity and the policy say (spd_app.h); an answer is
 * kept beside the identity for as long as the policy is in force.
 *
 * Called by: the hooks, before they ask for a verdict, if the policy names applications; the socket
 * hooks. Reads spd, own_addresses and app_sockets; writes through app_entries.h, and answers.
 */
#ifndef IPSECBPF_APP_H
#define IPSECBPF_APP_H

#include "app_entries.h"
#include "explain.h"
#include "own_address.h"
#include "spd.h"

#define SOCK_RAW_TYPE 3
#define AF_INET_FAMILY 2
#define AF_INET6_FAMILY 10
#define IPPROTO_L2TP_NUMBER 115

/* ---- which application an identity is -------------------------------------------------------- */

/* Where matches are looked for, in this order: cgroups from the deepest up, at each level first by path,
 * then as a unit; last those that ask for none. */
#define APP_PLACES (2 * APP_CGROUP_LEVELS + 1)

struct app_search {
	void *snapshot;
	const union spd_cell *chunk;	/* the first, in which struct spd_apps is */
	const struct app_identity *who;
	__u32 app;
	__u32 pad;
};

/* The application that asks for this cgroup (0: none) and these of the other properties, or 0. */
static __always_inline __u32 app_of_shape(const struct app_search *search, __u64 cgroup, __u32 shape)
{
	const struct spd_apps *apps = &search->chunk[SPD_APPS_CELL].apps;
	__u64 digest = spd_match_digest(apps->seed, cgroup, search->who, shape);
	__u32 cell = spd_bucket_cell(apps, digest), index = cell >> SPD_CHUNK_SHIFT;
	const union spd_cell *chunk = bpf_map_lookup_elem(search->snapshot, &index);

	/* Opaque: clang would move the mask to where the verifier cannot see what it is for. */
	asm("" : "+r"(cell));
	return chunk ? spd_bucket_find(&chunk[cell & (SPD_CHUNK_CELLS - 1)].bucket, digest) : 0;
}

/* The cgroup's digest at one of APP_PLACES but the last; 0: nobody asks for one there. */
static __always_inline __u64 app_place_cgroup(const struct app_search *search, __u32 place)
{
	const struct spd_apps *apps = &search->chunk[SPD_APPS_CELL].apps;
	__u32 level = APP_CGROUP_LEVELS - place / 2;

	if (place & 1)
		return level == search->who->unit_level && apps->units >> level & 1 ?
			       search->who->unit : 0;
	return apps->cgroups >> level & 1 ?
		       search->who->cgroup[(level - 1) & (APP_CGROUP_LEVELS - 1)] : 0;
}

/* One place. 1: it is found, or nothing is left. */
static long app_search_place(__u64 index, struct app_search *search)
{
	const struct spd_apps *apps = &search->chunk[SPD_APPS_CELL].apps;
	bool last = index == APP_PLACES - 1;
	__u64 cgroup = last ? 0 : app_place_cgroup(search, index);

	if (last ? !(apps->cgroups & 1) : !cgroup)
		return last;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < SPD_MATCH_SHAPES; i++) {
		__u32 shape = SPD_MATCH_SHAPES - 1 - i;

		/* Without a cgroup something must be asked for. An unknown executable is none. */
		if (!(apps->shapes >> shape & 1) || (!shape && last) ||
		    ((shape & SPD_MATCH_EXE) && !search->who->exe))
			continue;
		search->app = app_of_shape(search, cgroup, shape);
		if (search->app)
			return 1;
	}
	return 0;
}

/* APP_RESOLVED() by the policy of the generation; 0: there is no policy. Not inlined, as spd_search(). */
__noinline __u64 app_resolve(const struct app_identity *who, __u32 generation)
{
	struct app_search search = {
		.snapshot = bpf_map_lookup_elem(&spd, &generation),
		.who = who,
	};
	__u32 zero = 0;

	if (!search.snapshot || !who)
		return 0;
	search.chunk = bpf_map_lookup_elem(search.snapshot, &zero);
	if (!search.chunk)
		return 0;
	if (search.chunk->head.apps)
		bpf_loop(APP_PLACES, app_search_place, &search, 0);
	return APP_RESOLVED(search.chunk->head.serial, search.app);
}

/* Against accidents: to see whether it is still the same. */
static __noinline __u64 app_identity_sum(const struct app_identity *who)
{
	const volatile __u64 *words = (const volatile __u64 *)who;
	__u64 sum = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < sizeof(*who) / sizeof(*words); i++)
		sum = sum * 0x9e3779b97f4a7c15ull + words[i];
	return sum;
}

/*
 * As app_resolve(), remembering the answer in *resolved, which lies beside `who`. What lies there may
 * by now be another's: such a one has an answer by this policy already, and keeps it; or it has the
 * same old one, and what it was given here is taken back.
 */
static __always_inline __u64 app_known(const struct app_identity *who, __u64 *resolved,
				       __u32 generation, __u32 serial)
{
	__u64 known = *resolved, found, sum;

	if (APP_RESOLVED_SERIAL(known) == serial)
		return known;
	sum = app_identity_sum(who);
	found = app_resolve(who, generation);
	if (!explaining && __sync_val_compare_and_swap(resolved, known, found) == known &&
	    app_identity_sum(who) != sum)
		__sync_val_compare_and_swap(resolved, found, 0);
	return found;
}

static __always_inline void packet_is_of(struct packet_info *info, __u64 resolved)
{
	info->app = APP_RESOLVED_APP(resolved);
	info->app_serial = APP_RESOLVED_SERIAL(resolved);
}

/* ---- by what was noted of sockets ----------------------------------------------------------- */

static __always_inline bool has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE ||
	       proto == IPPROTO_SCTP || proto == IPPROTO_DCCP;
}

static __always_inline struct app_flow_key app_flow_key(const struct packet_info *info, bool in)
{
	return (struct app_flow_key){
		.local = in ? info->dst : info->src,
		.remote = in ? info->src : info->dst,
		.local_port = has_ports(info->proto) ? (in ? info->dst_port : info->src_port) :
						       info->icmp_id,
		.remote_port = in ? info->src_port : info->dst_port,
		.proto = info->proto,
		.family = info->family,
	};
}

/* A connection, or one that was, or an exchange; APP_RESOLVED(), 0: unknown. */
static __noinline __u64 app_of_flow(const struct packet_info *info, __u32 generation, __u32 serial,
				    bool in)
{
	struct app_flow_key key = app_flow_key(info, in);
	struct app_flow *flow = NULL;

	if (info->proto == IPPROTO_TCP)
		flow = bpf_map_lookup_elem(&app_flows, &key);
	if (flow)
		return app_known(&flow->who, &flow->resolved, generation, serial);
	if (info->proto == IPPROTO_TCP)
		flow = bpf_map_lookup_elem(&app_closed, &key);
	else
		flow = bpf_map_lookup_elem(&app_exchanges, &key);
	if (!flow || flow->until_ns < bpf_ktime_get_ns())
		return 0;
	return app_known(&flow->who, &flow->resolved, generation, serial);
}

static __always_inline bool is_group_address(const union wire_addr *addr, __u8 family)
{
	if (family == FAMILY_V4)
		return (addr->w[0] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
		       addr->w[0] == 0xffffffff;
	return addr->b[0] == 0xff;
}

/*
 * Where sockets are spoken to; APP_RESOLVED(), 0: nobody's. Any address is one of this host's, or a
 * group's: what this host only forwards is not for its sockets.
 */
static __noinline __u64 app_of_endpoint(const struct packet_info *info, __u32 generation, __u32 serial,
					bool in)
{
	struct app_endpoint_key key = {
		.local = in ? info->dst : info->src,
		.port = !has_ports(info->proto) ? 0 : in ? info->dst_port : info->src_port,
		.proto = info->proto,
		.family = info->family,
	};
	struct app_endpoint *endpoint = bpf_map_lookup_elem(&app_endpoints, &key);

	if (!endpoint) {
		__builtin_memset(&key.local, 0, sizeof(key.local));
		endpoint = bpf_map_lookup_elem(&app_endpoints, &key);
		if (endpoint && in && !is_group_address(&info->dst, info->family) &&
		    !is_own_address(&info->dst, info->family))
			return 0;
	}
	return endpoint ? app_known(&endpoint->who, &endpoint->resolved, generation, serial) : 0;
}

/* UDP has no connections, but for those who use it (they are endpoints). */
static __always_inline __u64 app_by_maps(const struct packet_info *info, __u32 generation,
					 __u32 serial, bool in)
{
	__u64 resolved = 0;

	if (info->proto == IPPROTO_TCP || !has_ports(info->proto))
		resolved = app_of_flow(info, generation, serial, in);
	return resolved ? resolved : app_of_endpoint(info, generation, serial, in);
}

/* Whose the packet is, without its socket: sets info->app and app_serial. What this host forwards is
 * nobody's here; nor are fragments that do not show the ports they have. */
__noinline int app_of_packet(struct packet_info *info, __u32 generation, __u32 way)
{
	union spd_cell *chunk = spd_first_chunk(generation);
	__u64 resolved = 0;
	__u32 serial;

	if (!info || !chunk)
		return 0;
	serial = chunk->head.serial;
	info->app = 0;
	info->app_serial = serial;
	if (explain_app(info) || !info->is_ip || way == SPD_WAY_OUT_FORWARDED)
		return 0;
	resolved = app_by_maps(info, generation, serial, way == SPD_WAY_IN);
	if (resolved)
		packet_is_of(info, resolved);
	return 0;
}

/* ---- by the socket that sends it ------------------------------------------------------------ */

/* What an application may have, from the snapshot. */
struct app_limits {
	__u64 name_digest;
	__u32 flows_max;
	__u32 optional_rate;
};

/* 0, or -DROP_INTERNAL: there is no such application, or no policy. app 0: the host. */
__noinline int app_limits(__u32 generation, __u32 app, struct app_limits *limits)
{
	void *snapshot = bpf_map_lookup_elem(&spd, &generation);
	union spd_cell *chunk = spd_first_chunk(generation);
	const struct spd_app *found;
	__u32 cell, index;

	if (!snapshot || !chunk || !limits || app > chunk->head.apps)
		return -DROP_INTERNAL;
	found = (const struct spd_app *)&chunk[SPD_HOST_CELL];
	if (app) {
		cell = spd_app_cell(&chunk[SPD_APPS_CELL].apps, app);
		index = cell >> SPD_CHUNK_SHIFT;
		chunk = bpf_map_lookup_elem(snapshot, &index);
		if (!chunk)
			return -DROP_INTERNAL;
		asm("" : "+r"(cell));
		/* Even, so that both its cells are in the chunk. */
		found = (const struct spd_app *)&chunk[cell & (SPD_CHUNK_CELLS - 2)];
	}
	limits->name_digest = found->name_digest;
	limits->flows_max = found->flows_max;
	limits->optional_rate = found->optional_rate;
	return 0;
}

/* How what is noted of a socket counts. 0, or a negative drop reason. */
static __always_inline int app_terms(struct app_flow_terms *terms, const struct app_socket *socket,
				     __u32 generation, __u32 app, __u64 cookie)
{
	struct app_limits limits;
	int err = app_limits(generation, app, &limits);

	if (err)
		return err;
	__builtin_memset(terms, 0, sizeof(*terms));
	terms->resolved = socket->resolved;
	terms->cookie = cookie;
	terms->name_digest = limits.name_digest;
	terms->flows_max = limits.flows_max;
	return 0;
}

/*
 * Notes the connection of a socket whose hooks have not: it is older than they are, or there was no
 * room for it then. Those go on without: a place is looked for when there is one.
 */
static __noinline int app_note_flow(struct app_socket *socket, const struct packet_info *info,
				    __u32 generation, __u64 cookie)
{
	struct app_flow_key key = app_flow_key(info, false);
	bool hooked = socket->noted == cookie;
	struct app_flow_terms terms;
	int err = app_terms(&terms, socket, generation, info->app, cookie);

	if (hooked) {
		/* Nor does it take connect()'s share: who opened it is not known any more. */
		terms.flows_max = APP_FLOWS_ACCEPTED(terms.flows_max);
		if (err || !app_has_room(terms.name_digest, terms.flows_max))
			return 0;
	}
	if (err || !app_socket_claim(socket, cookie))
		return err;
	terms.tracked = hooked;
	err = app_flow_add(&key, &socket->who, &terms);
	if (!err)
		socket->flow = key;
	app_socket_settle(socket, err && !hooked ? 0 : cookie);
	return hooked ? 0 : err;
}

/* Where the socket is bound, as far as this packet shows: an IPv6 one may serve IPv4, too. */
static __always_inline void app_endpoint_of(struct app_endpoint_key *key, const struct bpf_sock *sk,
					    const struct packet_info *info)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->port = bpf_htons(sk->src_port);
	key->proto = info->proto;
	key->family = info->family;
	if (sk->family == AF_INET_FAMILY) {
		key->local.w[0] = sk->src_ip4;
	} else if (info->family == FAMILY_V4) {
		key->local.w[0] = sk->src_ip6[3];
	} else {
		key->local.w[0] = sk->src_ip6[0];
		key->local.w[1] = sk->src_ip6[1];
		key->local.w[2] = sk->src_ip6[2];
		key->local.w[3] = sk->src_ip6[3];
	}
}

static __always_inline bool app_flow_is_noted(const struct app_socket *socket, __u64 cookie)
{
	return socket->noted == cookie && socket->flow.family != FAMILY_COUNT;
}

/* Are its endpoints those of its port? A socket that is connected anew may have another. */
static __always_inline bool app_endpoint_is_noted(const struct app_socket *socket,
						  const struct bpf_sock *sk, __u64 cookie)
{
	return socket->noted == cookie && socket->endpoints[0].port == bpf_htons(sk->src_port);
}

/* The same of a socket without connections. Only one of several CPUs that send may count it. */
static __noinline int app_note_endpoint(struct app_socket *socket, const struct bpf_sock *sk,
					const struct packet_info *info, __u32 generation,
					__u64 cookie)
{
	struct app_endpoint_key key;
	struct app_flow_terms terms;
	int err = app_terms(&terms, socket, generation, info->app, cookie);

	if (err || !app_socket_claim(socket, cookie))
		return err;
	app_endpoint_of(&key, sk, info);
	err = app_endpoint_add(&key, &socket->who, &terms);
	if (!err)
		socket->endpoints[0] = key;
	app_socket_settle(socket, err ? 0 : cookie);
	return err;
}

static __noinline int app_note_exchange(struct app_socket *socket, const struct packet_info *info,
					__u64 cookie)
{
	struct app_flow_key key = app_flow_key(info, false);

	return app_exchange_note(&key, &socket->who, socket->resolved, cookie);
}

/*
 * Is it an exchange of the socket's own? What tunnels of the kernel's make of its packets has that
 * socket, too, but answers come to everybody who uses the tunnel.
 */
static __always_inline bool is_own_exchange(const struct bpf_sock *sk, const struct packet_info *info)
{
	if (sk->protocol == info->proto)
		return true;
	return sk->type == SOCK_RAW_TYPE && sk->protocol == IPPROTO_RAW &&
	       info->proto != IPPROTO_IPIP && info->proto != IPPROTO_IPV6 &&
	       info->proto != IPPROTO_GRE && info->proto != IPPROTO_ESP &&
	       info->proto != IPPROTO_AH && info->proto != IPPROTO_L2TP_NUMBER;
}

/*
 * Answers come before their socket is known: notes for them what is not noted yet. A raw socket may
 * write any ports, which are not its own; packets that waited for their neighbour may be all that is left
 * of one that was closed, and those of one that was disconnected are from no port. 0, or a negative drop
 * reason: the packet must not go where its answers would be taken for somebody else's.
 */
static __always_inline int app_note(struct app_socket *socket, const struct bpf_sock *sk,
				    const struct packet_info *info, __u32 generation, __u64 cookie)
{
	if (!info->is_ip || info->fragment == FRAGMENT_LATER || (socket->flags & APP_SOCKET_CLOSED))
		return 0;
	if (!has_ports(info->proto))
		return is_own_exchange(sk, info) ? app_note_exchange(socket, info, cookie) : 0;
	if (sk->protocol != info->proto || sk->state == BPF_TCP_LISTEN || sk->type == SOCK_RAW_TYPE ||
	    !sk->src_port)
		return 0;
	if (info->proto == IPPROTO_TCP && app_flow_is_noted(socket, cookie))
		return 0;
	if (info->proto == IPPROTO_TCP)
		return app_note_flow(socket, info, generation, cookie);
	return app_endpoint_is_noted(socket, sk, cookie) ? 0 :
							   app_note_endpoint(socket, sk, info,
								     generation, cookie);
}

/* As app_of_packet(), for one that this host sends. 0, or a negative drop reason. */
__noinline int app_of_skb(struct __sk_buff *skb, struct packet_info *info, __u32 generation)
{
	__u32 serial = spd_serial(spd_head_of(generation));
	struct bpf_sock *sk = skb->sk;
	struct app_socket *socket;

	if (!info)
		return -DROP_INTERNAL;
	if (sk)
		sk = bpf_sk_fullsock(sk);
	socket = sk ? bpf_sk_storage_get(&app_sockets, sk, 0, 0) : NULL;
	if (!socket || !sk)
		return app_of_packet(info, generation, SPD_WAY_OUT_LOCAL);
	packet_is_of(info, app_known(&socket->who, &socket->resolved, generation, serial));
	info->app_of_socket = 1;
	return info->app ? app_note(socket, sk, info, generation, bpf_get_socket_cookie(skb)) : 0;
}

#endif /* IPSECBPF_APP_H */
