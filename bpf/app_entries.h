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

#include "maps.h"

/* Static: Linux 6.1 takes keys of maps from the stack and from maps, not from what a global function
 * was given. No object needs all of them. */
#define app_entry static __noinline __attribute__((unused))

#define APP_ENTRY_TRIES 4	/* to meet an endpoint that is neither going nor coming */

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

static __always_inline int app_charge(const struct app_flow_terms *terms)
{
	__u64 *used = app_used(terms->name_digest);

	if (!used)
		return -DROP_APP_FULL;
	if (__sync_fetch_and_add(used, 1) < terms->flows_max)
		return 0;
	__sync_fetch_and_add(used, -1);
	return -DROP_APP_FULL;
}

static __always_inline void app_discharge(__u64 name_digest)
{
	__u64 *used = bpf_map_lookup_elem(&app_usage, &name_digest);

	if (used)
		__sync_fetch_and_add(used, -1);
}

/* ---- connections ---------------------------------------------------------------------------- */

/* Only one of those who delete the same flow gets 0, and discharges it. */
static __always_inline void app_flow_delete(const struct app_flow_key *key, __u64 charged)
{
	if (!bpf_map_delete_elem(&app_flows, key))
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
		app_flow_delete(key, old->charged);
	err = app_charge(terms);
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
	struct app_flow flow, *old;

	if (!key)
		return -DROP_INTERNAL;
	old = bpf_map_lookup_elem(&app_flows, key);
	if (!old || old->cookie != cookie)
		return 0;
	flow = *old;
	flow.until_ns = bpf_ktime_get_ns() + APP_CLOSED_NS;
	/* First there, then not here: it belongs to nobody at no moment. Where it cannot be there it stays
	 * until another connection has its key. */
	if (bpf_map_update_elem(&app_closed, key, &flow, BPF_ANY))
		return -DROP_APP_FULL;
	app_flow_delete(key, flow.charged);
	return 0;
}

/* Nothing of it shall be left: it never came to be. */
app_entry int app_flow_remove(const struct app_flow_key *key, __u64 cookie)
{
	const struct app_flow *old;

	if (!key)
		return -DROP_INTERNAL;
	old = bpf_map_lookup_elem(&app_flows, key);
	if (old && old->cookie == cookie)
		app_flow_delete(key, old->charged);
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

/* One more socket has it, unless it is going, or was given to another key since it was looked up. */
static __always_inline bool app_endpoint_join(struct app_endpoint *endpoint,
					      const struct app_endpoint_key *key)
{
	bool joined = false;

	bpf_spin_lock(&endpoint->lock);
	if (!endpoint->dying && app_same_endpoint(&endpoint->key, key)) {
		endpoint->sockets++;
		joined = true;
	}
	bpf_spin_unlock(&endpoint->lock);
	return joined;
}

/* 0, or the kernel's -errno. */
static __always_inline long app_endpoint_insert(const struct app_endpoint_key *key,
						const struct app_identity *who, __u64 resolved)
{
	struct app_endpoint fresh;

	__builtin_memset(&fresh, 0, sizeof(fresh));
	fresh.who = *who;
	fresh.resolved = resolved;
	fresh.sockets = 1;
	fresh.key = *key;
	return bpf_map_update_elem(&app_endpoints, key, &fresh, BPF_NOEXIST);
}

/* A socket is bound there. Of several that share it the first says whose it is. */
app_entry int app_endpoint_add(const struct app_endpoint_key *key, const struct app_identity *who,
			       __u64 resolved)
{
	if (!key || !who)
		return -DROP_INTERNAL;
#pragma clang loop unroll(disable)
	for (int i = 0; i < APP_ENTRY_TRIES; i++) {
		struct app_endpoint *endpoint = bpf_map_lookup_elem(&app_endpoints, key);

		if (endpoint && app_endpoint_join(endpoint, key))
			return 0;
		if (!endpoint && !app_endpoint_insert(key, who, resolved))
			return 0;
	}
	return -DROP_APP_FULL;
}

/* A socket that was bound there is gone: once for each app_endpoint_add() that returned 0. */
app_entry int app_endpoint_remove(const struct app_endpoint_key *key)
{
	struct app_endpoint *endpoint;
	bool last = false;

	if (!key)
		return -DROP_INTERNAL;
	endpoint = bpf_map_lookup_elem(&app_endpoints, key);
	if (!endpoint)
		return 0;
	bpf_spin_lock(&endpoint->lock);
	if (!endpoint->dying && app_same_endpoint(&endpoint->key, key)) {
		endpoint->sockets--;
		last = !endpoint->sockets;
		endpoint->dying = last;
	}
	bpf_spin_unlock(&endpoint->lock);
	if (last)
		bpf_map_delete_elem(&app_endpoints, key);
	return 0;
}

#endif /* IPSECBPF_APP_ENTRIES_H */
