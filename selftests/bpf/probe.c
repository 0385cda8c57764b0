// SPDX-License-Identifier: BSD-2-Clause
#include "probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "lib/policy.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wcast-qual"
#include "bpf/spd_probe.skel.h"
#pragma GCC diagnostic pop

/* ---- loading --------------------------------------------------------------------------------- */

static int set_knobs(struct probe *probe, bool seeded)
{
	uint32_t seeds[FLOW_SEEDS] = { 0 };
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 0 || (seeded && getrandom(seeds, sizeof(seeds), 0) != sizeof(seeds)))
		return -EIO;
	for (size_t i = 0; i < FLOW_SEEDS; i++)
		probe->object->rodata->flow_seeds[i] = seeds[i];
	probe->object->rodata->flow_sets = probe->flow_sets;
	probe->object->rodata->flow_idle = PROBE_IDLE;
	return bpf_map__set_max_entries(probe->object->maps.flow_cache,
					(probe->flow_sets ? probe->flow_sets : 1) * (uint32_t)cpus);
}

static void *map_of(const struct bpf_map *map)
{
	size_t each = (bpf_map__value_size(map) + 7) / 8 * 8;
	void *area = mmap(NULL, each * bpf_map__max_entries(map), PROT_READ | PROT_WRITE,
			  MAP_SHARED, bpf_map__fd(map), 0);

	return area == MAP_FAILED ? NULL : area;
}

static int map_all(struct probe *probe)
{
	int spd_fd = bpf_map__fd(probe->object->maps.spd), err = 0;

	probe->questions = map_of(probe->object->maps.questions);
	probe->answers = map_of(probe->object->maps.answers);
	probe->run = map_of(probe->object->maps.runs);
	probe->flows = map_of(probe->object->maps.flow_cache);
	if (!probe->questions || !probe->answers || !probe->run || !probe->flows)
		return -ENOMEM;
	for (uint32_t i = 0; i < 2 && !err; i++) {
		err = inner_map_create(&probe->snapshots[i], "spd", SPD_CHUNK_SIZE,
				       SPD_CHUNKS(PROBE_CELLS));
		if (!err)
			err = inner_map_change(&(struct inner_map_change){
				.outer_fd = spd_fd, .key = i, .map = &probe->snapshots[i],
			}, 1);
	}
	return err;
}

