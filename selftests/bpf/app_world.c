// SPDX-License-Identifier: BSD-2-Clause
#include "app_world.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/spd_app.h"
#include "lib/bytes.h"

#define SPREAD_CELL (3 * SPD_CHUNK_CELLS - 4)	/* where applications begin, if spread */
#define CELLS (SPREAD_CELL + 2 * SPD_CHUNK_CELLS)
#define ENTRIES_CELL 16
#define SEEDS 4096		/* tried before more buckets are */

static const struct in6_addr v6_prefix = { .s6_addr = { 0xfd } };

/* ---- opening --------------------------------------------------------------------------------- */

int app_world_open(struct app_world *world, const struct datapath_opts *opts)
{
	int err = datapath_open(&world->datapath, opts);

	world->serial = world->generation = 0;
	memset(world->snapshots, 0, sizeof(world->snapshots));
	memset(world->counts, 0, sizeof(world->counts));
	return err;
}

void app_world_close(struct app_world *world)
{
	for (int i = 0; i < 2; i++) {
		if (world->snapshots[i].area)
			inner_map_close(&world->snapshots[i]);
		if (world->counts[i].area)
			inner_map_close(&world->counts[i]);
	}
	datapath_close(&world->datapath);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void fill_upper(struct spd_entry *entry, const struct app_rule *rule)
{
	entry->upper_hi = SPD_UPPER_MASK;
	if (rule->local_port) {
		entry->upper_lo |= SPD_UPPER_FIELD(LOCAL_PORT, rule->local_port);
		entry->upper_hi &= ~SPD_UPPER_FIELD_MASK(LOCAL_PORT);
		entry->upper_hi |= SPD_UPPER_FIELD(LOCAL_PORT, rule->local_port);
	}
	if (rule->remote_port) {
		entry->upper_lo |= SPD_UPPER_FIELD(REMOTE_PORT, rule->remote_port);
		entry->upper_hi &= ~SPD_UPPER_FIELD_MASK(REMOTE_PORT);
		entry->upper_hi |= SPD_UPPER_FIELD(REMOTE_PORT, rule->remote_port);
	}
}

static void fill_entry(union spd_cell *cell, const struct app_rule *rule, uint32_t index)
{
	struct spd_entry *entry = &cell->entry;

	*entry = (struct spd_entry){
		.rule = index,
		.protect_id = rule->protect_id,
		.remote_lo = rule->remote, .remote_hi = rule->remote ? rule->remote : UINT32_MAX,
		.local_hi = UINT32_MAX,
		.action = (uint8_t)rule->action,
		.level = (uint8_t)rule->level,
	};
	fill_upper(entry, rule);
	cell[1].addresses = (struct spd_addresses){
		.remote_hi = { UINT64_MAX, UINT64_MAX },
		.local_hi = { UINT64_MAX, UINT64_MAX },
	};
}

/* One leaf for each family, with all that a side has to say. */
static void fill_roots(union spd_cell *cells, uint32_t *next, const struct app_policy *policy,
		       uint32_t app, uint32_t *root)
{
	uint32_t first[FAMILY_COUNT], count = 0;

	for (uint32_t family = 0; family < FAMILY_COUNT; family++) {
		first[family] = *next;
		count = 0;
		for (uint32_t i = 0; i < policy->rule_count; i++) {
			if (policy->rules[i].app != app)
				continue;
			fill_entry(&cells[*next], &policy->rules[i], i);
			*next += SPD_ENTRY_CELLS(family);
			count++;
		}
		*next += 1;	/* the second cell of an IPv4 entry is no leaf's */
	}
	for (int tree = 0; tree < SPD_TREES && count; tree++)
		if (app || SPD_TREE_WAY(tree) != SPD_WAY_OUT_FORWARDED)
			root[tree] = SPD_REF(first[SPD_TREE_FAMILY(tree)], count);
}

static uint64_t digest_of(uint64_t seed, const struct app_pattern *pattern)
{
	uint64_t cgroup = pattern->unit ? pattern->who.unit :
			  pattern->cgroup_level ? pattern->who.cgroup[pattern->cgroup_level - 1] : 0;

	return spd_match_digest(seed, cgroup, &pattern->who, pattern->shape);
}

static bool bucket_add(struct spd_bucket *bucket, uint64_t digest, uint32_t app)
{
	for (int i = 0; i < SPD_BUCKET_ENTRIES; i++) {
		if (bucket->digest[i] == digest)
			return true;
		if (!bucket->digest[i]) {
			bucket->digest[i] = digest;
			bucket->app[i] = app;
			return true;
		}
	}
	return false;
}

static bool fill_buckets(union spd_cell *cells, const struct spd_apps *apps,
			 const struct app_policy *policy)
{
	memset(&cells[apps->buckets], 0, (apps->bucket_mask + 1) * sizeof(*cells));
	for (size_t i = 0; i < policy->pattern_count; i++) {
		uint64_t digest = digest_of(apps->seed, &policy->patterns[i]);

		if (!bucket_add(&cells[spd_bucket_cell(apps, digest)].bucket, digest,
				policy->patterns[i].app))
			return false;
	}
	return true;
}

/* What is asked for at all. A unit may be at any level. */
static void fill_masks(struct spd_apps *apps, const struct app_policy *policy)
{
	for (size_t i = 0; i < policy->pattern_count; i++) {
		const struct app_pattern *pattern = &policy->patterns[i];

		apps->shapes |= 1u << pattern->shape;
		if (pattern->unit)
			apps->units |= ((1u << APP_CGROUP_LEVELS) - 1) << 1;
		else
			apps->cgroups |= 1u << pattern->cgroup_level;
	}
}

static void fill_apps(union spd_cell *cells, uint32_t *next, const struct app_policy *policy)
{
	struct spd_apps *apps = &cells[SPD_APPS_CELL].apps;

	if (policy->spread)
		*next = SPREAD_CELL;
	*next += *next & 1;
	*apps = (struct spd_apps){ .count = policy->apps, .first = *next, .seed = policy->seed };
	*next += policy->apps * SPD_APP_CELLS;
	for (uint32_t app = 0; app <= policy->apps; app++) {
		union spd_cell *cell = &cells[spd_app_cell(apps, app)];
		struct spd_app value = {
			.optional_rate = policy->optional_rate[app],
			.flows_max = policy->flows_max[app],
			.name_digest = app_world_name(app),
		};

		fill_roots(cells, next, policy, app, value.root);
		memcpy(cell, &value, sizeof(value));
	}
	fill_masks(apps, policy);
	apps->buckets = *next;
	apps->bucket_mask = 0;
	while (!fill_buckets(cells, apps, policy))
		if (!(++apps->seed % SEEDS))
			apps->bucket_mask = apps->bucket_mask * 2 + 1;
	*next += apps->bucket_mask + 1;
}

uint64_t app_world_name(uint32_t app)
{
	return 0x1000 + app;
}

static int make_counts(struct app_world *world, uint32_t spare, const struct app_policy *policy)
{
	int cpus = libbpf_num_possible_cpus();
	uint32_t slots = RULE_COUNT_SLOTS((uint32_t)policy->rule_count, policy->apps);

	if (world->counts[spare].area)
		inner_map_close(&world->counts[spare]);
	return inner_map_create(&world->counts[spare], "rule_counts", sizeof(struct rule_count),
				slots * ((uint32_t)cpus + 1));
}

static int put_in_force(struct app_world *world, uint32_t spare)
{
	struct pins *pins = &world->datapath.pins;
	struct inner_map_change changes[] = {
		{ .outer_fd = pins->spd_fd, .key = spare, .map = &world->snapshots[spare] },
		{ .outer_fd = pins->rule_counts_fd, .key = spare, .map = &world->counts[spare] },
	};
	int err = inner_map_change(changes, 2);

	if (err)
		return err;
	world->generation = spare;
	__atomic_store_n(&pins->control->active, (uint64_t)spare, __ATOMIC_SEQ_CST);
	pins->control->state = ATTACH_RUNNING;
	return 0;
}

int app_world_put(struct app_world *world, const struct app_policy *policy)
{
	uint32_t spare = !world->generation, next = ENTRIES_CELL;
	union spd_cell *cells = calloc(CELLS, sizeof(*cells));
	int err = cells ? 0 : -ENOMEM;

	if (err)
		return err;
	fill_apps(cells, &next, policy);
	cells[0].head = (struct spd_head){
		.serial = ++world->serial,
		.default_action = { SPD_DISCARD, SPD_DISCARD },
		.non_ip_action = SPD_DISCARD,
		.rules = (uint32_t)policy->rule_count,
		.upper_used = SPD_UPPER_FIELD_MASK(LOCAL_PORT) | SPD_UPPER_FIELD_MASK(REMOTE_PORT),
		.cells = next,
		.apps = policy->apps,
	};
	world->rules = (uint32_t)policy->rule_count;
	world->apps = policy->apps;
	if (world->snapshots[spare].area)
		inner_map_close(&world->snapshots[spare]);
	err = inner_map_create(&world->snapshots[spare], "spd", SPD_CHUNK_SIZE, SPD_CHUNKS(next));
	if (!err)
		memcpy(world->snapshots[spare].area, cells, next * sizeof(*cells));
	if (!err)
		err = make_counts(world, spare, policy);
	if (!err)
		err = put_in_force(world, spare);
	free(cells);
	return err;
}

/* ---- packets --------------------------------------------------------------------------------- */

union wire_addr app_wire(uint32_t address, bool v6)
{
	union wire_addr wire = { .w = { htobe32(address) } };

	if (v6) {
		memcpy(wire.b, &v6_prefix, sizeof(wire.b));
		wire.w[3] = htobe32(address);
	}
	return wire;
}

struct app_flow_key app_key_of_flow(uint8_t proto, uint32_t local, uint16_t local_port,
				    uint32_t remote, uint16_t remote_port)
{
	return (struct app_flow_key){
		.local = app_wire(local, false), .remote = app_wire(remote, false),
		.local_port = htobe16(local_port), .remote_port = htobe16(remote_port),
		.proto = proto, .family = FAMILY_V4,
	};
}

struct app_endpoint_key app_key_of_endpoint(uint8_t proto, uint32_t local, uint16_t port)
{
	return (struct app_endpoint_key){
		.local = app_wire(local, false), .port = htobe16(port),
		.proto = proto, .family = FAMILY_V4,
	};
}

static size_t put_ip(uint8_t *at, const struct app_packet *packet, size_t payload)
{
	static const uint16_t offset[] = { 0, 0x2000, 0x0100 };
	union wire_addr src = app_wire(packet->src, packet->v6);
	union wire_addr dst = app_wire(packet->dst, packet->v6);
	struct iphdr ip = {
		.version = 4, .ihl = 5, .ttl = 64, .protocol = packet->proto, .id = htobe16(7),
		.frag_off = htobe16(offset[packet->fragment]),
		.tot_len = htobe16((uint16_t)(sizeof(ip) + payload)),
		.saddr = src.w[0], .daddr = dst.w[0],
	};
	struct ip6_hdr ip6 = {
		.ip6_ctlun.ip6_un1 = { .ip6_un1_flow = htobe32(0x60000000),
				       .ip6_un1_plen = htobe16((uint16_t)payload),
				       .ip6_un1_nxt = packet->proto, .ip6_un1_hlim = 64 },
	};

	memcpy(&ip6.ip6_src, &src, sizeof(src));
	memcpy(&ip6.ip6_dst, &dst, sizeof(dst));
	if (packet->v6)
		memcpy(at, &ip6, sizeof(ip6));
	else
		memcpy(at, &ip, sizeof(ip));
	return packet->v6 ? sizeof(ip6) : sizeof(ip);
}

int app_world_shoot(struct app_world *world, enum hook hook, const struct app_packet *packet,
		    uint32_t *ret_verdict, struct app_change *ret_change)
{
	uint8_t data[ETH_HLEN + sizeof(struct ip6_hdr) + 32] = { 0 };
	struct shot shot = { .data = data, .ingress_ifindex = packet->ingress_ifindex };
	struct app_counters before;
	size_t at = ETH_HLEN;
	int err;

	data[0] = packet->group_frame ? 1 : 2;
	store_be16(data + 2 * ETH_ALEN, packet->v6 ? ETH_P_IPV6 : ETH_P_IP);
	at += put_ip(data + at, packet, 32);
	if (packet->proto == IPPROTO_ICMP) {
		store_be16(data + at, packet->src_port);
		store_be16(data + at + 4, packet->dst_port);
	} else {
		store_be16(data + at, packet->src_port);
		store_be16(data + at + 2, packet->dst_port);
	}
	if (packet->proto == IPPROTO_UDP)
		store_be16(data + at + 4, 32);
	shot.len = (uint32_t)at + 32;
	app_world_count(world, &before);
	err = datapath_shoot(&world->datapath, hook, &shot);
	if (err)
		return err;
	*ret_verdict = shot.verdict;
	*ret_change = app_world_change(world, &before);
	return 0;
}

/* ---- counters -------------------------------------------------------------------------------- */

static uint64_t sum_of(int fd, uint32_t key)
{
	uint64_t values[1024] = { 0 }, sum = 0;

	if (libbpf_num_possible_cpus() <= 1024 && !bpf_map_lookup_elem(fd, &key, values))
		for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
			sum += values[cpu];
	return sum;
}

void app_world_count(const struct app_world *world, struct app_counters *counters)
{
	const struct rule_count *counts = world->counts[world->generation].area;
	uint32_t slots = RULE_COUNT_SLOTS(world->rules, world->apps);

	memset(counters, 0, sizeof(*counters));
	for (int row = 1; row <= libbpf_num_possible_cpus(); row++)
		for (uint32_t slot = 0; slot < slots; slot++)
			counters->rules[slot] +=
				counts[RULE_COUNT_INDEX(slots, (uint32_t)row, slot)].packets;
	for (uint32_t i = 0; i < PASS_SLOTS; i++)
		counters->passes[i] = sum_of(world->datapath.pins.passes_fd, i);
	for (uint32_t i = 0; i < DROP_SLOTS; i++)
		counters->drops[i] = sum_of(world->datapath.pins.drops_fd, i);
}

static int risen(const uint64_t *before, const uint64_t *after, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (after[i] != before[i])
			return (int)i;
	return -1;
}

struct app_change app_world_change(const struct app_world *world, const struct app_counters *before)
{
	struct app_counters after;
	uint32_t rules = world->rules;
	struct app_change change;
	int slot;

	app_world_count(world, &after);
	slot = risen(before->rules, after.rules, rules + RULE_COUNT_EXTRA);
	change.rule = slot >= (int)rules ? APP_DEFAULT(slot - (int)rules) : slot;
	change.optional = risen(before->rules + RULE_COUNT_OPTIONAL(rules, 0),
				after.rules + RULE_COUNT_OPTIONAL(rules, 0), world->apps + 1);
	change.passed = risen(before->passes, after.passes, PASS_SLOTS);
	change.dropped = risen(before->drops, after.drops, DROP_SLOTS);
	return change;
}
