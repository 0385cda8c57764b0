// SPDX-License-Identifier: BSD-2-Clause
/*
 * Preflight asks the kernel: by trying, never by its version. What is made for that (programs and
 * maps that nothing is attached to, a network namespace of a child's own) is gone on return.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hook_attach.h"
#include "loader.h"
#include "preflight.h"

#define LOOPBACK_IFINDEX 1 /* in every network namespace */

/* ---- the process ----------------------------------------------------------------------------- */

void preflight_probe_process(struct preflight_facts *facts)
{
	struct preflight_process *process = &facts->process;
	struct rlimit limit;

	process->root = !geteuid();
	capng_get_caps_process();
	for (unsigned int i = 0; i < 64 && i <= CAP_LAST_CAP; i++)
		if (capng_have_capability(CAPNG_EFFECTIVE, i))
			process->capabilities |= 1ull << i;
	process->memlock = process->memlock_hard = UINT64_MAX;
	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return;
	if (limit.rlim_cur != RLIM_INFINITY)
		process->memlock = limit.rlim_cur;
	if (limit.rlim_max != RLIM_INFINITY)
		process->memlock_hard = limit.rlim_max;
}

/* ---- features: program types, maps, helpers -------------------------------------------------- */

enum probe_kind { PROBE_PROG, PROBE_MAP, PROBE_HELPER };

struct probe {
	enum probe_kind kind;
	int prog_type, type; /* program type of a helper; what is probed */
};

static const struct probe probes[FEATURE_COUNT] = {
	[FEATURE_XDP] = { PROBE_PROG, 0, BPF_PROG_TYPE_XDP },
	[FEATURE_TC] = { PROBE_PROG, 0, BPF_PROG_TYPE_SCHED_CLS },
	[FEATURE_XSKMAP] = { PROBE_MAP, 0, BPF_MAP_TYPE_XSKMAP },
	[FEATURE_RINGBUF] = { PROBE_MAP, 0, BPF_MAP_TYPE_RINGBUF },
	[FEATURE_LOOP_XDP] = { PROBE_HELPER, BPF_PROG_TYPE_XDP, BPF_FUNC_loop },
	[FEATURE_LOOP_TC] = { PROBE_HELPER, BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_loop },
	[FEATURE_REDIRECT_MAP] = { PROBE_HELPER, BPF_PROG_TYPE_XDP, BPF_FUNC_redirect_map },
	[FEATURE_PERCPU_ARRAY] = { PROBE_MAP, 0, BPF_MAP_TYPE_PERCPU_ARRAY },
};

static const struct probe app_probes[APP_FEATURE_COUNT] = {
	[APP_FEATURE_SK_STORAGE] = { PROBE_MAP, 0, BPF_MAP_TYPE_SK_STORAGE },
	[APP_FEATURE_CGROUP_SOCK] = { PROBE_PROG, 0, BPF_PROG_TYPE_CGROUP_SOCK },
	[APP_FEATURE_CGROUP_ADDR] = { PROBE_PROG, 0, BPF_PROG_TYPE_CGROUP_SOCK_ADDR },
	[APP_FEATURE_CGROUP_SOCKOPT] = { PROBE_PROG, 0, BPF_PROG_TYPE_CGROUP_SOCKOPT },
	[APP_FEATURE_CGROUP_SKB] = { PROBE_PROG, 0, BPF_PROG_TYPE_CGROUP_SKB },
	[APP_FEATURE_SKB_CGROUP_ID] = { PROBE_HELPER, BPF_PROG_TYPE_SCHED_CLS,
					BPF_FUNC_skb_cgroup_id },
};

static bool kernel_has(const struct probe *probe)
{
	switch (probe->kind) {
	case PROBE_PROG:
		return libbpf_probe_bpf_prog_type((enum bpf_prog_type)probe->type, NULL) == 1;
	case PROBE_MAP:
		return libbpf_probe_bpf_map_type((enum bpf_map_type)probe->type, NULL) == 1;
	default:
		return libbpf_probe_bpf_helper((enum bpf_prog_type)probe->prog_type,
					       (enum bpf_func_id)probe->type, NULL) == 1;
	}
}

static uint64_t probe_all(const struct probe *list, size_t count)
{
	uint64_t have = 0;

	for (size_t i = 0; i < count; i++)
		if (kernel_has(&list[i]))
			have |= 1ull << i;
	return have;
}

