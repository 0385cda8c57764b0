// SPDX-License-Identifier: BSD-2-Clause
/* What there is of the socket hooks. Changes nothing. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "app_hooks_internal.h"

static const char *const names[] = {
#define X(program, type) #program,
	SOCKET_HOOKS(X)
#undef X
};

void app_hooks_link_path(const struct paths *paths, size_t hook, char *out, size_t out_len)
{
	snprintf(out, out_len, "%s/links/%s", paths->pins, names[hook]);
}

int app_hooks_open_link(const struct paths *paths, size_t hook, struct bpf_link_info *ret_info)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);
	char path[256];
	int fd, err;

	app_hooks_link_path(paths, hook, path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	if (err) {
		close(fd);
		return err;
	}
	*ret_info = info;
	return fd;
}

int app_hooks_open_cgroup(const char *path, uint64_t *ret_id)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;
	struct statfs file_system;
	struct stat st;

	if (fd < 0)
		return -errno;
	err = fstatfs(fd, &file_system) || fstat(fd, &st) ? -errno : 0;
	if (!err && file_system.f_type != CGROUP2_SUPER_MAGIC)
		err = -ENOTDIR;
	if (err) {
		close(fd);
		return err;
	}
	*ret_id = st.st_ino;
	return fd;
}

/* The number of the attachment's cgroup. 0, -ENOENT: there is none now, or -errno: unknown. */
static int read_cgroup_id(const struct pins *pins, uint64_t *ret_id)
{
	int fd = app_hooks_open_cgroup(pins->attachment.cgroup, ret_id);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* Of a cgroup that was removed the kernel takes a link off once the last socket made there is
 * closed. What has its path now is another. */
static bool is_attached(const struct bpf_link_info *info, int cgroup_err, uint64_t cgroup_id)
{
	return info->cgroup.cgroup_id && (cgroup_err || info->cgroup.cgroup_id == cgroup_id);
}

int app_hooks_count(const struct pins *pins, int *ret_alive)
{
	struct bpf_link_info info;
	uint64_t cgroup_id = 0;
	int alive = 0, err = read_cgroup_id(pins, &cgroup_id);

	for (size_t hook = 0; hook < SOCKET_HOOK_COUNT; hook++) {
		int fd = app_hooks_open_link(&pins->paths, hook, &info);

		if (fd < 0)
			continue;
		/* A guard's has its own maps. */
		alive += is_attached(&info, err, cgroup_id) &&
			 pins_program_uses(info.prog_id, pins->app_sockets_fd);
		close(fd);
	}
	*ret_alive = alive;
	return SOCKET_HOOK_COUNT;
}

bool app_hooks_attached(const struct pins *pins)
{
	int alive;

	return app_hooks_count(pins, &alive) == alive;
}

bool app_hooks_cgroup_is_gone(const struct pins *pins)
{
	uint64_t id;

	return read_cgroup_id(pins, &id) == -ENOENT;
}

bool app_hooks_are_off(const struct pins *pins)
{
	struct bpf_link_info info;
	uint64_t cgroup_id = 0;
	int err = read_cgroup_id(pins, &cgroup_id);
	bool off = false;

	for (size_t hook = 0; hook < SOCKET_HOOK_COUNT && !off && err != -ENOENT; hook++) {
		int fd = app_hooks_open_link(&pins->paths, hook, &info);

		off = fd < 0 || !is_attached(&info, err, cgroup_id);
		if (fd >= 0)
			close(fd);
	}
	return off;
}
