/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The SPD decision: essential traffic, other ethertypes, then what is remembered of the flow, then
 * the first matching rule of the generation in force: of the application's own rules, if one
 * matches, or of the host's.
 * Called by: all hooks. Reads control and spd; writes flow_cache and rule_counts.
 */
#ifndef IPSECBPF_SPD_H
#define IPSECBPF_SPD_H

#include "explain.h"
#include "flow_cache.h"
#include "maps.h"
#include "parse.h"
#include "spd_app.h"
#include "spd_tree.h"

#define NO_GENERATION 2		/* nothing is in force */

static __always_inline bool both_in(__be16 a, __be16 b, __u16 x, __u16 y)
{
	return (a == bpf_htons(x) || a == bpf_htons(y)) && (b == bpf_htons(x) || b == bpf_htons(y));
}

/*
 * Neighbour discovery has not passed a router. Switches that snoop multicast listener discovery
 * (RFC 2710, RFC 3810) forward it only to those who have joined: without one, no other for long.
 */
static __always_inline bool is_essential_icmpv6(const struct packet_info *info, __u32 essential)
{
	__u8 type = info->icmp_type;

	if (type >= 133 && type <= 137)
		return (essential & ESSENTIAL(ND)) && info->hop_limit == 255;
	return (essential & ESSENTIAL(MLD)) && info->hop_limit == 1 &&
	       ((type >= 130 && type <= 132) || type == 143);
}

/*
 * Is this traffic that the policy calls essential? IKE is known by *this* host's port: a remote
 * source port of 500 proves nothing and must not open every local UDP service.
 */
static __always_inline bool is_essential(const struct packet_info *info, __u32 essential,
					 enum spd_way way)
{
	__be16 own;

	if (info->ethertype == bpf_htons(ETH_P_ARP))
		return essential & ESSENTIAL(ARP);
	if (!info->is_ip || info->fragment != FRAGMENT_NONE)
		return false;
	if (info->proto == IPPROTO_ICMPV6 && info->family == FAMILY_V6)
		return is_essential_icmpv6(info, essential);
	if (info->proto != IPPROTO_UDP)
		return false;
	if (essential & ESSENTIAL(DHCP)) {
		if (info->family == FAMILY_V4 ? both_in(info->src_port, info->dst_port, 67, 68)
					      : both_in(info->src_port, info->dst_port, 546, 547))
			return true;
	}
	own = way == SPD_WAY_IN ? info->dst_port : info->src_port;
	return (essential & ESSENTIAL(IKE)) &&
	       (own == bpf_htons(500) || (own == bpf_htons(4500) && info->non_esp_marker));
}

/* An address as two words, its value in host order. */
static __always_inline void address_words(__u64 *words, __u8 family, const union wire_addr *addr)
{
	if (family == FAMILY_V4) {
		words[0] = 0;
		words[1] = bpf_ntohl(addr->w[0]);
	} else {
		words[0] = (__u64)bpf_ntohl(addr->w[0]) << 32 | bpf_ntohl(addr->w[1]);
		words[1] = (__u64)bpf_ntohl(addr->w[2]) << 32 | bpf_ntohl(addr->w[3]);
	}
}

static __always_inline enum spd_shows what_shows(const struct packet_info *info)
{
	if (info->fragment != FRAGMENT_LATER)
		return SPD_SHOWS_ALL;
	return info->family == FAMILY_V6 && is_ipv6_ext(info->proto) ? SPD_SHOWS_ADDRESSES :
								      SPD_SHOWS_PROTO;
}

/* Ports, or ICMP's type and code: 0 where there are none, or where they do not show. */
static __always_inline __u64 upper_word(const struct packet_info *info, enum spd_way way,
					enum spd_shows shows)
{
	bool in = way == SPD_WAY_IN;
	__u64 upper = SPD_UPPER_FIELD(VLAN, info->vlan & 0xfff) |
		      SPD_UPPER_FIELD(DSCP, info->dscp & 0x3f);

	if (shows == SPD_SHOWS_ADDRESSES)
		return upper;
	upper |= SPD_UPPER_FIELD(PROTO, info->proto);
	if (shows == SPD_SHOWS_PROTO)
		return upper;
	if (info->proto == IPPROTO_ICMP || info->proto == IPPROTO_ICMPV6)
		return upper | SPD_UPPER_FIELD(LOCAL_PORT, info->icmp_type) |
		       SPD_UPPER_FIELD(REMOTE_PORT, info->icmp_code);
	return upper |
	       SPD_UPPER_FIELD(LOCAL_PORT, bpf_ntohs(in ? info->dst_port : info->src_port)) |
	       SPD_UPPER_FIELD(REMOTE_PORT, bpf_ntohs(in ? info->src_port : info->dst_port));
}