/* An outer map made for inner arrays of one entry takes one of two. */
static bool has_inner_maps(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, inner, .map_flags = BPF_F_INNER_MAP);
	LIBBPF_OPTS(bpf_map_create_opts, outer);
	int model, longer, map = -1;
	uint32_t zero = 0;
	bool has = false;

	model = bpf_map_create(BPF_MAP_TYPE_ARRAY, "preflight", 4, 64, 1, &inner);
	longer = bpf_map_create(BPF_MAP_TYPE_ARRAY, "preflight", 4, 64, 2, &inner);
	if (model >= 0 && longer >= 0) {
		outer.inner_map_fd = (uint32_t)model;
		map = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "preflight", 4, 4, 1, &outer);
	}
	if (map >= 0)
		has = !bpf_map_update_elem(map, &zero, &longer, 0);
	if (map >= 0)
		close(map);
	if (longer >= 0)
		close(longer);
	if (model >= 0)
		close(model);
	return has;
}

/* ---- a program of two instructions, to ask what becomes of it -------------------------------- */

static int load_nothing(enum bpf_prog_type type)
{
	const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(type, "preflight", "GPL", pass, sizeof(pass) / sizeof(pass[0]), NULL);
}

static bool has_jit(void)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = load_nothing(BPF_PROG_TYPE_SCHED_CLS);
	bool has;

	if (fd < 0)
		return false;
	has = !bpf_obj_get_info_by_fd(fd, &info, &len) && info.jited_prog_len;
	close(fd);
	return has;
}

static bool has_tcx(void)
{
	int fd = load_nothing(BPF_PROG_TYPE_SCHED_CLS);
	bool has = fd >= 0 && hook_has_tcx(fd);

	if (fd >= 0)
		close(fd);
	return has;
}

/* A child tries on the loopback of a network namespace of its own, which goes with it. */
static bool has_clsact(void)
{
	uint32_t handle = 0, priority = 0;
	int status, fd;
	pid_t child;

	fd = load_nothing(BPF_PROG_TYPE_SCHED_CLS);
	if (fd < 0)
		return false;
	child = fork();
	if (!child)
		_exit(unshare(CLONE_NEWNET) ||
		      hook_attach_clsact(fd, LOOPBACK_IFINDEX, true, &handle, &priority));
	close(fd);
	return child > 0 && waitpid(child, &status, 0) == child && !status;
}

/* Maps are charged to the cgroup in kernels that have this helper; both came with 5.11. */
static bool charged_to_cgroup(void)
{
	return libbpf_probe_bpf_helper(BPF_PROG_TYPE_SOCKET_FILTER, BPF_FUNC_ktime_get_coarse_ns,
				       NULL) == 1;
}

static int try_af_xdp(void)
{
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* The verifier's word counts more than any list of features. */
static void try_programs(struct preflight_facts *facts)
{
	const struct loader_config config = {
		.ifname = facts->ifname,
		.ifindex = facts->nic.nic.ifindex,
		.mark_value = facts->wanted.mark_value,
		.mark_mask = facts->wanted.mark_mask,
		.sa_slots = SA_SLOTS_DEFAULT + 1,
		.xdp_generic = facts->wanted.xdp_mode == XDP_MODE_GENERIC,
	};
	struct preflight_kernel *kernel = &facts->kernel;
	struct ipsecbpf_report report = { 0 };
	struct loader loader;

	kernel->programs_asked = true;
	kernel->programs = loader_init(&loader, &config, &report);
	if (!kernel->programs)
		loader_fini(&loader);
	else
		snprintf(kernel->programs_cause, sizeof(kernel->programs_cause), "%s",
			 report.count ? report.items[0].cause : strerror(-kernel->programs));
	report_fini(&report);
}

void preflight_probe_kernel(struct preflight_facts *facts, bool attaching)
{
	struct preflight_kernel *kernel = &facts->kernel;

	kernel->af_xdp = PREFLIGHT_HAS(facts, NET_RAW) ? try_af_xdp() : 1;
	kernel->asked = PREFLIGHT_HAS(facts, BPF) && PREFLIGHT_HAS(facts, NET_ADMIN);
	if (!kernel->asked)
		return;
	facts->process.bpf_by_cgroup = charged_to_cgroup();
	kernel->features = probe_all(probes, FEATURE_COUNT);
	kernel->inner_maps = has_inner_maps();
	kernel->jit = has_jit();
	kernel->btf = !access("/sys/kernel/btf/vmlinux", R_OK);
	kernel->tcx = has_tcx();
	if (!kernel->tcx)
		kernel->clsact = has_clsact();
	if (attaching)
		return;
	kernel->app_features = probe_all(app_probes, APP_FEATURE_COUNT);
	try_programs(facts);
}
