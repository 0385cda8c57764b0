/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is noted of applications' sockets, for packets whose socket is not known: connections, where
 * theirs are spoken to, and for a while what was. What both BPF objects do with those maps.
 *
 * All return 0 or a negative drop reason, as packets and connections are refused where they cannot be
 * noted. Safe on all CPUs at once, with the hooks of the other object, and with user space that uses
 * BPF_F_LOCK. Keys are in wire order, as in packets.
 *
 * Included by: app.h and, through it or by itself, ipsecbpf_sockets.bpf.c. Writes app_flows,
 * app_endpoints, app_closed, app_exchanges and app_usage.
 */
#ifndef IPSECBPF_APP_ENTRIES_H
#define IPSECBPF_APP_ENTRIES_H

#include <bpf/bpf_endian.h>

#include "maps.h"

#define EBUSY_NUMBER 16
#define app_barrier() asm volatile("" : : : "memory")

/* Static: Linux 6.1 takes keys of maps from the stack and from maps, not from what a global function
 * was given. No object needs all of them. */
#define app_entry static __noinline __attribute__((unused))

#define APP_ENTRY_TRIES 4	/* to meet an endpoint that is neither going nor coming; to be let into
				 * a map that an interrupted CPU has locked */
#define APP_CHARGE_TRIES 32	/* to count, with all CPUs at it */
#define APP_ENDPOINTS_EACH 16384	/* of an application at most: a quarter of all */

/* Of its connections an application may have so many that others opened: a quarter is left to its
 * own connect(), which strangers shall not make fail. */
#define APP_FLOWS_ACCEPTED(flows_max) ((flows_max) - (flows_max) / 4)

/* How a connection is noted. */
struct app_flow_terms {
	__u64 resolved;		/* APP_RESOLVED() */
	__u64 cookie;		/* of the socket */
	__u64 name_digest;	/* spd_app.name_digest: whom it is charged to */
	__u32 flows_max;	/* spd_app.flows_max */
	__u32 tracked;		/* 1: sock_ops tells when it is closed */
};

/* ---- how many connections an application has ------------------------------------------------ */

/* NULL: there is no room for another application. */
static __always_inline __u64 *app_used(__u64 name_digest)
{
	__u64 *used = bpf_map_lookup_elem(&app_usage, &name_digest), none = 0;

	if (used)
		return used;
	bpf_map_update_elem(&app_usage, &name_digest, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&app_usage, &name_digest);
}

/* Is there room for one more connection of the application? For connect(), which is told before. */
static __always_inline bool app_has_room(__u64 name_digest, __u32 flows_max)
{
	const __u64 *used = bpf_map_lookup_elem(&app_usage, &name_digest);

	return (used ? *used : 0) < flows_max;
}

/* One less, and never less than none. */
static __always_inline void app_uncount(__u64 *used)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < APP_CHARGE_TRIES; i++) {
		__u64 count = *(volatile __u64 *)used;

		if (!count || __sync_val_compare_and_swap(used, count, count - 1) == count)
			return;
	}
}

static __always_inline int app_charge(__u64 name_digest, __u32 max)
{
	__u64 *used = app_used(name_digest);

	if (!used)
		return -DROP_APP_FULL;
	if (__sync_fetch_and_add(used, 1) < max)
		return 0;
	app_uncount(used);
	return -DROP_APP_FULL;
}

static __always_inline void app_discharge(__u64 name_digest)
{
	__u64 *used = bpf_map_lookup_elem(&app_usage, &name_digest);

	if (used)
		app_uncount(used);
}

/* ---- connections ---------------------------------------------------------------------------- */

/* Of those who delete the flow of a socket one discharges it: who takes its cookie away. An element that
 * was given to another flow meanwhile has another cookie. */
static __always_inline void app_flow_delete(const struct app_flow_key *key, struct app_flow *flow,
					    __u64 cookie)
{
	__u64 charged = flow->charged;
	bool mine = cookie && __sync_val_compare_and_swap(&flow->cookie, cookie, 0) == cookie;

	if (cookie && !mine)
		return;
#pragma clang loop unroll(disable)
	for (int i = 0; i < APP_ENTRY_TRIES; i++)
		if (bpf_map_delete_elem(&app_flows, key) != -EBUSY_NUMBER)
			break;
	if (mine)
		app_discharge(charged);
}

static __always_inline void app_flow_fill(struct app_flow *flow, const struct app_identity *who,
					  __u64 resolved, __u64 cookie)
{
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->who = *who;
	flow->resolved = resolved;
	flow->cookie = cookie;
}

/*
 * Notes the connection of a socket; if it was noted already, that the kernel tells of its end. What
 * another socket left under that key goes: the kernel does not let two have the same.
 */