static __always_inline void query_fill(struct spd_query *query, const struct packet_info *info,
				       enum spd_way way, enum spd_shows shows)
{
	bool in = way == SPD_WAY_IN;

	address_words(&query->word[SPD_REMOTE_HI], info->family, in ? &info->src : &info->dst);
	address_words(&query->word[SPD_LOCAL_HI], info->family, in ? &info->dst : &info->src);
	query->word[SPD_UPPER] = upper_word(info, way, shows);
}

/* The generation in force. Only while a policy is on trial does this look at the clock. */
static __always_inline __u32 live_generation(const struct control *ctl)
{
	__u64 active = *(const volatile __u64 *)&ctl->active;

	return GENERATION_AT(active, ACTIVE_DEADLINE(active) ? bpf_ktime_get_ns() : 0) & 1;
}

/* Which generation a hook obeys. */
static __always_inline __u32 generation_in_force(const struct control *ctl)
{
	return ctl->state == ATTACH_BLOCKED ? NO_GENERATION : live_generation(ctl);
}

/* Is this packet one that nobody can judge, as the hooks are off that would know whose it is? */
static __always_inline bool is_closed(const struct control *ctl, const struct spd_verdict *verdict)
{
	return ctl->state == ATTACH_CLOSED && !verdict->essential;
}

/* The first cells of a generation's snapshot; NULL: there is none. */
static __always_inline union spd_cell *spd_first_chunk(__u32 generation)
{
	void *snapshot = bpf_map_lookup_elem(&spd, &generation);
	__u32 zero = 0;

	return snapshot ? bpf_map_lookup_elem(snapshot, &zero) : NULL;
}

/* What holds for the whole policy of a generation: its first cell; NULL: there is none. */
static __always_inline const struct spd_head *spd_head_of(__u32 generation)
{
	return (const struct spd_head *)spd_first_chunk(generation);
}

/* The serial of a policy; 0: there is none. */
static __always_inline __u32 spd_serial(const struct spd_head *head)
{
	return head ? head->serial : 0;
}

/* Is it asked whose a packet is? */
static __always_inline bool policy_has_apps(const struct spd_head *head)
{
	return head && head->apps;
}

/* One more packet in a slot of the generation's counters. The clock is read once a jiffy at most:
 * it would cost a third of a remembered verdict. */
static __always_inline void count_slot(__u32 generation, const struct spd_head *head, __u32 slot,
				       __u32 octets)
{
	void *counts = bpf_map_lookup_elem(&rule_counts, &generation);
	__u32 key = RULE_COUNT_INDEX(RULE_COUNT_SLOTS(head->rules, head->apps),
				     RULE_COUNT_ROW(bpf_get_smp_processor_id()), slot);
	struct rule_count *count = counts ? bpf_map_lookup_elem(counts, &key) : NULL;

	if (!count)
		return;
	count->packets++;
	count->bytes += octets;
	if (count->used_jiffies == bpf_jiffies64())
		return;
	count->used_jiffies = bpf_jiffies64();
	count->used_ns = bpf_ktime_get_coarse_ns();
}

/* One more packet that a rule, or a default, decided. */
static __always_inline void count_rule(__u32 generation, const struct spd_head *head,
				       enum spd_way way, __u32 rule, __u32 octets)
{
	__u32 slot = rule < head->rules ? rule :
		     RULE_COUNT_DEFAULT(head->rules, way == SPD_WAY_IN ? SPD_IN : SPD_OUT);

	count_slot(generation, head, slot, octets);
}

/*
 * The first match in a tree of the generation, one of the application's own (0: the host's), or the
 * default of its direction. 0 and *verdict, or a negative drop reason. Looks the snapshot up
 * itself:
 * should another have taken its place since the caller did, all that it says is of that one, serial
 * included. Not inlined: the verifier walks the loop once for each state in which it is entered,
 * and here it is entered in one.
 */
__noinline int spd_search(const struct spd_query *query, __u32 generation, __u32 tree, __u32 app,
			  struct spd_verdict *verdict)
{
	void *snapshot = bpf_map_lookup_elem(&spd, &generation);
	struct spd_walk walk = { .rule = SPD_RULE_DEFAULT };
	__u32 zero = 0, cell = SPD_HOST_CELL;
	union spd_cell *roots;
	int err;

