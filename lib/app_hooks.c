// SPDX-License-Identifier: BSD-2-Clause
#include "app_hooks_internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "build_sockets_skeleton.h"
#include "loader.h"

#define KERNEL_BTF "/sys/kernel/btf/vmlinux"

static const struct {
	const char *name;
	enum bpf_attach_type type;
} hooks[] = {
#define X(program, attach_type) { #program, attach_type },
	SOCKET_HOOKS(X)
#undef X
};

#define STAGES 4	/* as many attaches in a row may be killed */

struct app_hooks {
	const struct pins *pins;
	struct ipsecbpf_sockets_bpf *object;
	int cgroup_fd;
	uint64_t cgroup_id;
	int link_fd[SOCKET_HOOK_COUNT];	/* -1: not attached, or one that was there */
	struct ipsecbpf_report *report;
};

/* ---- what is there --------------------------------------------------------------------------- */

/* Where those of an attach are that is not done yet. An attach that was killed may have left some,
 * and the NIC's hooks with their maps: they act until the next one is done, which then takes
 * another place. */
static void stage_path(const struct paths *paths, size_t hook, unsigned int stage, char *out,
		       size_t out_len)
{
	snprintf(out, out_len, "%s/links/new%u_%s", paths->pins, stage, hooks[hook].name);
}

static void remove_pinned(const char *path)
{
	int fd = bpf_obj_get(path);

	/* At once: without pin and descriptor it would be detached by deferred work. */
	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	unlink(path);
}

static void remove_link(const struct paths *paths, size_t hook)
{
	char path[256];

	app_hooks_link_path(paths, hook, path, sizeof(path));
	remove_pinned(path);
}

static void remove_stage(const struct paths *paths, unsigned int stage)
{
	char path[256];

	for (size_t hook = SOCKET_HOOK_COUNT; hook-- > 0;) {
		stage_path(paths, hook, stage, path, sizeof(path));
		remove_pinned(path);
	}
}

void app_hooks_remove(const struct paths *paths)
{
	for (size_t hook = SOCKET_HOOK_COUNT; hook-- > 0;)
		remove_link(paths, hook);
	for (unsigned int stage = 0; stage < STAGES; stage++)
		remove_stage(paths, stage);
}

/* ---- the cgroup ------------------------------------------------------------------------------ */

static void explain_cgroup(const char *path, const char *next, int err,
			   struct ipsecbpf_report *report)
{
	if (err == -ENOTDIR)
		report_error(report, path, next, "is not a directory of cgroup2");
	else
		report_error(report, path, next, "the cgroup for the socket hooks cannot be opened: %s",
			     strerror(-err));
}

int app_hooks_check_cgroup(const char *path, char *ret_real, size_t real_len,
			   struct ipsecbpf_report *report)
{
	char *real = realpath(path, NULL);
	int err = real ? 0 : -errno, fd;
	uint64_t id;

	if (!err) {
		fd = app_hooks_open_cgroup(real, &id);
		if (fd >= 0)
			close(fd);
		err = fd < 0 ? fd : 0;
	}
	if (!err && (size_t)snprintf(ret_real, real_len, "%s", real) >= real_len)
		err = -ENAMETOOLONG;
	if (err)
		explain_cgroup(path, "findmnt -t cgroup2 shows where it is mounted", err, report);
	free(real);
	return err;
}

static int find_cgroup(struct app_hooks *work)
{
	const char *path = work->pins->attachment.cgroup;

	if (!*path) {
		report_error(work->report, work->pins->ifname,
			     "mount it (mount -t cgroup2 none /sys/fs/cgroup), then detach and attach "
			     "again",
			     "no cgroup2 was mounted when it was attached: which application a socket "
			     "belongs to cannot be known");
		return -ENOENT;
	}
	work->cgroup_fd = app_hooks_open_cgroup(path, &work->cgroup_id);
	if (work->cgroup_fd >= 0)
		return 0;
	explain_cgroup(path, "detach, then attach with --cgroup DIR", work->cgroup_fd, work->report);
	return work->cgroup_fd;
}

/* ---- the programs ---------------------------------------------------------------------------- */