app_entry int app_flow_add(const struct app_flow_key *key, const struct app_identity *who,
			   const struct app_flow_terms *terms)
{
	struct app_flow flow, *old;
	int err;

	if (!key || !who || !terms)
		return -DROP_INTERNAL;
	old = bpf_map_lookup_elem(&app_flows, key);
	if (old && old->cookie == terms->cookie) {
		if (terms->tracked)
			old->tracked = 1;
		return 0;
	}
	if (old)
		app_flow_delete(key, old, old->cookie);
	err = app_charge(terms->name_digest, terms->flows_max);
	if (err)
		return err;
	app_flow_fill(&flow, who, terms->resolved, terms->cookie);
	flow.charged = terms->name_digest;
	flow.tracked = terms->tracked;
	if (!bpf_map_update_elem(&app_flows, key, &flow, BPF_NOEXIST))
		return 0;
	/* No room; or it was noted on another CPU meanwhile, then by the same socket. */
	app_discharge(terms->name_digest);
	old = bpf_map_lookup_elem(&app_flows, key);
	return old && old->cookie == terms->cookie ? 0 : -DROP_APP_FULL;
}

/* The socket is gone, or in TIME_WAIT: what still comes is its application's for APP_CLOSED_NS. Of a
 * connection that another socket has under that key by now this is not the end. */
app_entry int app_flow_close(const struct app_flow_key *key, __u64 cookie)
{
	struct app_flow *old;
	long err = -1;

	if (!key)
		return -DROP_INTERNAL;
	old = bpf_map_lookup_elem(&app_flows, key);
	if (!old || old->cookie != cookie)
		return 0;
	old->until_ns = bpf_ktime_get_ns() + APP_CLOSED_NS;
	/* First there, then not here: it belongs to nobody at no moment. Where it cannot be there it stays
	 * until another connection has its key. */
#pragma clang loop unroll(disable)
	for (int i = 0; err && i < APP_ENTRY_TRIES; i++)
		err = bpf_map_update_elem(&app_closed, key, old, BPF_ANY);
	if (err)
		return -DROP_APP_FULL;
	app_flow_delete(key, old, cookie);
	return 0;
}

/* Nothing of it shall be left: it never came to be. */
app_entry int app_flow_remove(const struct app_flow_key *key, __u64 cookie)
{
	struct app_flow *old;

	if (!key)
		return -DROP_INTERNAL;
	old = bpf_map_lookup_elem(&app_flows, key);
	if (old && old->cookie == cookie)
		app_flow_delete(key, old, cookie);
	return 0;
}

/*
 * Exchanges without connections, as ICMP echo: what answers within APP_CLOSED_NS is the application's.
 * The first to use such a key keeps it for as long: another may not take its answers. Called for each
 * packet, writes now and then.
 */
app_entry int app_exchange_note(const struct app_flow_key *key, const struct app_identity *who,
				__u64 resolved, __u64 cookie)
{
	__u64 now = bpf_ktime_get_ns();
	struct app_flow flow, *old;

	if (!key || !who)
		return -DROP_INTERNAL;
	old = bpf_map_lookup_elem(&app_exchanges, key);
	if (old && old->until_ns > now) {
		if (old->cookie == cookie)
			old->until_ns = now + APP_CLOSED_NS;
		return 0;
	}
	app_flow_fill(&flow, who, resolved, cookie);
	flow.until_ns = now + APP_CLOSED_NS;
	return bpf_map_update_elem(&app_exchanges, key, &flow, BPF_ANY) ? -DROP_APP_FULL : 0;
}

/* ---- endpoints ------------------------------------------------------------------------------ */

static __always_inline bool app_same_endpoint(const struct app_endpoint_key *a,
					      const struct app_endpoint_key *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;
	__u32 differ = 0;

	_Static_assert(sizeof(*a) % sizeof(*x) == 0, "compared by words");
#pragma clang loop unroll(full)
	for (unsigned int i = 0; i < sizeof(*a) / sizeof(*x); i++)
		differ |= x[i] ^ y[i];
	return !differ;
}

/* Bound to 127.0.0.0/8 or ::1: what is sent there is on no wire, and there are many such places. */
static __always_inline bool app_is_inside(const struct app_endpoint_key *key)
{
	const union wire_addr *local = &key->local;

	if (key->family == FAMILY_V4)
		return local->b[0] == 127;
	return !(local->w[0] | local->w[1] | local->w[2]) && local->w[3] == bpf_htonl(1);
}

/*
 * One more socket has it, unless it is going, or was given to another key since it was looked up. It is
 * whose the last that came is, as datagrams are: a program that takes over from another may share the
 * port with it for a while. First who, then the answer: one that was worked out of both is not kept.
 */
static __always_inline bool app_endpoint_join(struct app_endpoint *endpoint,
					      const struct app_endpoint_key *key,
					      const struct app_identity *who, __u64 resolved)
{
	bool joined = false;

	bpf_spin_lock(&endpoint->lock);
	if (!endpoint->dying && app_same_endpoint(&endpoint->key, key)) {
		endpoint->sockets++;
		endpoint->who = *who;
		app_barrier();
		endpoint->resolved = resolved;
		joined = true;
	}
	bpf_spin_unlock(&endpoint->lock);
	return joined;
}

