/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hooks: what processes do to sockets. The first that happens to one notes who did it, which is then
 * true for as long as the socket lives, whoever it is handed to. Where datagram sockets of applications
 * are bound is noted as an endpoint, so that what arrives there is known to be theirs.
 *
 * Only sockets of the attachment's network namespace are touched: all others pass the first line.
 */
#ifndef IPSECBPF_SOCK_HOOKS_H
#define IPSECBPF_SOCK_HOOKS_H

#include "app.h"
#include "sock_image.h"
#include "sock_keys.h"
#include "stats.h"

#define SOCK_ALLOW  1
#define SOCK_REFUSE 0	/* the call fails with EPERM */

#define IPPROTO_MPTCP_NUMBER 262
#define AF_SMC_FAMILY 43

/* The network namespace of the NIC (attachment.netns_cookie). */
const volatile __u64 netns_cookie;

#define is_ours(ctx) (bpf_get_netns_cookie(ctx) == netns_cookie)

/* ---- steps ----------------------------------------------------------------------------------- */

/* A call was refused, or the guard refused a packet. Not by drop(): processes count here, not only
 * softirqs. */
static __always_inline int refuse(__u32 reason)
{
	__u64 *value = bpf_map_lookup_elem(&drops, &reason);

	if (value)
		__sync_fetch_and_add(value, 1);
	return SOCK_REFUSE;
}

static __always_inline void own_nothing(struct app_socket *socket)
{
	socket->endpoints[0].family = FAMILY_COUNT;
	socket->endpoints[1].family = FAMILY_COUNT;
	socket->flow.family = FAMILY_COUNT;
}

/* ---- whose it is ----------------------------------------------------------------------------- */

/* The application of a socket by the policy in force, and what that says of it. */
struct sock_owner {
	__u64 resolved;		/* APP_RESOLVED() */
	__u32 generation;
	__u32 app;
};

/* Is it an application's? */
static __always_inline bool owner_of(struct app_socket *socket, struct sock_owner *ret_owner)
{
	const union spd_cell *chunk;
	const struct control *ctl;
	__u32 zero = 0;

	ctl = bpf_map_lookup_elem(&control, &zero);
	if (!ctl)
		return false;
	ret_owner->generation = generation_in_force(ctl);
	chunk = spd_first_chunk(ret_owner->generation);
	if (!chunk || !chunk->head.apps)
		return false;
	ret_owner->resolved = app_known(&socket->who, &socket->resolved, ret_owner->generation,
					chunk->head.serial);
	ret_owner->app = APP_RESOLVED_APP(ret_owner->resolved);
	return ret_owner->app;
}

/* How a connection of it is noted. 0, or a negative drop reason. */
static __always_inline int owner_terms(struct app_flow_terms *terms, const struct sock_owner *owner,
				       __u64 cookie)
{
	struct app_limits limits;
	int err = app_limits(owner->generation, owner->app, &limits);

	if (err)
		return err;
	__builtin_memset(terms, 0, sizeof(*terms));
	terms->resolved = owner->resolved;
	terms->cookie = cookie;
	terms->name_digest = limits.name_digest;
	terms->flows_max = limits.flows_max;
	return 0;
}

/* May it have one more connection? */
static __always_inline bool owner_has_room(const struct sock_owner *owner)
{
	struct app_limits limits;

	return !app_limits(owner->generation, owner->app, &limits) &&
	       app_has_room(limits.name_digest, limits.flows_max);
}

/* ---- noting who made it ---------------------------------------------------------------------- */

/* As socket_note(), of a socket of which nothing is noted. Not inlined, for the stack's sake. */
static __noinline struct app_socket *socket_note_fresh(void *sk)
{
	union {
		struct image image;
		struct app_socket socket;
	} fresh;
	struct sock_owner owner;
	__u64 recalled;
	bool known;

	__builtin_memset(&fresh, 0, sizeof(fresh));
	known = image_recall(&fresh.image);
	if (!known) {
		identity_of_current(&fresh.image.who);
		fresh.image.resolved = 0;
	}
	recalled = fresh.image.resolved;
	owner_of(&fresh.socket, &owner);
	if (!known || fresh.image.resolved != recalled)
		image_keep(&fresh.image);
	fresh.socket.noted = 0;
	own_nothing(&fresh.socket);
	return bpf_sk_storage_get(&app_sockets, sk, &fresh.socket, BPF_SK_STORAGE_GET_F_CREATE);
}

/* What is noted of a socket; if nothing is yet, the running process made it. NULL: no memory. `sk`: a
 * socket, or the context of hooks whose context is one. */
static __always_inline struct app_socket *socket_note(void *sk)
{
	struct app_socket *socket = bpf_sk_storage_get(&app_sockets, sk, NULL, 0);

	return socket ? socket : socket_note_fresh(sk);
}