static int map_fd(const struct pins *pins, const char *name)
{
#define X(map)                    \
	if (!strcmp(name, #map))  \
		return pins->map##_fd;
	PINNED_MAPS(X)
#undef X
	return -1;
}

/* The attachment's maps are shared. Of the others, only those that these programs use are made. */
static int share_maps(struct app_hooks *work)
{
	const struct bpf_map *own[] = { work->object->maps.event_budgets,
					work->object->maps.verdicts,
					work->object->maps.images };
	struct bpf_map *map;
	int err = 0, fd;

	bpf_object__for_each_map(map, work->object->obj) {
		if (err || bpf_map__is_internal(map) || map == own[0] || map == own[1] ||
		    map == own[2])
			continue;
		fd = map_fd(work->pins, bpf_map__name(map));
		err = fd < 0 ? bpf_map__set_autocreate(map, false) : bpf_map__reuse_fd(map, fd);
	}
	return err;
}

static void set_knobs(struct app_hooks *work)
{
	const struct attachment *attachment = &work->pins->attachment;
	struct ipsecbpf_sockets_bpf *object = work->object;

	object->rodata->nic_ifindex = attachment->ifindex;
	object->rodata->host_ifindex = attachment->host_ifindex;
	object->rodata->mark_value = attachment->mark_value;
	object->rodata->mark_mask = attachment->mark_mask;
	object->rodata->netns_cookie = attachment->netns_cookie;
	object->rodata->digest_seed[0] = attachment->digest_seed[0];
	object->rodata->digest_seed[1] = attachment->digest_seed[1];
}

static void explain_load(const struct app_hooks *work, int err, const char *log)
{
	if (access(KERNEL_BTF, F_OK))
		report_error(work->report, KERNEL_BTF,
			     "boot a kernel with CONFIG_DEBUG_INFO_BTF, as distributions build it",
			     "this kernel does not describe its types: the socket hooks, which policy "
			     "for applications needs, cannot be loaded");
	else
		report_error(work->report, work->pins->ifname,
			     err == -EPERM ? "run it as root" :
					     "ipsecbpf preflight says what is missing",
			     "the kernel did not take the socket hooks: %s\n%s", strerror(-err), log);
}

static int load(struct app_hooks *work)
{
	int err = 0;

	loader_log_begin();
	work->object = ipsecbpf_sockets_bpf__open();
	if (!work->object)
		err = -errno;
	if (!err) {
		set_knobs(work);
		err = share_maps(work);
	}
	if (!err)
		err = ipsecbpf_sockets_bpf__load(work->object);
	if (err)
		explain_load(work, err, loader_log_end());
	else
		loader_log_end();
	return err;
}

static int program_fd(const struct app_hooks *work, size_t hook)
{
	const struct bpf_program *programs[] = {
#define X(program, type) work->object->progs.program,
		SOCKET_HOOKS(X)
#undef X
	};

	return bpf_program__fd(programs[hook]);
}

/* ---- attaching ------------------------------------------------------------------------------- */

/* Ids of the programs of that type that are attached to this very cgroup, and how. */
static uint32_t exclusive_program(int cgroup_fd, enum bpf_attach_type type)
{
	uint32_t flags = 0, ids[64] = { 0 }, count = 64;

	if (bpf_prog_query(cgroup_fd, type, 0, &flags, ids, &count) || !count)
		return 0;
	return flags & BPF_F_ALLOW_MULTI ? 0 : ids[0];
}

/* Who holds the hook for himself: in the cgroup, or in one above it. */
static uint32_t find_holder(const struct app_hooks *work, size_t hook, char *path, size_t path_len)
{
	uint32_t id = 0;
	char *end;

	snprintf(path, path_len, "%s", work->pins->attachment.cgroup);
	while (!id && *path) {
		int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			break;
		id = exclusive_program(fd, hooks[hook].type);
		close(fd);
		end = strrchr(path, '/');
		if (!id && end)
			*end = '\0';
	}
	return id;
}

static void explain_attach(const struct app_hooks *work, size_t hook, int err)
{
	char path[ATTACH_CGROUP_LEN];
	uint32_t id = err == -EPERM ? find_holder(work, hook, path, sizeof(path)) : 0;
	char next[ATTACH_CGROUP_LEN + 128];

	if (id) {
		snprintf(next, sizeof(next), "bpftool cgroup show %s; have its owner attach it with "
			 "the flag \"multi\", or detach it", path);
		report_error(work->report, path, next,
			     "cannot attach %s: program %u holds the hook for itself alone",
			     hooks[hook].name, id);
		return;
	}
	report_error(work->report, work->pins->attachment.cgroup,
		     err == -E2BIG ? "bpftool cgroup show lists them" :
		     err == -EINVAL ? "kernel 6.1 and later have all of them" : "are you root?",
		     err == -E2BIG ? "cannot attach %s: as many programs as the kernel allows are there" :
				     "cannot attach %s: %s", hooks[hook].name, strerror(-err));
}

/* Moves a link that is there, in the same cgroup, to our program: no socket finds the hook empty. */
static int take_over_link(struct app_hooks *work, size_t hook)
{
	const struct paths *paths = &work->pins->paths;
	struct bpf_link_info info;
	int fd = app_hooks_open_link(paths, hook, &info), err = -ENOENT;

	if (fd < 0)
		return fd;
	if (info.cgroup.cgroup_id == work->cgroup_id)
		err = bpf_link_update(fd, program_fd(work, hook), NULL) ? -errno : 0;
	close(fd);
	if (err)
		remove_link(paths, hook);
	return err;
}

static int create_link(struct app_hooks *work, size_t hook, const char *path)
{
	int fd = bpf_link_create(program_fd(work, hook), work->cgroup_fd, hooks[hook].type, NULL);

	if (fd < 0) {
		int err = -errno;

		explain_attach(work, hook, err);
		return err;
	}
	work->link_fd[hook] = fd;
	if (!bpf_obj_pin(fd, path))
		return 0;
	report_error(work->report, path, "is bpffs writable?", "cannot pin a link: %s", strerror(errno));
	bpf_link_detach(fd);
	return -EIO;
}

static int attach_hook(struct app_hooks *work, size_t hook)
{
	char path[256];

	if (!take_over_link(work, hook))
		return 0;
	app_hooks_link_path(&work->pins->paths, hook, path, sizeof(path));
	return create_link(work, hook, path);
}

static int make_directory(const struct app_hooks *work)
{
	char path[256];
	int err;

	snprintf(path, sizeof(path), "%s/links", work->pins->paths.pins);
	err = paths_mkdir(path, 0700);
	if (err)
		report_error(work->report, path, "is bpffs mounted and writable?",
			     "cannot make a directory for the socket hooks: %s", strerror(-err));
	return err;
}

/* Those that are new are taken away again if one fails. */
static int attach_all(struct app_hooks *work)
{
	int err = 0;

	for (size_t hook = 0; !err && hook < SOCKET_HOOK_COUNT; hook++)
		err = attach_hook(work, hook);
	for (size_t hook = SOCKET_HOOK_COUNT; err && hook-- > 0;)
		if (work->link_fd[hook] >= 0)
			remove_link(&work->pins->paths, hook);
	return err;
}

/* The first place that is free; the last, if none is. */
static unsigned int choose_stage(const struct paths *paths)
{
	char path[256];

	for (unsigned int stage = 0; stage < STAGES; stage++) {
		stage_path(paths, 0, stage, path, sizeof(path));
		if (access(path, F_OK))
			return stage;
	}
	remove_stage(paths, STAGES - 1);
	return STAGES - 1;
}

/* New ones, beside those that are there. */
static int attach_beside(struct app_hooks *work)
{
	const struct paths *paths = &work->pins->paths;
	unsigned int stage = choose_stage(paths);
	char path[256];
	int err = 0;

	for (size_t hook = 0; !err && hook < SOCKET_HOOK_COUNT; hook++) {
		stage_path(paths, hook, stage, path, sizeof(path));
		err = create_link(work, hook, path);
	}
	if (err)
		remove_stage(paths, stage);
	return err ? err : (int)stage;
}

/* Loads the programs and has them attached; what that returns, or -errno. */
static int with_programs(const struct pins *pins, int (*attach)(struct app_hooks *work),
			 struct ipsecbpf_report *report)
{
	struct app_hooks work = { .pins = pins, .cgroup_fd = -1, .report = report };
	int err;

	for (size_t hook = 0; hook < SOCKET_HOOK_COUNT; hook++)
		work.link_fd[hook] = -1;
	err = find_cgroup(&work);
	if (!err)
		err = load(&work);
	if (!err)
		err = make_directory(&work);
	if (!err)
		err = attach(&work);
	for (size_t hook = 0; hook < SOCKET_HOOK_COUNT; hook++)
		if (work.link_fd[hook] >= 0)
			close(work.link_fd[hook]);
	ipsecbpf_sockets_bpf__destroy(work.object);
	if (work.cgroup_fd >= 0)
		close(work.cgroup_fd);
	return err;
}

int app_hooks_ensure(const struct pins *pins, struct ipsecbpf_report *report)
{
	return app_hooks_attached(pins) ? 0 : with_programs(pins, attach_all, report);
}

int app_hooks_stage(const struct pins *pins, struct ipsecbpf_report *report)
{
	return with_programs(pins, attach_beside, report);
}

void app_hooks_abandon(const struct paths *paths, int stage)
{
	if (stage >= 0)
		remove_stage(paths, (unsigned int)stage);
}

void app_hooks_commit(const struct paths *paths, int stage)
{
	char staged[256], path[256];

	for (size_t hook = 0; stage >= 0 && hook < SOCKET_HOOK_COUNT; hook++) {
		remove_link(paths, hook);
		stage_path(paths, hook, (unsigned int)stage, staged, sizeof(staged));
		app_hooks_link_path(paths, hook, path, sizeof(path));
		rename(staged, path);
	}
	for (unsigned int other = 0; other < STAGES; other++)
		remove_stage(paths, other);
}