/* 0, or the kernel's -errno. */
static __always_inline long app_endpoint_insert(const struct app_endpoint_key *key,
						const struct app_identity *who,
						const struct app_flow_terms *terms)
{
	__u32 max = terms->flows_max < APP_ENDPOINTS_EACH ? terms->flows_max : APP_ENDPOINTS_EACH;
	struct app_endpoint fresh;
	long err;

	__builtin_memset(&fresh, 0, sizeof(fresh));
	fresh.who = *who;
	fresh.resolved = terms->resolved;
	fresh.sockets = 1;
	fresh.key = *key;
	fresh.charged = terms->name_digest ^ APP_USAGE_ENDPOINTS;
	if (app_charge(fresh.charged, max))
		return -DROP_APP_FULL;
	err = bpf_map_update_elem(&app_endpoints, key, &fresh, BPF_NOEXIST);
	if (err)
		app_discharge(fresh.charged);
	return err;
}

/* A socket is bound there. Of several that share it the last says whose it is, the first is charged. */
app_entry int app_endpoint_add(const struct app_endpoint_key *key, const struct app_identity *who,
			       const struct app_flow_terms *terms)
{
	if (!key || !who || !terms)
		return -DROP_INTERNAL;
	if (app_is_inside(key))
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < APP_ENTRY_TRIES; i++) {
		struct app_endpoint *endpoint = bpf_map_lookup_elem(&app_endpoints, key);

		if (endpoint && app_endpoint_join(endpoint, key, who, terms->resolved))
			return 0;
		if (!endpoint && !app_endpoint_insert(key, who, terms))
			return 0;
	}
	return -DROP_APP_FULL;
}

/* The last is gone. A map that was locked by what this interrupted keeps it, for nobody: then the next
 * that comes has it again. */
static __always_inline void app_endpoint_delete(struct app_endpoint *endpoint,
						const struct app_endpoint_key *key, __u64 charged)
{
	long err = -1;

#pragma clang loop unroll(disable)
	for (int i = 0; err && i < APP_ENTRY_TRIES; i++)
		err = bpf_map_delete_elem(&app_endpoints, key);
	if (!err) {
		app_discharge(charged);
		return;
	}
	bpf_spin_lock(&endpoint->lock);
	if (app_same_endpoint(&endpoint->key, key))
		endpoint->dying = 0;
	bpf_spin_unlock(&endpoint->lock);
}

/* A socket that was bound there is gone: once for each app_endpoint_add() that returned 0. */
app_entry int app_endpoint_remove(const struct app_endpoint_key *key)
{
	struct app_endpoint *endpoint;
	__u64 charged = 0;
	bool last = false;

	if (!key)
		return -DROP_INTERNAL;
	endpoint = bpf_map_lookup_elem(&app_endpoints, key);
	if (!endpoint)
		return 0;
	bpf_spin_lock(&endpoint->lock);
	if (!endpoint->dying && endpoint->sockets && app_same_endpoint(&endpoint->key, key)) {
		endpoint->sockets--;
		last = !endpoint->sockets;
		endpoint->dying = last;
		charged = endpoint->charged;
	}
	bpf_spin_unlock(&endpoint->lock);
	if (last)
		app_endpoint_delete(endpoint, key, charged);
	return 0;
}

/* ---- what a socket has noted ---------------------------------------------------------------- */

#define APP_NOTING (~0ull)	/* app_socket.noted: a CPU is about to note it; no socket's cookie */

/*
 * Before anything is noted of a socket: what was noted before goes, if it was noted of this one and not
 * of a listener it came from. False: another CPU is at it. The caller ends it by setting `noted`.
 */
app_entry int app_socket_claim(struct app_socket *socket, __u64 cookie)
{
	__u64 noted;

	if (!socket)
		return false;
	noted = *(volatile __u64 *)&socket->noted;
	if (noted == APP_NOTING ||
	    __sync_val_compare_and_swap(&socket->noted, noted, APP_NOTING) != noted)
		return false;
	for (int i = 0; i < APP_ENDPOINT_KEYS; i++) {
		if (noted == cookie && socket->endpoints[i].family != FAMILY_COUNT)
			app_endpoint_remove(&socket->endpoints[i]);
		socket->endpoints[i].family = FAMILY_COUNT;
	}
	if (noted == cookie && socket->flow.family != FAMILY_COUNT)
		app_flow_close(&socket->flow, cookie);
	socket->flow.family = FAMILY_COUNT;
	return true;
}

/* It was noted by what sends its packets. Closed meanwhile: then what it has goes, as its release has
 * not seen it. Either this sees that it is closed, or its release that it was noted. */
static __always_inline void app_socket_settle(struct app_socket *socket, __u64 cookie)
{
	__sync_lock_test_and_set(&socket->noted, cookie);
	if (*(volatile __u32 *)&socket->flags & APP_SOCKET_CLOSED)
		app_socket_claim(socket, cookie);
}

#endif /* IPSECBPF_APP_ENTRIES_H */