/* ---- endpoints of datagram sockets ----------------------------------------------------------- */

static __always_inline bool is_datagram(__u8 proto)
{
	return proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE || proto == IPPROTO_DCCP;
}

static __always_inline void endpoints_forget(struct app_socket *socket)
{
	for (int i = 0; i < APP_ENDPOINT_KEYS; i++) {
		if (socket->endpoints[i].family == FAMILY_COUNT)
			continue;
		app_endpoint_remove(&socket->endpoints[i]);
		socket->endpoints[i].family = FAMILY_COUNT;
	}
}

/* All or nothing: 0, or a negative drop reason. The caller has claimed the socket. */
static __always_inline int endpoints_add(struct app_socket *socket,
					 const struct app_endpoint_key keys[APP_ENDPOINT_KEYS],
					 const struct app_flow_terms *terms)
{
	int err = 0;

	for (int i = 0; !err && i < APP_ENDPOINT_KEYS; i++) {
		if (keys[i].family == FAMILY_COUNT)
			continue;
		err = app_endpoint_add(&keys[i], &socket->who, terms);
		if (!err)
			socket->endpoints[i] = keys[i];
	}
	if (err)
		endpoints_forget(socket);
	return err;
}

/*
 * Notes where a socket is bound, once: only one of several threads that use it, or of the hooks, may
 * count it. What it had noted before goes, since a datagram socket that was disconnected may be bound
 * anew; what was noted of a listener it came from is not its own.
 */
static __always_inline int endpoints_note(struct app_socket *socket, const struct bound *bound,
					  const void *sk, const struct app_flow_terms *terms)
{
	struct app_endpoint_key keys[APP_ENDPOINT_KEYS];
	int err;

	if (!app_socket_claim(socket, terms->cookie))
		return 0;
	endpoint_keys(keys, bound, sk);
	err = endpoints_add(socket, keys, terms);
	socket->noted = err ? 0 : terms->cookie;
	return err;
}

static __always_inline bool has_endpoint(const struct bound *bound)
{
	return bound->port && is_datagram(bound->proto);
}

/* The endpoints of a datagram socket, unless they are noted already. Not inlined, for the stack's sake. */
static __noinline int datagram_note(struct app_socket *socket, __u64 cookie,
					 const struct bound *bound, const void *sk)
{
	struct app_flow_terms terms;
	struct sock_owner owner;
	int err;

	if (socket->noted == cookie && socket->endpoints[0].port == bpf_htons(bound->port))
		return 0;
	if (!owner_of(socket, &owner))
		return 0;
	err = owner_terms(&terms, &owner, cookie);
	return err ? err : endpoints_note(socket, bound, sk, &terms);
}

/* ---- hooks ----------------------------------------------------------------------------------- */

/* Some of its sockets are made by the kernel, and no hook sees them: of MPTCP and SMC what connects, of
 * SCTP what is accepted. Programs fall back to TCP. */
static __always_inline bool has_hidden_sockets(const struct bpf_sock *ctx)
{
	return ctx->protocol == IPPROTO_MPTCP_NUMBER || ctx->protocol == IPPROTO_SCTP ||
	       ctx->family == AF_SMC_FAMILY;
}

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *ctx)
{
	struct sock_owner owner;
	struct app_socket *socket;

	if (!is_ours(ctx))
		return SOCK_ALLOW;
	socket = socket_note(ctx);
	if (!socket)
		return refuse(DROP_APP_FULL);
	if (has_hidden_sockets(ctx) && owner_of(socket, &owner))
		return refuse(DROP_UNSUPPORTED);
	return SOCK_ALLOW;
}

/* Before a socket is bound: does it ask for its port? If it gets it, bind_done() says what it is. */
static __always_inline int bind_asked(struct bpf_sock_addr *ctx)
{
	struct app_socket *socket;

	if (!is_ours(ctx))
		return SOCK_ALLOW;
	socket = socket_note(ctx->sk);
	if (!socket)
		return refuse(DROP_APP_FULL);
	if (ctx->user_port)
		__sync_fetch_and_or(&socket->flags, APP_SOCKET_ASKS);
	else
		__sync_fetch_and_and(&socket->flags, ~APP_SOCKET_ASKS);
	return SOCK_ALLOW;
}

SEC("cgroup/bind4")
int sock_bind4(struct bpf_sock_addr *ctx)
{
	return bind_asked(ctx);
}

SEC("cgroup/bind6")
int sock_bind6(struct bpf_sock_addr *ctx)
{
	return bind_asked(ctx);
}