/* Wherever it was started, it stays. */
static int stay(struct probe *probe)
{
	int cpu = sched_getcpu();
	cpu_set_t set;

	if (cpu < 0)
		return -errno;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	probe->cpu = (uint32_t)cpu;
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

int probe_open(struct probe *probe, uint32_t flow_sets, bool seeded)
{
	int err;

	*probe = (struct probe){ .flow_sets = flow_sets };
	err = stay(probe);
	if (err)
		return err;
	probe->object = spd_probe_bpf__open();
	if (!probe->object)
		return -errno;
	err = set_knobs(probe, seeded);
	if (!err)
		err = spd_probe_bpf__load(probe->object);
	if (!err)
		err = map_all(probe);
	if (err) {
		fprintf(stderr, "cannot load the probe: %s\n", strerror(-err));
		probe_close(probe);
	}
	return err;
}

void probe_close(struct probe *probe)
{
	const struct {
		const void *area;
		const struct bpf_map *map;
	} mapped[] = {
		{ probe->questions, probe->object->maps.questions },
		{ probe->answers, probe->object->maps.answers },
		{ probe->run, probe->object->maps.runs },
		{ probe->flows, probe->object->maps.flow_cache },
	};

	for (size_t i = 0; i < sizeof(mapped) / sizeof(mapped[0]); i++) {
		size_t each = (bpf_map__value_size(mapped[i].map) + 7) / 8 * 8;

		if (mapped[i].area)
			munmap((void *)(uintptr_t)mapped[i].area,
			       each * bpf_map__max_entries(mapped[i].map));
	}
	for (size_t i = 0; i < 2; i++)
		if (probe->snapshots[i].area)
			inner_map_close(&probe->snapshots[i]);
	spd_probe_bpf__destroy(probe->object);
	*probe = (struct probe){ 0 };
}

/* ---- snapshots ------------------------------------------------------------------------------- */

/* Fields that a rule restricts. */
static uint64_t upper_used(const struct linear_set *set)
{
	static const uint64_t masks[] = {
#define X(id, shift, width) SPD_UPPER_FIELD_MASK(id),
		SPD_UPPER_FIELDS(X)
#undef X
	};
	uint64_t used = 0;

	for (size_t i = 0; i < set->count; i++)
		for (int field = FIELD_LOCAL + 1; field < FIELD_COUNT; field++)
			if (set->rules[i].lo[field] ||
			    set->rules[i].hi[field] !=
				    linear_max(set->family, (enum linear_field)field))
				used |= masks[field - FIELD_LOCAL - 1];
	return used;
}

static int build_tree(struct spd_cells *cells, const struct linear_set *set, uint32_t *ret_root)
{
	struct spd_box *boxes = malloc(set->count * sizeof(*boxes));
	struct spd_tree tree;
	int err;

	if (!boxes)
		return -ENOMEM;
	linear_boxes(set, boxes);
	err = spd_tree_build(boxes, set->count, set->family, cells, &tree);
	free(boxes);
	if (!err)
		*ret_root = tree.root;
	return err;
}

static uint32_t *root_of(const struct spd_cells *cells, int tree)
{
	return &cells->items[SPD_HOST_CELL + SPD_ROOT_CELL(tree)].root[SPD_ROOT_INDEX(tree)];
}

static int leave_out(struct spd_cells *cells, uint32_t before_end)
{
	size_t count = SPD_CHUNK_CELLS * SPD_CHUNKS(cells->count + before_end) - before_end;
	union spd_cell *items = realloc(cells->items, count * sizeof(*items));

	if (!items)
		return -ENOMEM;
	memset(&items[cells->count], 0xff, (count - cells->count) * sizeof(*items));
	cells->items = items;
	cells->count = cells->room = count;
	return 0;
}

static int build_trees(struct spd_cells *cells, const struct probe_policy *policy,
		       struct spd_head *head)
{
	int err = 0;

	for (int tree = 0; tree < SPD_TREES && !err; tree++) {
		const struct linear_set *set = policy->trees[tree];
		uint32_t root = 0;
		int twin = 0;

		if (!set)
			continue;
		if (policy->before_end && policy->spread == (uint32_t)tree)
			err = leave_out(cells, policy->before_end);
		while (policy->trees[twin] != set)
			twin++;
		if (twin < tree)
			root = *root_of(cells, twin);
		else if (!err)
			err = build_tree(cells, set, &root);
		*root_of(cells, tree) = root;
		head->upper_used |= upper_used(set);
	}
	return err;
}

int probe_store(struct probe *probe, uint32_t generation, struct probe_policy *policy)
{
	struct spd_cells cells = {
		.items = calloc(SPD_FIRST_FREE_CELL, sizeof(*cells.items)),
		.count = SPD_FIRST_FREE_CELL,
		.room = SPD_FIRST_FREE_CELL,
		.limit = PROBE_CELLS,
	};
	struct spd_head head = {
		.serial = policy->serial ? policy->serial : probe->serial + 1,
		.default_action = { policy->default_action[0], policy->default_action[1] },
	};
	int err;

	if (!cells.items)
		return -ENOMEM;
	err = build_trees(&cells, policy, &head);
	if (!err) {
		head.cells = (uint32_t)cells.count;
		cells.items[0].head = head;
		memcpy(probe->snapshots[generation].area, cells.items,
		       cells.count * sizeof(*cells.items));
		policy->serial = head.serial;
		if (head.serial > probe->serial)
			probe->serial = head.serial;
	}
	spd_cells_fini(&cells);
	return err;
}

/* ---- questions ------------------------------------------------------------------------------- */

static bool is_icmp(gen_number proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

/* Of IPv6: a later fragment does not show what follows these. */
static bool is_extension(gen_number proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS ||
	       proto == IPPROTO_FRAGMENT;
}

static enum spd_shows shows_of(const struct probe_packet *packet)
{
	if (packet->fragment != LATER)
		return SPD_SHOWS_ALL;
	return packet->proto_hidden ? SPD_SHOWS_ADDRESSES : SPD_SHOWS_PROTO;
}

static void make_possible(struct probe_packet *packet)
{
	gen_number *at = packet->packet.at;

	if (packet->family == FAMILY_V4)
		packet->proto_hidden = false;
	if (packet->fragment != LATER)
		packet->proto_hidden = false;
	else
		at[FIELD_REMOTE_PORT] = at[FIELD_LOCAL_PORT] = 0;
	if (packet->proto_hidden)
		at[FIELD_PROTO] = 0;
	else if (packet->fragment == LATER && packet->family == FAMILY_V6 &&
		 is_extension(at[FIELD_PROTO]))
		at[FIELD_PROTO] = IPPROTO_TCP;
	if (is_icmp(at[FIELD_PROTO])) {
		at[FIELD_LOCAL_PORT] &= 0xff;
		at[FIELD_REMOTE_PORT] &= 0xff;
	}
}

static union wire_addr wire_address(enum ip_family family, gen_number number)
{
	return addr128_to_wire(family, gen_to_addr(number));
}

void probe_put(struct probe *probe, uint32_t index, struct probe_packet *packet)
{
	struct probe_question *question = &probe->questions[index];
	const gen_number *at = packet->packet.at;
	bool in = packet->way == SPD_WAY_IN;
	uint16_t local_port, remote_port;

	make_possible(packet);
	*question = (struct probe_question){
		.src = wire_address(packet->family, at[in ? FIELD_REMOTE : FIELD_LOCAL]),
		.dst = wire_address(packet->family, at[in ? FIELD_LOCAL : FIELD_REMOTE]),
		.family = (uint8_t)packet->family,
		.proto = packet->proto_hidden ? IPPROTO_ROUTING : (uint8_t)at[FIELD_PROTO],
		.fragment = (uint8_t)packet->fragment,
		.dscp = (uint8_t)at[FIELD_DSCP],
		.vlan = (uint16_t)at[FIELD_VLAN],
		.generation = packet->generation,
		.way = packet->way,
	};
	local_port = (uint16_t)at[FIELD_LOCAL_PORT];
	remote_port = (uint16_t)at[FIELD_REMOTE_PORT];
	if (is_icmp(at[FIELD_PROTO])) {
		question->icmp_type = (uint8_t)local_port;
		question->icmp_code = (uint8_t)remote_port;
	} else {
		question->src_port = htobe16(in ? remote_port : local_port);
		question->dst_port = htobe16(in ? local_port : remote_port);
	}
}

int probe_ask(struct probe *probe, uint32_t count)
{
	uint8_t frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = 1);

	probe->run->count = count;
	if (bpf_prog_test_run_opts(bpf_program__fd(probe->object->progs.spd_probe), &opts))
		return -errno;
	return probe->run->asked == count ? 0 : -EIO;
}

bool probe_right(const struct probe *probe, uint32_t index, const struct probe_policy *policy,
		 const struct probe_packet *packet)
{
	int tree = SPD_TREE(packet->way, packet->family, shows_of(packet));
	const struct linear_set *set = policy->trees[tree];
	const struct probe_answer *answer = &probe->answers[index];
	const struct linear_rule *rule = set ? linear_search(set, &packet->packet) : NULL;
	enum spd_direction direction = packet->way == SPD_WAY_IN ? SPD_IN : SPD_OUT;
	struct probe_answer wanted = {
		.rule = rule ? rule->rule : SPD_RULE_DEFAULT,
		.protect_id = rule ? rule->protect_id : 0,
		.action = rule ? rule->action : policy->default_action[direction],
		.serial = policy->serial,
		.remembered = answer->remembered,
	};

	if (!memcmp(&wanted, answer, sizeof(wanted)))
		return true;
	printf("FAIL tree %d: error %d, rule %d id %u action %u serial %u%s; expected rule %d id %u "
	       "action %u serial %u; fields", tree, answer->err, (int)answer->rule,
	       answer->protect_id, answer->action, answer->serial,
	       answer->remembered ? ", remembered" : "", (int)wanted.rule, wanted.protect_id,
	       wanted.action, wanted.serial);
	linear_print_packet(&packet->packet);
	if (set)
		linear_print_set(set);
	return false;
}