	if (!query || !verdict || tree >= SPD_TREES || !snapshot)
		return -DROP_INTERNAL;
	walk.snapshot = snapshot;
	walk.query = query;
	walk.family = SPD_TREE_FAMILY(tree);
	walk.cells = 1 + walk.family;
	walk.chunk = bpf_map_lookup_elem(snapshot, &zero);
	if (!walk.chunk)
		return -DROP_INTERNAL;
	walk.nothing = walk.chunk->head.nothing;
	for (int i = 0; i < SPD_ASIDE_MAX; i++)
		walk.waiting[i] = walk.nothing;
	walk.says = walk.chunk->head.default_action[SPD_TREE_WAY(tree) == SPD_WAY_IN ? SPD_IN :
											 SPD_OUT];
	verdict->serial = walk.chunk->head.serial;
	if (app)
		cell = spd_app_cell(&walk.chunk[SPD_APPS_CELL].apps, app);
	roots = walk_cell(&walk, cell + SPD_ROOT_CELL(tree));
	if (!roots)
		return -DROP_INTERNAL;
	walk.ref = roots->root[SPD_ROOT_INDEX(tree)];
	err = spd_walk(&walk);
	verdict->rule = walk.rule;
	verdict->protect_id = walk.protect_id;
	verdict->action = WALK_ACTION(walk.says);
	verdict->level = WALK_LEVEL(walk.says);
	return err;
}

/*
 * An application's own rules, then the host's. Whose a packet is goes by one policy: should another
 * have taken its place meanwhile, its applications are not the same.
 */
static __always_inline int search_rules(const struct flow_key *key, __u32 generation,
					const struct spd_head *head, struct spd_verdict *verdict)
{
	__u32 app = FLOW_APP(key->place);
	int err = 0;

	if (app)
		err = spd_search(&key->query, generation, FLOW_TREE(key->place), app, verdict);
	if (!err && (!app || verdict->rule == SPD_RULE_DEFAULT))
		err = spd_search(&key->query, generation, FLOW_TREE(key->place), 0, verdict);
	return !err && head->apps && verdict->serial != head->serial ? -DROP_INTERNAL : err;
}

/* The first match, or the default: remembered or searched for. 0, or a negative drop reason. */
static __always_inline int classify(__u32 generation, const struct spd_head *head,
				    const struct packet_info *info, enum spd_way way,
				    struct spd_verdict *verdict)
{
	enum spd_shows shows = what_shows(info);
	struct flow_set *set;
	struct flow_key key;
	__u64 upper;
	int err;

	query_fill(&key.query, info, way, shows);
	key.place = FLOW_PLACE(info->app, SPD_TREE(way, info->family & 1, shows));
	if (info->fragment != FRAGMENT_NONE)
		return search_rules(&key, generation, head, verdict);
	upper = key.query.word[SPD_UPPER];
	key.query.word[SPD_UPPER] &= head->upper_used;
	key.hash = flow_hash(&key);
	set = flow_set_of(&key);
	if (set && flow_find(set, &key, head->serial, verdict))
		return 0;
	/* Should another policy be in force by now, it may ask for more of the packet. */
	key.query.word[SPD_UPPER] = upper;
	err = search_rules(&key, generation, head, verdict);
	key.query.word[SPD_UPPER] &= head->upper_used;
	if (set && !err && verdict->serial == head->serial)
		flow_note(set, &key, verdict);
	return err;
}

/*
 * What policy says of this packet: 0 and *verdict, or a negative drop reason. Without a policy
 * everything but essential traffic is dropped. `generation`: from generation_in_force(); `head`:
 * its policy's, which the hook has looked up to see whether it has applications. If the policy has
 * applications, info->app and app_serial must say whose packet it is, by that policy (app.h). Not
 * inlined: the verifier then sees the search once, not once for each hook and each way to it.
 */
__noinline int spd_judge(const struct packet_info *info, const struct spd_head *head,
			 __u32 generation, __u32 way, struct spd_verdict *verdict)
{
	int err;

	if (!info || !verdict || way >= SPD_WAYS)
		return -DROP_INTERNAL;
	explain_asked(spd_serial(head));
	if (is_essential(info, head ? head->essential : ESSENTIAL_ALL, way)) {
		verdict->action = SPD_BYPASS;
		verdict->essential = 1;
		return 0;
	}
	if (!head)
		return -DROP_NO_POLICY;
	verdict->serial = head->serial;
	if (!info->is_ip) {
		verdict->action = head->non_ip_action;
		return verdict->action == SPD_BYPASS ? 0 : -DROP_NON_IP;
	}
	if (head->apps && info->app_serial != head->serial)
		return -DROP_INTERNAL;
	err = classify(generation, head, info, way, verdict);
	if (!err)
		count_rule(generation, head, way, verdict->rule, info->len);
	return err;
}

/* The same for those who have not looked. */
static __always_inline int spd_ask(const struct packet_info *info, __u32 generation, __u32 way,
				   struct spd_verdict *verdict)
{
	return spd_judge(info, spd_head_of(generation), generation, way, verdict);
}

#endif /* IPSECBPF_SPD_H */
