// SPDX-License-Identifier: BSD-2-Clause
#include "spd_subject.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/build_skeleton.h"
#include "spd_frames.h"
#include "spd_skeleton.h"

static size_t page_align(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

/* The programs decide by, and count in, the maps of the subject's instance. */
static int share_maps(const struct subject *subject)
{
	const struct pins *pins = &subject->datapath.pins;
	struct spd_bench_bpf *object = subject->object;
	int err = 0;

#define X(map)                                                              \
	if (!err)                                                           \
		err = bpf_map__reuse_fd(object->maps.map, pins->map##_fd);
	PINNED_MAPS(X)
#undef X
	return err;
}

static void copy_knobs(const struct subject *subject)
{
	const struct ipsecbpf_bpf *from = subject->datapath.loader.object;
	struct spd_bench_bpf *to = subject->object;

	to->rodata->flow_sets = from->rodata->flow_sets;
	to->rodata->flow_idle = from->rodata->flow_idle;
	for (size_t i = 0; i < FLOW_SEEDS; i++)
		to->rodata->flow_seeds[i] = from->rodata->flow_seeds[i];
}

static int load_object(struct subject *subject)
{
	size_t cells = subject->set.count * SPD_ENTRY_CELLS(subject->set.options.family);
	struct spd_bench_bpf *object = spd_bench_bpf__open();
	int err;

	if (!object)
		return -errno;
	subject->object = object;
	copy_knobs(subject);
	bpf_program__set_autoload(object->progs.tc_egress, false);
	err = share_maps(subject);
	if (!err)
		err = bpf_map__set_max_entries(object->maps.frames, HIT_FRAMES + MISS_FRAMES);
	if (!err)
		err = bpf_map__set_max_entries(object->maps.rule_list, (uint32_t)cells);
	return err ? err : spd_bench_bpf__load(object);
}

static void *map_area(int fd, size_t size)
{
	void *area = mmap(NULL, page_align(size), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return area == MAP_FAILED ? NULL : area;
}

static int fill_frames(struct subject *subject)
{
	size_t size = (HIT_FRAMES + MISS_FRAMES) * sizeof(struct bench_frame), count = 0;
	struct bench_frame *frames = map_area(bpf_map__fd(subject->object->maps.frames), size);
	int err;

	if (!frames)
		return -errno;
	err = frames_draw(&subject->set, frames, HIT_FRAMES + MISS_FRAMES, &count);
	munmap(frames, page_align(size));
	subject->frames = (uint32_t)count;
	return err ? err : count > 2 * HIT_FRAMES ? 0 : -ENODATA;
}

static void write_entry(const struct spd_box *box, enum ip_family family, union spd_cell *cells)
{
	const struct spd_query *lo = &box->lo, *hi = &box->hi;

	cells[0].entry = (struct spd_entry){
		.upper_lo = lo->word[SPD_UPPER],
		.upper_hi = hi->word[SPD_UPPER],
		.rule = box->rule,
		.protect_id = box->protect_id,
		.remote_lo = (uint32_t)lo->word[SPD_REMOTE_LO],
		.remote_hi = (uint32_t)hi->word[SPD_REMOTE_LO],
		.local_lo = (uint32_t)lo->word[SPD_LOCAL_LO],
		.local_hi = (uint32_t)hi->word[SPD_LOCAL_LO],
		.action = box->action,
	};
	if (family == FAMILY_V4)
		return;
	cells[1].addresses = (struct spd_addresses){
		.remote_lo = { lo->word[SPD_REMOTE_HI], lo->word[SPD_REMOTE_LO] },
		.remote_hi = { hi->word[SPD_REMOTE_HI], hi->word[SPD_REMOTE_LO] },
		.local_lo = { lo->word[SPD_LOCAL_HI], lo->word[SPD_LOCAL_LO] },
		.local_hi = { hi->word[SPD_LOCAL_HI], hi->word[SPD_LOCAL_LO] },
	};
}

static int fill_rule_list(struct subject *subject)
{
	enum ip_family family = subject->set.options.family;
	size_t cells = subject->set.count * SPD_ENTRY_CELLS(family);
	struct spd_box *boxes;
	union spd_cell *list;
	int err = gen_set_boxes(&subject->set, &boxes);

	if (err)
		return err;
	list = map_area(bpf_map__fd(subject->object->maps.rule_list), cells * sizeof(*list));
	if (!list) {
		err = -errno;
		goto free_boxes;
	}
	for (size_t i = 0; i < subject->set.count; i++)
		write_entry(&boxes[i], family, &list[i * SPD_ENTRY_CELLS(family)]);
	munmap(list, page_align(cells * sizeof(*list)));
free_boxes:
	free(boxes);
	return err;
}

static int map_flows(struct subject *subject)
{
	uint32_t sets = subject->datapath.loader.object->rodata->flow_sets;

	if (!sets)
		return -EOPNOTSUPP;
	subject->sets = sets;
	subject->flows_size = page_align(sets * (size_t)libbpf_num_possible_cpus() *
					 sizeof(*subject->flows));
	subject->flows = map_area(subject->datapath.pins.flow_cache_fd, subject->flows_size);
	return subject->flows ? 0 : -errno;
}

struct flow_set *subject_flows(const struct subject *subject, int cpu)
{
	return subject->flows + (size_t)cpu * subject->sets;
}

int subject_open(struct subject *subject, const struct gen_options *options)
{
	const struct datapath_opts mark = { .mark_value = 1, .mark_mask = 1 };
	int err;

	*subject = (struct subject){ 0 };
	err = gen_set_init(&subject->set, options);
	if (!err)
		err = datapath_open(&subject->datapath, &mark);
	subject->is_open = !err;
	if (!err)
		err = subject_load(subject);
	if (!err)
		err = load_object(subject);
	if (!err)
		err = fill_frames(subject);
	if (!err)
		err = fill_rule_list(subject);
	if (!err)
		err = map_flows(subject);
	if (err)
		fprintf(stderr, "cannot prepare %zu rules: %s\n", options->rules, strerror(-err));
	return err;
}

void subject_close(struct subject *subject)
{
	if (subject->flows)
		munmap(subject->flows, subject->flows_size);
	subject->flows = NULL;
	spd_bench_bpf__destroy(subject->object);
	subject->object = NULL;
	if (subject->is_open)
		datapath_close(&subject->datapath);
	subject->is_open = false;
	gen_set_fini(&subject->set);
}