/* After it was: it has its port. A refusal undoes the bind. */
static __always_inline int bind_done(struct bpf_sock *ctx, struct bound *bound)
{
	struct app_socket *socket = socket_note(ctx);

	if (!socket)
		return refuse(DROP_APP_FULL);
	/* One that asks for its port expects to be spoken to. */
	if (socket->flags & APP_SOCKET_ASKS)
		socket->flags = APP_SOCKET_SERVER;
	if (has_endpoint(bound) &&
	    datagram_note(socket, bpf_get_socket_cookie(ctx), bound, ctx))
		return refuse(DROP_APP_FULL);
	return SOCK_ALLOW;
}

SEC("cgroup/post_bind4")
int sock_bound4(struct bpf_sock *ctx)
{
	struct bound bound = {};

	if (!is_ours(ctx))
		return SOCK_ALLOW;
	bound.family = AF_INET_FAMILY;
	bound.proto = ctx->protocol;
	bound.port = ctx->src_port;
	bound.addr.w[0] = ctx->src_ip4;
	return bind_done(ctx, &bound);
}

SEC("cgroup/post_bind6")
int sock_bound6(struct bpf_sock *ctx)
{
	struct bound bound = {};

	if (!is_ours(ctx))
		return SOCK_ALLOW;
	bound.family = AF_INET6_FAMILY;
	bound.proto = ctx->protocol;
	bound.port = ctx->src_port;
	bound.addr.w[0] = ctx->src_ip6[0];
	bound.addr.w[1] = ctx->src_ip6[1];
	bound.addr.w[2] = ctx->src_ip6[2];
	bound.addr.w[3] = ctx->src_ip6[3];
	return bind_done(ctx, &bound);
}

/* An application that has as many connections as it may gets no other. */
static __always_inline int connect_asked(struct bpf_sock_addr *ctx)
{
	struct sock_owner owner;
	struct app_socket *socket;

	if (!is_ours(ctx))
		return SOCK_ALLOW;
	socket = socket_note(ctx->sk);
	if (!socket)
		return refuse(DROP_APP_FULL);
	if (ctx->protocol == IPPROTO_TCP && owner_of(socket, &owner) && !owner_has_room(&owner))
		return refuse(DROP_APP_FULL);
	return SOCK_ALLOW;
}

SEC("cgroup/connect4")
int sock_connect4(struct bpf_sock_addr *ctx)
{
	return connect_asked(ctx);
}

SEC("cgroup/connect6")
int sock_connect6(struct bpf_sock_addr *ctx)
{
	return connect_asked(ctx);
}

/* A datagram to an address that is named with it: the socket has been given a port by now. One that is
 * connected is met at tc_egress. */
static __always_inline int sendmsg_asked(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct app_socket *socket;
	struct bound bound;

	if (!sk || !is_ours(ctx))
		return SOCK_ALLOW;
	socket = socket_note(sk);
	if (!socket)
		return refuse(DROP_APP_FULL);
	bound_of(&bound, sk);
	if (has_endpoint(&bound) && datagram_note(socket, bpf_get_socket_cookie(ctx), &bound, sk))
		return refuse(DROP_APP_FULL);
	return SOCK_ALLOW;
}

SEC("cgroup/sendmsg4")
int sock_sendmsg4(struct bpf_sock_addr *ctx)
{
	return sendmsg_asked(ctx);
}

SEC("cgroup/sendmsg6")
int sock_sendmsg6(struct bpf_sock_addr *ctx)
{
	return sendmsg_asked(ctx);
}

/* Will sock_ops be told when the connection is closed? What asks the kernel for it can be taken back
 * by another program at that hook. */
static __always_inline bool is_end_told(struct bpf_sock *ctx, const struct app_socket *socket)
{
	const struct app_flow *flow = bpf_map_lookup_elem(&app_flows, &socket->flow);

	return flow && flow->tracked && ctx->state != BPF_TCP_CLOSE && tells_states(ctx);
}

/*
 * The last descriptor of it is closed. What is noted of a socket itself goes with it, if it was noted
 * for that one. Of a connection whose end the kernel tells, this is not the end.
 */
SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	struct app_socket *socket = bpf_sk_storage_get(&app_sockets, ctx, NULL, 0);
	__u64 cookie;

	if (!socket)
		return SOCK_ALLOW;
	__sync_fetch_and_or(&socket->flags, APP_SOCKET_CLOSED);
	cookie = bpf_get_socket_cookie(ctx);
	/* Ordered, for app_socket_settle(). */
	if (__sync_val_compare_and_swap(&socket->noted, cookie, cookie) != cookie)
		return SOCK_ALLOW;
	if (!is_end_told(ctx, socket))
		app_socket_claim(socket, cookie);
	return SOCK_ALLOW;
}

#endif /* IPSECBPF_SOCK_HOOKS_H */
